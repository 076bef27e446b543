//! A node and a router on one link, each a daemon in a namespace.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};

use muslin_netns::{Namespace, connect};
use tempfile::TempDir;

use crate::daemon::Daemon;

/// A cluster of the one node, which takes 10.50.0.0/16 from the router.
pub const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {role: egress}}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {import: {cidrs: [10.50.0.0/16]}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {peerAddress: 172.30.1.1, peerASN: 65000}
";

/// A router that takes and tells everything, and announces 10.50.0.0/16.
pub const ROUTER: &str = "
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec: {asn: 65000, routerID: 172.30.1.1, originate: [{cidr: 10.50.0.0/16}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: everything}
spec: {import: [{action: Accept}], export: [{action: Accept}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: n1}
spec: {peerAddress: 172.30.1.2, peerASN: 64512, filters: [everything]}
";

/// A router at 172.30.1.1 that runs, and node n1 at 172.30.1.2, whose default route, somebody else's, leads there.
pub struct Rack {
    pub node: Namespace,
    pub router: Daemon,
    pub gateway: Namespace,
    folder: TempDir,
}

impl Rack {
    /// Starts the router with its manifests.
    pub fn start(router: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (gateway, node) = (Namespace::new("tor").unwrap(), Namespace::new("n1").unwrap());
        connect(&node, "eth0", &gateway, "n1").unwrap();
        gateway.add_address("n1", "172.30.1.1/24".parse().unwrap()).unwrap();
        node.add_address("eth0", "172.30.1.2/24".parse().unwrap()).unwrap();
        node.add_route("0.0.0.0/0".parse().unwrap(), "172.30.1.1".parse().unwrap()).unwrap();
        let [own, state] = ["tor", "router"].map(|name| folder.path().join(name));
        fs::create_dir(&own).unwrap();
        write_manifests(&state, router);
        let router = Daemon::start(&gateway, &own, &["speaker"], &state);
        Self { node, router, gateway, folder }
    }

    /// A new folder of this name that goes with the rack.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

/// A [`Rack`] whose node's agent runs as well.
pub struct Pair {
    pub node: Namespace,
    pub agent: Daemon,
    pub router: Daemon,
    /// The agent's manifests: `state.yaml` in here.
    pub cluster: PathBuf,
    pub gateway: Namespace,
    folder: TempDir,
}

impl Pair {
    /// Starts both with their manifests.
    pub fn start(cluster: &str, router: &str) -> Self {
        Self::start_with(cluster, router, &[])
    }

    /// The same with more arguments for the agent.
    pub fn start_with(cluster: &str, router: &str, more: &[&str]) -> Self {
        let rack = Rack::start(router);
        let own = rack.folder("n1");
        let Rack { node, router, gateway, folder } = rack;
        let state = folder.path().join("cluster");
        write_manifests(&state, cluster);
        let agent = Daemon::start(&node, &own, &[&["agent", "--node", "n1"], more].concat(), &state);
        Self { node, agent, router, cluster: state, gateway, folder }
    }

    /// A folder with these manifests, beside those of the daemons.
    pub fn manifests(&self, name: &str, text: &str) -> PathBuf {
        let state = self.folder.path().join(name);
        write_manifests(&state, text);
        state
    }
}

fn write_manifests(state: &Path, text: &str) {
    fs::create_dir_all(state).unwrap();
    fs::write(state.join("state.yaml"), text).unwrap();
}
