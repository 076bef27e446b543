use std::net::Ipv4Addr;

use muslin_bgp_packet::Asn;
use muslin_bgp_speaker::config::{RemoteAs, SessionConfig};

use super::*;

fn peer(name: &str, reflector: ReflectorRole) -> PeerConfig {
    let octet = name.bytes().last().unwrap();
    PeerConfig {
        key: PeerKey(name.into()),
        address: Ipv4Addr::new(10, 0, 0, octet).into(),
        interface: None,
        port: 179,
        session: SessionConfig { reflector, ..SessionConfig::external(RemoteAs::Internal) }.into(),
        cause: "test".into(),
    }
}

fn node_peer(node: &str) -> PeerConfig {
    let mut peer = peer(&format!("node/{node}/ipv4"), ReflectorRole::NonClient);
    peer.address = Ipv4Addr::new(10, 0, 1, node.bytes().last().unwrap()).into();
    peer
}

fn config(peers: impl Into<Vec<PeerConfig>>) -> SpeakerConfig {
    SpeakerConfig { peers: peers.into(), ..SpeakerConfig::new(Asn(64512), Ipv4Addr::new(10, 0, 0, 1)) }
}

fn names(config: &SpeakerConfig) -> Vec<&str> {
    let mut names: Vec<_> = config.peers.iter().map(|peer| &*peer.key.0).collect();
    names.sort_unstable();
    names
}

const B: &str = "node/b/ipv4";
const C: &str = "node/c/ipv4";
const R: &str = "node/r/ipv4";

struct Node {
    handover: Handover,
    nodes: BTreeSet<Arc<str>>,
    start: Instant,
}

impl Node {
    /// A node in a mesh with b, c and r.
    fn in_mesh() -> Self {
        let nodes = ["a", "b", "c", "r"].map(Arc::from).into();
        let mut node = Self { handover: Handover::default(), nodes, start: Instant::now() };
        assert_eq!(node.apply(0, config(["b", "c", "r"].map(node_peer)), &[]), [B, C, R]);
        assert!(!node.handover.is_under_way());
        node
    }

    fn config(&mut self, second: u64, wanted: SpeakerConfig, ready: &[&str]) -> SpeakerConfig {
        let ready = ready.iter().map(|name| PeerKey((*name).into())).collect();
        self.handover.apply(self.start + Duration::from_secs(second), wanted, &self.nodes, &ready)
    }

    fn apply(&mut self, second: u64, wanted: SpeakerConfig, ready: &[&str]) -> Vec<String> {
        names(&self.config(second, wanted, ready)).into_iter().map(ToOwned::to_owned).collect()
    }
}

#[test]
fn the_mesh_stays_until_reflectors_carry_its_routes_and_others_had_time() {
    let mut node = Node::in_mesh();
    let reflected = || config([node_peer("r")]);
    assert_eq!(node.apply(10, reflected(), &[B, C]), [B, C, R]);
    assert_eq!(node.apply(31, reflected(), &[B, C]), [B, C, R]);
    assert!(node.handover.is_under_way());
    assert_eq!(node.apply(41, reflected(), &[B, C, R]), [R]);
    assert!(!node.handover.is_under_way());
    let mut node = Node::in_mesh();
    assert_eq!(node.apply(10, reflected(), &[B, C, R]), [B, C, R], "others come later");
    assert_eq!(node.apply(29, reflected(), &[B, C, R]), [B, C, R]);
    assert_eq!(node.apply(30, reflected(), &[B, C, R]), [R]);
}

#[test]
fn without_a_single_reflector_the_mesh_stays_for_good_and_with_one_of_a_pair_for_minutes() {
    let mut node = Node::in_mesh();
    node.nodes.insert("s".into());
    let reflected = || config(["r", "s"].map(node_peer));
    assert_eq!(node.apply(10, reflected(), &[]).len(), 4);
    assert_eq!(node.apply(10_000, reflected(), &[]).len(), 4);
    let mut node = Node::in_mesh();
    assert_eq!(node.apply(10, reflected(), &[R]).len(), 4);
    assert_eq!(node.apply(100, reflected(), &[R]).len(), 4);
    assert_eq!(node.apply(190, reflected(), &[R]), [R, "node/s/ipv4"]);
}

#[test]
fn who_ceases_to_reflect_goes_on_until_the_mesh_is_there() {
    let client = |name: &str| PeerConfig {
        session: SessionConfig {
            reflector: ReflectorRole::Client,
            ..SessionConfig::clone(&node_peer(name).session)
        }
        .into(),
        ..node_peer(name)
    };
    let mut node = Node::in_mesh();
    let reflecting = config(["b", "c", "r"].map(client));
    assert_eq!(node.config(1, reflecting.clone(), &[]), reflecting);
    let mesh = || config(["b", "c", "r"].map(node_peer));
    assert!(node.config(2, mesh(), &[B, C, R]).peers.iter().all(reflects));
    assert!(node.config(21, mesh(), &[B, C, R]).peers.iter().all(reflects));
    assert_eq!(node.config(22, mesh(), &[B, C, R]), mesh());
}

#[test]
fn a_node_that_is_gone_and_a_peer_that_is_written_out_end_at_once() {
    let mut node = Node::in_mesh();
    node.nodes.remove("c");
    let written = PeerConfig { address: node_peer("b").address, ..peer("tor", ReflectorRole::NonClient) };
    assert_eq!(node.apply(1, config([written, node_peer("r")]), &[]), [R, "tor"]);
}

#[test]
fn a_mesh_that_is_switched_off_ends_at_once() {
    let mut node = Node::in_mesh();
    assert_eq!(node.apply(1, config([peer("tor", ReflectorRole::NonClient)]), &[]), ["tor"]);
    assert!(!node.handover.is_under_way());
}

#[test]
fn what_is_planned_is_never_changed_while_nothing_is_handed_over() {
    let mut node = Node::in_mesh();
    for second in 1..100 {
        assert_eq!(node.apply(second, config(["b", "c", "r"].map(node_peer)), &[]), [B, C, R]);
    }
}
