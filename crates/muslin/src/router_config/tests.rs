use muslin_cluster::ClusterState;
use muslin_node_plan::{RouterRequest, router_plan};

use super::*;

const RACK: &str = r#"
apiVersion: muslin.dev/v1alpha1
kind: BGPConfiguration
metadata: {name: default}
spec:
  clusterCIDRs: [10.244.0.0/16, "fd44::/48"]
  serviceClusterIPs: [{cidr: 10.96.0.0/16}]
  import: {defaultRoute: Accept}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24, "fd44:0:0:1::/64"]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}, {type: InternalIP, address: "fd30::2"}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
"#;

fn written(daemon: Daemon, spec: &str, router: &Router) -> Result<String, Unsupported> {
    let state = ClusterState::from_manifest("rack.yaml", &format!("{RACK}spec: {{{spec}}}\n"));
    assert!(state.problems.is_empty(), "{:?}", state.problems);
    configuration(daemon, &router_plan(&state, &RouterRequest::default()).unwrap(), router)
}

fn plain(daemon: Daemon, spec: &str) -> String {
    written(daemon, spec, &Router::default()).unwrap()
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found.trim() == *line), "no `{line}` in\n{text}");
    }
}

const EXTERNAL: &str = "peerAddress: 172.30.1.1, peerASN: 65000";
const INTERNAL: &str = "peerAddress: 172.30.1.1, peerASN: internal";
const SECURE: &str =
    "peerAddress: 172.30.1.1, peerASN: 65000, ttlSecurity: 2, role: Customer, strictRole: true";
const LINKS: &str = "interface: eth0, peerASN: 65000";

#[test]
fn frr_filters_limits_and_listens() {
    let text = plain(Daemon::Frr, EXTERNAL);
    has(
        &text,
        &[
            "router bgp 65000",
            "bgp router-id 172.30.1.1",
            "neighbor nodes_ipv4 remote-as 64512",
            "bgp listen range 172.30.1.0/24 peer-group nodes_ipv4",
            "ip prefix-list MUSLIN-IN4 seq 5 permit 10.244.0.0/16 ge 24 le 24",
            "ip prefix-list MUSLIN-IN4 seq 10 permit 10.96.0.0/16 le 32",
            "ip prefix-list MUSLIN-OUT4 seq 10 permit 0.0.0.0/0",
            "neighbor nodes_ipv4 maximum-prefix 100 75 restart 1",
            "bgp graceful-restart restart-time 120",
        ],
    );
    has(
        &plain(Daemon::Frr, INTERNAL),
        &["neighbor nodes_ipv4 route-reflector-client", "neighbor nodes_ipv4 next-hop-self"],
    );
    has(
        &plain(Daemon::Frr, SECURE),
        &["neighbor nodes_ipv4 ttl-security hops 2", "neighbor nodes_ipv4 local-role provider strict-mode"],
    );
}

#[test]
fn bird_filters_limits_and_listens() {
    let text = plain(Daemon::Bird, EXTERNAL);
    has(
        &text,
        &[
            "local as 65000;",
            "if net ~ [ 10.244.0.0/16{24,24} ] then accept; # pods",
            "if net ~ [ 0.0.0.0/0{0,0} ] then accept; # the default route",
            "ipv4 { import filter muslin_in_ipv4; export filter muslin_out_ipv4; import limit 100 action restart; };",
            "protocol bgp nodes_ipv4_range_1 from nodes_ipv4 { neighbor range 172.30.1.0/24 as 64512; dynamic name \"nodes_ipv4_1_\"; }",
        ],
    );
    has(&plain(Daemon::Bird, INTERNAL), &["rr client;"]);
    has(
        &plain(Daemon::Bird, SECURE),
        &["multihop 2; ttl security on;", "local role provider; require roles on;"],
    );
}

#[test]
fn gobgp_filters_limits_and_listens() {
    let text = plain(Daemon::Gobgp, EXTERNAL);
    has(
        &text,
        &[
            "as = 65000",
            "prefix = \"172.30.1.0/24\"",
            "peer-as = 64512",
            "ip-prefix = \"10.96.0.0/16\" # Services",
            "masklength-range = \"24..24\"",
            "max-prefixes = 100",
            "replace-peer-as = true",
        ],
    );
    let refused = written(Daemon::Gobgp, SECURE, &Router::default()).unwrap_err();
    let over_ipv6 = "peerAddress: \"fd30:0:0:1::1\", peerASN: 65000, ttlSecurity: 1";
    let unsafe_there = written(Daemon::Gobgp, over_ipv6, &Router::default()).unwrap_err().to_string();
    assert!(unsafe_there.contains("over IPv6: take it out"), "{unsafe_there}");
    let old = Router { release: Some(Release(3, 36)), ..Router::default() };
    assert!(written(Daemon::Gobgp, EXTERNAL, &old).unwrap_err().to_string().contains("take a later one"));
    assert_eq!(refused.to_string(), "GoBGP has no roles (RFC 9234): take `strictRole` out of the BGPPeer");
}

#[test]
fn openbgpd_filters_limits_and_listens() {
    let text = plain(Daemon::Openbgpd, EXTERNAL);
    has(
        &text,
        &[
            "AS 65000",
            "neighbor 172.30.1.0/24 { descr \"nodes_ipv4\" }",
            "10.244.0.0/16 prefixlen 24 - 24",
            "deny from group \"nodes_ipv4\"",
            "allow from group \"nodes_ipv4\" prefix-set muslin-in",
            "max-prefix 100 restart 1",
        ],
    );
    let of = |release| {
        written(Daemon::Openbgpd, SECURE, &Router { release: Some(release), ..Router::default() }).unwrap()
    };
    has(&of(Release(7, 7)), &["announce policy provider enforce"]);
    has(&of(Release(9, 3)), &["role provider", "announce policy enforce"]);
}

#[test]
fn nodes_without_addresses_are_met_on_the_interfaces_that_are_named() {
    assert_eq!(written(Daemon::Frr, LINKS, &Router::default()), Err(Unsupported::NoInterface));
    let router = Router { interfaces: vec!["swp1".into(), "swp2".into()], ..Router::default() };
    let frr = written(Daemon::Frr, LINKS, &router).unwrap();
    has(
        &frr,
        &[
            "neighbor swp2 interface peer-group nodes_links",
            "neighbor nodes_links capability extended-nexthop",
        ],
    );
    let bird = written(Daemon::Bird, LINKS, &router).unwrap();
    assert!(bird.contains("interface \"swp1\"; dynamic name") && bird.contains("protocol radv"), "{bird}");
    assert!(written(Daemon::Gobgp, LINKS, &router).unwrap().contains("neighbor-interface = \"swp2\""));
    let refused = written(Daemon::Openbgpd, LINKS, &router).unwrap_err();
    assert!(refused.to_string().contains("peerAddress"), "{refused}");
}

#[test]
fn a_version_is_two_numbers() {
    assert_eq!("newest".parse::<Release>(), Err("newest: not a version; try 8.4".to_owned()));
    assert_eq!("9.3p1".parse(), Ok(Release(9, 3)));
    assert_eq!("8.4.4".parse(), Ok(Release(8, 4)));
    assert_eq!("10".parse(), Ok(Release(10, 0)));
}
