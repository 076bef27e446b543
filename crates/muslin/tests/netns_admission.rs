//! When a node lets pods come: not before the fabric has been told where they are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use daemon::{Daemon, PATIENCE};
use muslin_netns::{Namespace, connect};
use tempfile::TempDir;

const CLUSTER: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {peerAddress: 172.30.1.1, peerASN: 65000}
";

const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;
/// The node's block as a prefix of an UPDATE (RFC 4271 §4.3).
const BLOCK: [u8; 4] = [24, 10, 244, 1];
/// An UPDATE without anything (RFC 4724 §2).
const END_OF_RIB: [u8; 4] = [0; 4];

/// A node whose router is the test itself.
struct Site {
    agent: Daemon,
    router: TcpListener,
    announcement: PathBuf,
    _namespaces: [Namespace; 2],
    _folder: TempDir,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (gateway, node) = (Namespace::new("tor").unwrap(), Namespace::new("n1").unwrap());
        connect(&node, "eth0", &gateway, "n1").unwrap();
        gateway.add_address("n1", "172.30.1.1/24".parse().unwrap()).unwrap();
        node.add_address("eth0", "172.30.1.2/24".parse().unwrap()).unwrap();
        let router = gateway.run(|| TcpListener::bind("172.30.1.1:179").unwrap()).unwrap();
        let (state, own) = (folder.path().join("state"), folder.path().join("n1"));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&own).unwrap();
        fs::write(state.join("state.yaml"), CLUSTER).unwrap();
        let agent = Daemon::start(&node, &own, &["agent", "--node", "n1"], &state);
        let announcement = own.join("net.d/10-muslin.conflist");
        Self { agent, router, announcement, _namespaces: [gateway, node], _folder: folder }
    }

    /// Whether the container runtime knows of the plugin.
    fn pods_may_come(&self) -> bool {
        self.announcement.exists()
    }
}

/// The router's end of a session.
struct Session(TcpStream);

impl Session {
    /// Takes the node's connection and answers its OPEN as a router that restarts gracefully, whose routes are waited for.
    fn accept(router: &TcpListener) -> Self {
        let mut session = Self(router.accept().unwrap().0);
        session.0.set_read_timeout(Some(PATIENCE)).unwrap();
        // AS 65000, IPv4 unicast, graceful restart of 120 s that keeps forwarding (RFC 5492, 6793, 4760, 4724).
        let capabilities =
            [&[65, 4, 0, 0, 0xfd, 0xe8][..], &[1, 4, 0, 1, 0, 1], &[64, 6, 0, 120, 0, 1, 1, 0x80]].concat();
        let length = capabilities.len() as u8;
        let open =
            [&[4, 0xfd, 0xe8, 0, 90, 172, 30, 1, 1, length + 2, 2, length][..], &capabilities].concat();
        session.send(1, &open);
        session.send(KEEPALIVE, &[]);
        session
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        let length = (19 + body.len()) as u16;
        self.0.write_all(&[&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()).unwrap();
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 19];
        self.0.read_exact(&mut header).unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - 19];
        self.0.read_exact(&mut body).unwrap();
        (header[18], body)
    }

    /// Reads until an UPDATE is so.
    fn await_update(&mut self, holds: impl Fn(&[u8]) -> bool) {
        loop {
            let (kind, body) = self.receive();
            if kind == UPDATE && holds(&body) {
                return;
            }
        }
    }
}

fn has_block(update: &[u8]) -> bool {
    update.windows(BLOCK.len()).any(|window| window == BLOCK)
}

#[test]
fn the_block_and_its_end_of_rib_are_told_before_a_pod_may_come() {
    let site = Site::start();
    assert!(!site.pods_may_come());
    let mut session = Session::accept(&site.router);
    session.await_update(has_block);
    session.await_update(|update| update == END_OF_RIB);
    assert!(!site.pods_may_come(), "the router's own routes are still to come");
    session.send(UPDATE, &END_OF_RIB);
    site.agent.await_log("CNI configuration is in place");
    assert!(site.pods_may_come());
}
