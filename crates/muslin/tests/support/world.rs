//! Two nodes of the example behind its router, converged.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};

use muslin_netns::{Namespace, connect};
use tempfile::TempDir;

use crate::daemon::{Daemon, OURS, PATIENCE};

/// The router and two nodes of `examples/three-nodes`, converged.
pub struct World {
    pub nodes: [(Namespace, Daemon); 2],
    pub router: Daemon,
    pub state: PathBuf,
    pub gateway: Namespace,
    _folder: TempDir,
}

impl World {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/three-nodes");
        let (state, router_state) = (folder.path().join("state"), folder.path().join("router"));
        copy(&example.join("cluster"), &state);
        copy(&example.join("router"), &router_state);
        let gateway = Namespace::new("router").unwrap();
        gateway.sysctl("net/ipv4/ip_forward", "1").unwrap();
        let nodes = ["n1", "n2"].map(|name| (name, Namespace::new(name).unwrap()));
        for (index, (name, node)) in (1..).zip(&nodes) {
            connect(node, "eth0", &gateway, name).unwrap();
            for (family, length) in [(format!("172.30.{index}."), 24), (format!("fd30:0:0:{index}::"), 64)] {
                gateway.add_address(name, format!("{family}1/{length}").parse().unwrap()).unwrap();
                node.add_address("eth0", format!("{family}2/{length}").parse().unwrap()).unwrap();
            }
        }
        let own = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let router = Daemon::start(&gateway, &own("tor"), &["speaker"], &router_state);
        let nodes = nodes.map(|(name, namespace)| {
            let daemon = Daemon::start(&namespace, &own(name), &["agent", "--node", name], &state);
            (namespace, daemon)
        });
        let world = Self { nodes, router, state, gateway, _folder: folder };
        for ((namespace, daemon), other) in world.nodes.iter().zip([2, 1]) {
            let blocks = [format!("10.244.{other}.0/24"), format!("fd44:0:0:{other}::/64")];
            let learned = namespace.await_routes(PATIENCE, |routes| {
                let learned = |block: &String| {
                    let block = block.parse().unwrap();
                    routes.iter().any(|route| route.prefix == block && route.protocol == OURS)
                };
                blocks.iter().all(learned)
            });
            assert!(learned.unwrap(), "{blocks:?} not learned: {}", daemon.text(&["status"]));
        }
        world
    }

    pub fn n1(&self) -> &Daemon {
        &self.nodes[0].1
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
