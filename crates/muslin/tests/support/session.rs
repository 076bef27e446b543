//! A router that is the test itself: it sees each message of a node.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use muslin_netns::{Namespace, connect};
use tempfile::TempDir;

use crate::daemon::{Daemon, PATIENCE};

/// A cluster of one node, whose router is the test.
pub const CLUSTER: &str = "
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

pub const OPEN: u8 = 1;
pub const UPDATE: u8 = 2;
pub const KEEPALIVE: u8 = 4;
/// An UPDATE without anything (RFC 4724 §2).
pub const END_OF_RIB: [u8; 4] = [0; 4];

/// A node, and where the test waits for its connection.
pub struct Site {
    pub agent: Daemon,
    pub router: TcpListener,
    /// The agent's manifests.
    pub state: PathBuf,
    /// Its own folder.
    pub folder: PathBuf,
    _namespaces: [Namespace; 2],
    _folder: TempDir,
}

impl Site {
    /// Starts a node with these manifests.
    pub fn start(manifests: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let (gateway, node) = (Namespace::new("tor").unwrap(), Namespace::new("n1").unwrap());
        connect(&node, "eth0", &gateway, "n1").unwrap();
        gateway.add_address("n1", "172.30.1.1/24".parse().unwrap()).unwrap();
        node.add_address("eth0", "172.30.1.2/24".parse().unwrap()).unwrap();
        let router = gateway.run(|| TcpListener::bind("172.30.1.1:179").unwrap()).unwrap();
        let (state, folder) = (root.path().join("state"), root.path().join("n1"));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(state.join("state.yaml"), manifests).unwrap();
        let agent = Daemon::start(&node, &folder, &["agent", "--node", "n1"], &state);
        Self { agent, router, state, folder, _namespaces: [gateway, node], _folder: root }
    }
}

/// The router's end of a session.
pub struct Session(TcpStream);

impl Session {
    /// Takes the node's connection and answers its OPEN as a router that restarts gracefully, whose routes are waited for.
    pub fn accept(router: &TcpListener) -> Self {
        let mut session = Self(router.accept().unwrap().0);
        session.0.set_read_timeout(Some(PATIENCE)).unwrap();
        // AS 65000, IPv4 unicast, graceful restart of 120 s that keeps forwarding (RFC 5492, 6793, 4760, 4724).
        let capabilities =
            [&[65, 4, 0, 0, 0xfd, 0xe8][..], &[1, 4, 0, 1, 0, 1], &[64, 6, 0, 120, 0, 1, 1, 0x80]].concat();
        let length = capabilities.len() as u8;
        let open =
            [&[4, 0xfd, 0xe8, 0, 90, 172, 30, 1, 1, length + 2, 2, length][..], &capabilities].concat();
        session.send(OPEN, &open);
        session.send(KEEPALIVE, &[]);
        session
    }

    pub fn send(&mut self, kind: u8, body: &[u8]) {
        let length = (19 + body.len()) as u16;
        self.0.write_all(&[&[0xff; 16][..], &length.to_be_bytes(), &[kind], body].concat()).unwrap();
    }

    /// The next message's type and body; an error if the session is over.
    pub fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut header = [0; 19];
        self.0.read_exact(&mut header)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - 19];
        self.0.read_exact(&mut body)?;
        Ok((header[18], body))
    }

    /// Never gives up waiting for a message.
    pub fn wait_for_ever(&self) {
        self.0.set_read_timeout(None).unwrap();
    }

    /// Reads until an UPDATE is so.
    pub fn await_update(&mut self, holds: impl Fn(&[u8]) -> bool) {
        loop {
            let (kind, body) = self.receive().unwrap();
            if kind == UPDATE && holds(&body) {
                return;
            }
        }
    }
}

/// The IPv4 prefixes that an UPDATE withdraws and announces (RFC 4271 §4.3).
pub fn prefixes(update: &[u8]) -> [Vec<IpNet>; 2] {
    let (withdrawn, rest) = sized(update);
    let (_attributes, announced) = sized(rest);
    [nlri(withdrawn), nlri(announced)]
}

/// A field of that many octets as stand before it, and what follows.
fn sized(octets: &[u8]) -> (&[u8], &[u8]) {
    octets[2..].split_at(usize::from(u16::from_be_bytes([octets[0], octets[1]])))
}

fn nlri(mut octets: &[u8]) -> Vec<IpNet> {
    let mut prefixes = Vec::new();
    while let [length, rest @ ..] = octets {
        let (prefix, rest) = rest.split_at(usize::from(length.div_ceil(8)));
        let mut address = [0; 4];
        address[..prefix.len()].copy_from_slice(prefix);
        prefixes.push(Ipv4Net::new(Ipv4Addr::from(address), *length).unwrap().into());
        octets = rest;
    }
    prefixes
}
