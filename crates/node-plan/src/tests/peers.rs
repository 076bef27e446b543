use std::time::Duration;

use muslin_bgp_packet::Family;
use muslin_bgp_speaker::config::{AddPathConfig, ConnectMode, OverLimit, PrefixLimit, SentPaths, TtlMode};

use super::{node, plan_of, problems, resource, uplink};
use crate::{KernelFacts, NodePlan, PeerView};

fn with(manifests: &[String]) -> NodePlan {
    let manifest = node("n1", &["172.30.1.2", "fd30:0:0:1::2"], &["10.244.1.0/24"]) + &manifests.concat();
    plan_of(&manifest, &uplink(&["172.30.1.2/24", "fd30:0:0:1::2/64"]), "n1")
}

fn peer(spec: &str) -> String {
    resource("BGPPeer", "tor", spec)
}

#[test]
fn a_peer_has_defaults_that_work() {
    let plan = with(&[peer("peerAddress: 172.30.1.1, peerASN: 65000")]);
    assert_eq!(plan.problems, []);
    let tor = &plan.speaker.peers[0];
    assert_eq!((&*tor.key.0, tor.port, &*tor.cause), ("tor", 179, "BGPPeer tor"));
    let session = &tor.session;
    assert_eq!(session.hold_time, Duration::from_secs(90));
    assert_eq!(session.families, [Family::Ipv4Unicast]);
    assert_eq!(session.ttl, TtlMode::Direct);
    assert_eq!(session.max_prefixes, Some(PrefixLimit::new(100_000)));
    assert_eq!(session.allowed_own_as, 1);
    assert_eq!(session.local_address, Some("172.30.1.2".parse().unwrap()));
}

#[test]
fn what_is_written_is_what_is_planned() {
    let plan = with(&[peer(
        "peerAddress: \"fd99::1\", peerASN: 65000, port: 1790, holdTime: 9s, keepaliveTime: 2s, sendHoldTime: 30s, tcpUserTimeout: 40s, connectRetry: 2s, families: [IPv6, IPv4], \
         extendedNextHop: true, multihop: 3, localASN: 65010, localASPrepend: NoPrepend, role: Customer, strictRole: true, localAddress: \"fd30:0:0:1::2\", maxPrefixes: 0, \
         allowedOwnAS: 0, connectMode: Passive, vrf: red, gracefulRestart: {restartTime: 120s}, addPath: {receive: true, send: 4}, \
         nextHop: Self, shutdown: moving",
    )]);
    assert_eq!(plan.problems, []);
    insta::assert_yaml_snapshot!("peer_with_every_field", PeerView::from(&plan.speaker.peers[0]));
}

#[test]
fn a_prefix_limit_is_planned_with_its_warning_and_what_happens_beyond() {
    let limit = |spec: &str| {
        let plan = with(&[peer(&format!("peerAddress: 172.30.1.1, peerASN: 65000, {spec}"))]);
        assert_eq!(plan.problems, []);
        plan.speaker.peers[0].session.max_prefixes
    };
    let thousand = PrefixLimit::new(1000);
    assert_eq!(limit("maxPrefixes: 0"), None);
    assert_eq!(limit("maxPrefixes: 1000"), Some(thousand));
    assert_eq!(limit("maxPrefixes: 1000, maxPrefixesWarning: 90").unwrap().warns_at(), 900);
    for (action, over) in [
        ("Restart, maxPrefixesRestart: 5m", OverLimit::Restart(Duration::from_mins(5))),
        ("Shutdown", OverLimit::Shutdown),
        ("Discard", OverLimit::Discard),
        ("Warn", OverLimit::Warn),
    ] {
        let found = limit(&format!("maxPrefixes: 1000, maxPrefixesAction: {action}"));
        assert_eq!(found, Some(PrefixLimit { over, ..thousand }), "{action}");
    }
}

#[test]
fn rfc9494_1_long_lived_graceful_restart_is_off_unless_a_peer_or_the_mesh_has_a_stale_time() {
    let session = |restart: &str| {
        let spec = format!("peerAddress: 172.30.1.1, peerASN: 65000, gracefulRestart: {{{restart}}}");
        let plan = with(&[peer(&spec)]);
        assert_eq!(plan.problems, []);
        plan.speaker.peers[0].session.long_lived
    };
    assert_eq!(session("restartTime: 30s"), None);
    assert_eq!(session("longLivedStaleTime: 1h"), Some(Duration::from_hours(1)));
}

#[test]
fn graceful_restart_is_on_unless_it_is_switched_off() {
    let offered = |extra: &str| {
        let spec = format!("peerAddress: 172.30.1.1, peerASN: 65000{extra}");
        let plan = with(&[peer(&spec)]);
        assert_eq!(plan.problems, []);
        plan.speaker.peers[0].session.graceful_restart.map(|time| time.as_secs())
    };
    assert_eq!(offered(""), Some(120));
    assert_eq!(offered(", gracefulRestart: {}"), Some(120));
    assert_eq!(offered(", gracefulRestart: {restartTime: 30s}"), Some(30));
    assert_eq!(offered(", gracefulRestart: {enabled: false}"), None);
}

#[test]
fn several_paths_are_taken_from_internal_peers_and_sent_when_asked_for() {
    let planned = |extra: &str| {
        let plan = with(&[peer(&format!("peerAddress: 172.30.1.1, {extra}"))]);
        assert_eq!(plan.problems, []);
        let AddPathConfig { receive, send, families } = plan.speaker.peers[0].session.add_path;
        (receive, send, families.contains(Family::Ipv4Unicast))
    };
    assert_eq!(planned("peerASN: 65000"), (false, SentPaths::One, true));
    assert_eq!(planned("peerASN: internal"), (true, SentPaths::One, true));
    assert_eq!(planned("peerASN: internal, addPath: {send: All}"), (true, SentPaths::All, true));
    assert_eq!(
        planned("peerASN: internal, addPath: {receive: false, send: 1}"),
        (false, SentPaths::One, true)
    );
    let only = "peerASN: 65000, families: [IPv4, IPv6], addPath: {receive: true, send: 3, families: [IPv6]}";
    assert_eq!(planned(only), (true, SentPaths::Best(3), false));
}

#[test]
fn a_client_of_another_as_is_told_that_it_is_none() {
    let plan = with(&[peer("peerAddress: 172.30.1.1, peerASN: 65000, routeReflectorClient: true")]);
    assert_eq!(
        problems(&plan),
        [
            "test.yaml:11: BGPPeer tor .spec.routeReflectorClient: the peer is in another AS, so it is no client and \
             the field does nothing; take it out, or correct `peerASN`"
        ],
    );
}

#[test]
fn the_cluster_of_reflection_is_written_for_all_or_for_one() {
    let plan = with(&[
        resource("BGPConfiguration", "default", "clusterID: 10.0.0.200"),
        resource("BGPConfiguration", "node.n2", "clusterID: 10.0.0.202"),
    ]);
    assert_eq!(plan.speaker.cluster_id, Some("10.0.0.200".parse().unwrap()));
    let plan = with(&[
        resource("BGPConfiguration", "default", "clusterID: 10.0.0.200"),
        resource("BGPConfiguration", "node.n1", "clusterID: 10.0.0.201"),
    ]);
    assert_eq!(plan.speaker.cluster_id, Some("10.0.0.201".parse().unwrap()));
    assert_eq!(with(&[]).speaker.cluster_id, None);
}

#[test]
fn nodes_are_selected_by_their_labels() {
    let selected = |selector: &str| {
        let spec = format!("peerAddress: 172.30.1.1, peerASN: 65000, nodeSelector: {selector}");
        !with(&[peer(&spec)]).speaker.peers.is_empty()
    };
    assert!(selected("{matchLabels: {kubernetes.io/hostname: n1}}"));
    assert!(!selected("{matchLabels: {kubernetes.io/hostname: n2}}"));
    assert!(selected("{matchExpressions: [{key: rack, operator: DoesNotExist}]}"));
    assert!(selected("{}"));
}

#[test]
fn a_peer_at_the_nodes_own_address_is_refused() {
    for own in ["172.30.1.2", "\"fd30:0:0:1::2\""] {
        let plan = with(&[peer(&format!("peerAddress: {own}, peerASN: 65000"))]);
        assert!(plan.speaker.peers.is_empty());
        assert_eq!(
            problems(&plan),
            [format!(
                "test.yaml:11: BGPPeer tor .spec.peerAddress: {} is an address of this node; \
                 write the peer's address, or select other nodes",
                own.trim_matches('"')
            )],
        );
    }
}

#[test]
fn of_two_peers_at_one_address_the_first_counts() {
    let spec = "peerAddress: 172.30.1.1, peerASN: 65000";
    let plan = with(&[
        resource("BGPPeer", "b", spec),
        resource("BGPPeer", "a", spec),
        resource("BGPPeer", "c", spec),
    ]);
    assert_eq!(plan.speaker.peers.len(), 1);
    assert_eq!(&*plan.speaker.peers[0].key.0, "a");
    let found = problems(&plan);
    assert_eq!(found.len(), 2);
    for problem in found {
        assert!(problem.ends_with("BGPPeer a has 172.30.1.1 already; remove one of the two"), "{problem}");
    }
}

#[test]
fn an_external_peer_beyond_the_link_needs_multihop() {
    let plan = with(&[peer("peerAddress: 10.9.9.9, peerASN: 65000")]);
    assert_eq!(plan.speaker.peers.len(), 1);
    assert_eq!(
        problems(&plan),
        [
            "test.yaml:11: BGPPeer tor .spec.peerAddress: 10.9.9.9 is on no link of this node, and an external \
             session spans one hop; set `multihop`, or correct the address"
        ],
    );
    assert_eq!(with(&[peer("peerAddress: 10.9.9.9, peerASN: 65000, multihop: 2")]).problems, []);
    assert_eq!(with(&[peer("peerAddress: 10.9.9.9, peerASN: internal")]).problems, []);
}

#[test]
fn passwords_come_from_secrets_and_a_peer_without_its_password_is_left_out() {
    let spec = "peerAddress: 172.30.1.1, peerASN: 65000, password: {secretKeyRef: {name: tor, key: md5}}";
    let secret = |data: &str| {
        format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: tor, namespace: muslin-system}}\n{data}\n"
        )
    };
    for data in ["data: {md5: c2VjcmV0}", "stringData: {md5: secret}"] {
        let plan = with(&[peer(spec), secret(data)]);
        assert_eq!(plan.problems, []);
        let password = plan.speaker.peers[0].session.password.clone().unwrap();
        assert_eq!(&*password.0, b"secret");
    }
    let long = format!("stringData: {{md5: {}}}", "x".repeat(81));
    let faults = [
        (String::new(), "there is no Secret muslin-system/tor, and without its password there is no session"),
        (secret("data: {other: c2VjcmV0}"), "Secret muslin-system/tor has no key md5"),
        (secret(&long), "key md5 of Secret muslin-system/tor has 81 octets"),
    ];
    for (secret, message) in faults {
        let plan = with(&[peer(spec), secret]);
        assert!(plan.speaker.peers.is_empty(), "{message}");
        assert_eq!(plan.problems[0].message, message);
    }
}

#[test]
fn a_listen_range_is_passive() {
    let plan = with(&[peer("listenRange: 172.30.0.0/16, peerASN: external, listenLimit: 4")]);
    let range = &plan.speaker.listen_ranges[0];
    assert_eq!((range.limit, range.session.connect), (4, ConnectMode::Passive));
    assert!(plan.speaker.peers.is_empty());
}

#[test]
fn a_node_without_an_ipv4_address_has_a_router_id_of_its_name() {
    let manifest = node("n1", &["fd30::1"], &[]) + &node("n2", &["fd30::2"], &[]);
    let id = |node: &str| plan_of(&manifest, &uplink(&["fd30::1/64"]), node).speaker.router_id;
    assert_ne!(id("n1"), id("n2"));
    assert_eq!(id("n1").to_string(), "4.53.220.0", "it must never change");
    let with_id = manifest.clone() + &resource("BGPConfiguration", "node.n1", "routerID: 10.0.0.1");
    assert_eq!(plan_of(&with_id, &uplink(&[]), "n1").speaker.router_id.to_string(), "10.0.0.1");
}

#[test]
fn a_node_configuration_overrides_the_default_field_by_field() {
    let plan = with(&[
        resource("BGPConfiguration", "default", "asn: 64600, maxPaths: 4, listenPort: 1179"),
        resource("BGPConfiguration", "node.n1", "asn: 64601, clusterCIDRs: [10.0.0.0/8]"),
        resource("BGPConfiguration", "node.n2", "asn: 64602"),
        resource("BGPConfiguration", "defualt", "asn: 1"),
    ]);
    assert_eq!((plan.speaker.asn.0, plan.speaker.max_paths, plan.speaker.listen[0].port()), (64601, 4, 1179));
    let found = problems(&plan);
    assert_eq!(found.len(), 2);
    assert!(
        found[0].ends_with(
            "BGPConfiguration defualt: nobody asks for this name; call it `default`, or `node.NAME`"
        ),
        "{found:?}"
    );
    assert!(
        found[1].ends_with(".spec.clusterCIDRs: it holds for all nodes alike; write it in `default`"),
        "{found:?}"
    );
}

#[test]
fn fault_32_a_node_that_is_not_there_announces_nothing_and_has_no_peers() {
    let manifest =
        node("n1", &["172.30.1.2"], &["10.244.1.0/24"]) + &peer("peerAddress: 172.30.1.1, peerASN: 65000");
    let plan = plan_of(&manifest, &uplink(&["172.30.1.9/24"]), "n9");
    assert!(plan.speaker.peers.is_empty() && plan.speaker.originated.is_empty());
    assert_eq!(
        problems(&plan),
        [
            "Node n9: there is no such node, so it has no peers and announces nothing; add the Node object, or choose one of n1"
        ],
    );
}

#[test]
fn a_session_is_spoken_from_the_address_of_its_source_interface() {
    let source = |spec: &str| with(&[peer(&format!("peerAddress: 172.30.1.1, peerASN: 65000, {spec}"))]);
    let plan = source("sourceInterface: uplink0");
    assert_eq!(plan.problems, []);
    assert_eq!(plan.speaker.peers[0].session.local_address, Some("172.30.1.2".parse().unwrap()));
    let plan = source("sourceInterface: eth9");
    assert!(plan.speaker.peers.is_empty(), "never from another address");
    assert_eq!(
        problems(&plan),
        [
            "test.yaml:11: BGPPeer tor .spec.sourceInterface: eth9 has no IPv4 address that is known beyond its link; \
             give it one, name another interface, or write `localAddress`"
        ],
    );
}

#[test]
fn a_node_speaks_from_its_own_local_addresses_where_a_peer_names_none() {
    let addresses = |spec: &str| -> Vec<_> {
        let configuration =
            resource("BGPConfiguration", "node.n1", "localAddresses: [10.9.9.1, \"fd09::1\"]");
        let plan = with(&[configuration, peer(spec)]);
        assert_eq!(plan.problems, []);
        plan.speaker.peers.iter().map(|peer| peer.session.local_address.unwrap().to_string()).collect()
    };
    assert_eq!(addresses("peerAddress: 172.30.1.1, peerASN: 65000, multihop: 2"), ["10.9.9.1"]);
    assert_eq!(addresses("peerAddress: \"fd30:0:0:1::1\", peerASN: 65000, multihop: 2"), ["fd09::1"]);
    let named = "peerAddress: 172.30.1.1, peerASN: 65000, localAddress: 172.30.1.2";
    assert_eq!(addresses(named), ["172.30.1.2"]);
}

#[test]
fn tcp_ao_is_planned_where_the_kernel_has_it_and_refused_where_it_has_not() {
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: kube-system}\n\
                  stringData: {password: hush}\n";
    let spec = "peerAddress: 172.30.1.1, peerASN: 65000, \
                tcpAO: {secretKeyRef: {name: key, namespace: kube-system}, sendID: 7, receiveID: 8}";
    let manifest = node("n1", &["172.30.1.2"], &["10.244.1.0/24"]) + secret + &peer(spec);
    let facts = |tcp_ao| KernelFacts { tcp_ao, ..uplink(&["172.30.1.2/24"]) };
    for capable in [Some(true), None] {
        let plan = plan_of(&manifest, &facts(capable), "n1");
        assert_eq!(plan.problems, []);
        let key = plan.speaker.peers[0].session.tcp_ao.as_ref().unwrap();
        assert_eq!((key.send_id, key.receive_id, &*key.key.0), (7, 8, &b"hush"[..]));
    }
    let plan = plan_of(&manifest, &facts(Some(false)), "n1");
    assert!(plan.speaker.peers.is_empty(), "never without protection");
    let [problem] = &*problems(&plan) else { panic!("{:?}", plan.problems) };
    assert!(problem.contains("BGPPeer tor .spec.tcpAO: this kernel has no TCP-AO"), "{problem}");
    assert!(problem.contains("Linux 6.7"), "{problem}");
}

#[test]
fn peers_are_told_the_nodes_name_and_our_version_unless_that_is_switched_off() {
    let names = |configuration: &str| {
        let plan = with(&[resource("BGPConfiguration", "default", configuration)]);
        assert_eq!(plan.problems, []);
        plan.speaker.identification
    };
    let told = names("asn: 64512");
    assert_eq!(told.host.as_deref(), Some("n1"));
    assert!(told.software.unwrap().starts_with("muslin/"));
    let silent = names("announceHostname: false, announceVersion: false");
    assert_eq!((silent.host, silent.software), (None, None));
}
