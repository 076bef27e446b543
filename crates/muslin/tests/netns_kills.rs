//! An agent killed at any moment, and the one that comes after it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;
#[path = "support/pod.rs"]
mod pod;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use daemon::{Daemon, MUSLIN, OURS, PATIENCE, lines};
use ipnet::IpNet;
use muslin_netns::{Namespace, Route};
use pair::{CLUSTER, Pair, ROUTER};

const KILLS: usize = 32;
/// Longer than an agent takes until it has said everything.
const LIFE: Duration = Duration::from_millis(600);

/// What an agent's life ends with.
enum Death {
    /// The line that has this.
    At(&'static str),
    After(Duration),
}

/// A sequence that its seed decides (Steele, Lea and Flood, 2014).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Starts an agent and kills it.
fn live_and_die(pair: &Pair, folder: &Path, death: &Death) {
    let mut command = Command::new(MUSLIN);
    command.args(["agent", "--node", "n1", "--state"]).arg(&pair.cluster).arg("--run-dir").arg(folder);
    command.arg("--data-dir").arg(folder).arg("--cni-conf-dir").arg(folder.join("net.d"));
    let mut agent = pair.node.spawn(command.stderr(Stdio::piped())).unwrap();
    let log = lines(agent.stderr.take().unwrap());
    let deadline = Instant::now() + if let Death::After(life) = death { *life } else { PATIENCE };
    let mut seen = Vec::new();
    loop {
        match log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                seen.push(line);
                if matches!(death, Death::At(text) if seen.iter().any(|line| line.contains(text))) {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("it ended by itself:\n{}", seen.join("\n")),
        }
    }
    if let Death::At(text) = death {
        assert!(seen.iter().any(|line| line.contains(text)), "no `{text}`:\n{}", seen.join("\n"));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// A file is as it was written, or not there.
fn assert_whole(path: &Path) {
    if let Ok(text) = fs::read(path) {
        let _whole: serde_json::Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

fn ours(routes: &[Route]) -> Vec<IpNet> {
    let routes = routes.iter().filter(|route| route.protocol == OURS);
    let mut prefixes: Vec<_> = routes.map(|route| route.prefix).collect();
    prefixes.sort();
    prefixes
}

#[test]
fn fault_31_an_agent_killed_at_any_moment_leaves_nothing_that_the_next_one_cannot_take_over() {
    let mut seed = std::env::var("MUSLIN_SEED").map_or(20_240_806, |seed| seed.parse().unwrap());
    println!("MUSLIN_SEED={seed}");
    let mut pair = Pair::start(CLUSTER, ROUTER);
    let expected: Vec<IpNet> = ["10.50.0.0/16", "10.244.1.0/24"].map(|net| net.parse().unwrap()).into();
    let holds = |pair: &Pair| {
        let converged = pair.node.await_routes(PATIENCE, |routes| ours(routes) == expected).unwrap();
        assert!(converged, "{:?}", ours(&pair.node.routes().unwrap()));
    };
    holds(&pair);
    let folder = pair.agent.socket.parent().unwrap().to_owned();
    let announcement = folder.join("net.d/10-muslin.conflist");
    let pod = Namespace::new("pod").unwrap();
    let interface = pod::attach(&pair.node, &pod, &folder);
    pair.agent.child.kill().unwrap();
    pair.agent.child.wait().unwrap();
    for number in 0..KILLS {
        let death = match number % 4 {
            0 => Death::At("session established"),
            1 => {
                // Each fourth is the first on its node.
                fs::remove_file(&announcement).unwrap_or_default();
                Death::At("CNI configuration is in place")
            }
            _ => Death::After(LIFE * (random(&mut seed) % 1000) as u32 / 1000),
        };
        live_and_die(&pair, &folder, &death);
        for file in [&announcement, &folder.join("network.json"), &folder.join("ipam.json")] {
            assert_whole(file);
        }
        // Nobody withdraws from the kernel what an agent left there, nor anything of the pod's.
        assert_eq!(ours(&pair.node.routes().unwrap()), expected, "after {number} deaths");
        assert!(pair.node.links().unwrap().iter().any(|link| link.name == interface));
    }
    pair.agent = Daemon::start(&pair.node, &folder, &["agent", "--node", "n1"], &pair.cluster);
    pair.agent.await_log("session established");
    holds(&pair);
    let router_has = pair.gateway.await_routes(PATIENCE, |routes| {
        let block: IpNet = "10.244.1.0/24".parse().unwrap();
        routes.iter().filter(|route| route.prefix == block && route.protocol == OURS).count() == 1
    });
    assert!(router_has.unwrap(), "{}", pair.router.text(&["routes", "received"]));
    let status = pair.agent.json(&["status"]);
    assert_eq!(status["kernel"]["adopted"]["routes"], 2, "{status}");
    let next = Namespace::new("next").unwrap();
    assert_ne!(pod::attach(&pair.node, &next, &folder), interface);
    assert_ne!(pod.addresses("eth0").unwrap(), next.addresses("eth0").unwrap());
}
