//! A chain of somebody else's that drops what pods send and get.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;
#[path = "support/pod.rs"]
mod pod;

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use daemon::{MUSLIN, PATIENCE};
use muslin_netns::Namespace;
use pair::{CLUSTER, Pair, ROUTER};
use serde_json::Value;

/// What Docker does, and `iptables -P FORWARD DROP`; the rule counts what comes to the chain's end.
const DROPPING: &str = "table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; counter; }
}";

/// Has a shell of the node's run a command.
fn shell(node: &Namespace, command: &str) -> String {
    let output = node.run(|| Command::new("sh").args(["-c", command]).output()).unwrap().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn socket(at: &Namespace, address: &str) -> UdpSocket {
    let socket = at.run(|| UdpSocket::bind((address, 0)).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut datagram = [0; 100];
    let (length, from) = socket.recv_from(&mut datagram).unwrap();
    (String::from_utf8_lossy(&datagram[..length]).into_owned(), from)
}

#[test]
fn fault_38_a_chain_that_drops_what_pods_send_is_named_and_what_is_printed_opens_it() {
    let pair = Pair::start(CLUSTER, ROUTER);
    let pod = Namespace::new("pod").unwrap();
    pair.agent.await_log("CNI configuration is in place");
    pod::attach(&pair.node, &pod, pair.agent.socket.parent().unwrap());
    let address = pod::addresses(&pod)[0].to_string();
    let (in_pod, on_node) = (socket(&pod, &address), socket(&pair.node, "172.30.1.2"));
    let router = socket(&pair.gateway, "172.30.1.1");
    let target = router.local_addr().unwrap();
    let asks = |text: &str| in_pod.send_to(text.as_bytes(), target).unwrap();
    asks("open");
    assert_eq!(receive(&router).0, "open");

    shell(&pair.node, &format!("nft '{DROPPING}'"));
    asks("dropped");
    let reached = "counter packets 1 ";
    let rules = shell(&pair.node, "nft list chain ip filter FORWARD");
    assert!(rules.contains(reached), "{rules}");
    // Behind it on the same link, and not forwarded.
    on_node.send_to(b"the node itself", target).unwrap();
    assert_eq!(receive(&router).0, "the node itself");

    let status = pair.agent.text(&["status"]);
    assert!(status.contains("chain ip filter FORWARD drops forwarded packets"), "{status}");
    let folder = pair.agent.socket.parent().unwrap();
    let mut doctor = Command::new(MUSLIN);
    doctor.args(["doctor", "--output", "json", "--no-probes", "--socket"]).arg(&pair.agent.socket);
    doctor.arg("--data-dir").arg(folder).arg("--cni-conf-dir").arg(folder.join("net.d"));
    let said = pair.node.run(|| doctor.output()).unwrap().unwrap();
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    let found = report["findings"].as_array().unwrap().iter().find(|found| found["check"] == "packet-filter");
    let fix = found.unwrap_or_else(|| panic!("{report:#}"))["fix"].as_str().unwrap();
    println!("{fix}");
    shell(&pair.node, fix);

    asks("open again");
    let (text, from) = receive(&router);
    assert_eq!(text, "open again");
    // The way back is open too, to what the pod asked and to the pod.
    router.send_to(b"an answer", from).unwrap();
    assert_eq!(receive(&in_pod).0, "an answer");
    let pods = "10.244.1.0/24".parse().unwrap();
    assert!(
        pair.gateway
            .await_routes(PATIENCE, |routes| routes.iter().any(|route| route.prefix == pods))
            .unwrap()
    );
    router.send_to(b"a question", in_pod.local_addr().unwrap()).unwrap();
    assert_eq!(receive(&in_pod).0, "a question");
    let rules = shell(&pair.node, "nft list chain ip filter FORWARD");
    assert!(rules.contains(reached), "{rules}");
}
