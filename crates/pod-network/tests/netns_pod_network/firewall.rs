//! The table as `nft` reads it.

use muslin_netns::Namespace;
use muslin_pod_network::{FirewallPlan, Masquerade, NodeGuard, firewall};
use serde_json::{Value, json};

use crate::node::nft;

fn prefixes(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

pub(crate) fn plan() -> FirewallPlan {
    FirewallPlan {
        masquerade: Masquerade {
            pod_ranges: prefixes(&["10.244.1.0/24", "fd00:10:244:1::/64"]),
            never: prefixes(&[
                "10.244.0.0/16",
                "fd00:10:244::/48",
                "192.0.2.1/32",
                "192.0.2.2/32",
                "2001:db8::1/128",
            ]),
        },
        service_ranges_to_drop: prefixes(&["10.96.0.0/16", "fd00:10:96::/112"]),
        node_guard: NodeGuard {
            pod_ranges: prefixes(&["10.244.0.0/16", "fd00:10:244::/48"]),
            peers: prefixes(&["10.244.2.7/32"]),
        },
    }
}

/// Our table as `nft` shows it, without what differs from one reading to the next.
fn table(node: &Namespace) -> Vec<Value> {
    let text = nft(node, &["-j", "list", "table", "inet", firewall::TABLE]);
    let listing: Value = serde_json::from_str(&text).unwrap();
    let mut objects = listing["nftables"].as_array().unwrap()[1..].to_vec();
    for object in objects.iter_mut().flat_map(|object| object.as_object_mut().unwrap().values_mut()) {
        object.as_object_mut().unwrap().remove("handle");
    }
    objects
}

fn apply(node: &Namespace, plan: &FirewallPlan) {
    node.run(|| firewall::apply(plan)).unwrap().unwrap();
}

#[test]
fn nft_reads_the_table_that_was_written() {
    let node = Namespace::new("node").unwrap();
    apply(&node, &plan());
    let text = nft(&node, &["list", "table", "inet", firewall::TABLE]);
    let text: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(
        text,
        r#"table inet muslin {
set pods-v4 {
type ipv4_addr
flags interval
elements = { 10.244.1.0/24 }
}
set cluster-v4 {
type ipv4_addr
flags interval
elements = { 10.244.0.0/16, 192.0.2.1-192.0.2.2 }
}
set services-v4 {
type ipv4_addr
flags interval
elements = { 10.96.0.0/16 }
}
set all-pods-v4 {
type ipv4_addr
flags interval
elements = { 10.244.0.0/16 }
}
set peers-v4 {
type ipv4_addr
flags interval
elements = { 10.244.2.7 }
}
set pods-v6 {
type ipv6_addr
flags interval
elements = { fd00:10:244:1::/64 }
}
set cluster-v6 {
type ipv6_addr
flags interval
elements = { 2001:db8::1,
fd00:10:244::/48 }
}
set services-v6 {
type ipv6_addr
flags interval
elements = { fd00:10:96::/112 }
}
set all-pods-v6 {
type ipv6_addr
flags interval
elements = { fd00:10:244::/48 }
}
set peers-v6 {
type ipv6_addr
flags interval
}
chain pods-in {
type filter hook prerouting priority raw; policy accept;
iifname "msl*" fib saddr . iif oif missing counter packets 0 bytes 0 drop comment "a source that is not the pod's own"
}
chain node-guard {
type filter hook input priority filter; policy accept;
iifname "msl*" icmpv6 type nd-router-advert counter packets 0 bytes 0 drop comment "no pod is a router"
ip saddr @peers-v4 accept comment "a pod that is a peer"
ip6 saddr @peers-v6 accept comment "a pod that is a peer"
iifname "msl*" tcp dport 179 counter packets 0 bytes 0 drop comment "no pod speaks routing protocols with the node"
ip saddr @all-pods-v4 tcp dport 179 counter packets 0 bytes 0 drop comment "nor does one of another node"
ip6 saddr @all-pods-v6 tcp dport 179 counter packets 0 bytes 0 drop comment "nor does one of another node"
iifname "msl*" udp dport 3784 counter packets 0 bytes 0 drop comment "no pod speaks routing protocols with the node"
ip saddr @all-pods-v4 udp dport 3784 counter packets 0 bytes 0 drop comment "nor does one of another node"
ip6 saddr @all-pods-v6 udp dport 3784 counter packets 0 bytes 0 drop comment "nor does one of another node"
iifname "msl*" udp dport 4784 counter packets 0 bytes 0 drop comment "no pod speaks routing protocols with the node"
ip saddr @all-pods-v4 udp dport 4784 counter packets 0 bytes 0 drop comment "nor does one of another node"
ip6 saddr @all-pods-v6 udp dport 4784 counter packets 0 bytes 0 drop comment "nor does one of another node"
}
chain untranslated {
type filter hook forward priority filter + 10; policy accept;
ct state established accept comment "what passed before"
ct status dnat accept comment "what was translated"
ip daddr @services-v4 counter packets 0 bytes 0 drop comment "a Service address that nothing translated"
ip6 daddr @services-v6 counter packets 0 bytes 0 drop comment "a Service address that nothing translated"
}
chain masquerade {
type nat hook postrouting priority srcnat; policy accept;
ip saddr @pods-v4 ip daddr != @cluster-v4 masquerade fully-random comment "from a pod to outside the cluster"
ip6 saddr @pods-v6 ip6 daddr != @cluster-v6 masquerade fully-random comment "from a pod to outside the cluster"
}
}"#
        .lines()
        .collect::<Vec<_>>()
    );
}

#[test]
fn applying_again_replaces_the_table_and_nothing_else() {
    let node = Namespace::new("node").unwrap();
    nft(&node, &["add table inet somebody-elses; add chain inet somebody-elses c"]);
    apply(&node, &plan());
    let first = table(&node);
    apply(&node, &plan());
    assert_eq!(table(&node), first);

    nft(&node, &["flush chain inet muslin untranslated; add chain inet muslin intruder"]);
    assert_ne!(table(&node), first);
    apply(&node, &plan());
    assert_eq!(table(&node), first);

    apply(&node, &FirewallPlan::default());
    let empty = table(&node);
    let elements =
        |objects: &[Value]| objects.iter().filter(|object| !object["set"]["elem"].is_null()).count();
    assert_eq!((elements(&first), elements(&empty)), (9, 0));

    node.run(firewall::remove).unwrap().unwrap();
    node.run(firewall::remove).unwrap().unwrap();
    assert_eq!(nft(&node, &["list", "tables"]).trim(), "table inet somebody-elses");
}

/// A chain costs every packet that passes its hook, also when it says nothing.
#[test]
fn a_chain_without_anything_to_look_for_is_left_out() {
    let node = Namespace::new("node").unwrap();
    let chains = |plan: &FirewallPlan| {
        apply(&node, plan);
        let objects = table(&node);
        let names = objects.iter().filter_map(|object| object["chain"]["name"].as_str().map(str::to_owned));
        names.collect::<Vec<_>>()
    };
    let whole = plan();
    assert_eq!(chains(&whole), ["pods-in", "node-guard", "untranslated", "masquerade"]);
    let no_services = FirewallPlan { service_ranges_to_drop: vec![], ..plan() };
    assert_eq!(chains(&no_services), ["pods-in", "node-guard", "masquerade"]);
    let routed = Masquerade { pod_ranges: vec![], ..whole.masquerade.clone() };
    assert_eq!(chains(&FirewallPlan { masquerade: routed, ..no_services }), ["pods-in", "node-guard"]);
    assert_eq!(chains(&whole).len(), 4, "and comes back");
}

#[test]
fn five_thousand_scattered_nodes_fit() {
    let node = Namespace::new("node").unwrap();
    let mut plan = plan();
    for number in 0..5000u32 {
        // Every other address, so that no two of them merge.
        let [_, _, high, low] = (number * 2).to_be_bytes();
        plan.masquerade.never.push(format!("172.16.{high}.{low}/32").parse().unwrap());
        plan.masquerade.never.push(format!("2001:db8:1::{:x}/128", number * 2).parse().unwrap());
    }
    apply(&node, &plan);
    let objects = table(&node);
    let set = |name: &str| {
        let found = objects.iter().find(|object| object["set"]["name"] == name).unwrap();
        found["set"]["elem"].as_array().unwrap().len()
    };
    assert_eq!((set("cluster-v4"), set("cluster-v6")), (5002, 5002));
    assert!(objects.iter().any(|object| object["set"]["elem"][0] == json!({ "prefix": { "addr": "10.96.0.0", "len": 16 } })));
}

#[test]
fn the_table_is_missed_when_somebody_flushes_everything() {
    let node = Namespace::new("node").unwrap();
    let is_present = || node.run(firewall::is_present).unwrap().unwrap();
    assert!(!is_present());
    apply(&node, &plan());
    assert!(is_present());
    nft(&node, &["flush ruleset"]);
    assert!(!is_present());
}

#[test]
fn fault_38_chains_that_drop_forwarded_packets_are_named() {
    let node = Namespace::new("node").unwrap();
    apply(&node, &plan());
    for (family, chain, hook) in
        [("ip", "FORWARD", "forward"), ("ip", "INPUT", "input"), ("bridge", "FORWARD", "forward")]
    {
        nft(&node, &[&format!("add table {family} filter")]);
        let policy = format!("{{ type filter hook {hook} priority 0; policy drop; }}");
        nft(&node, &[&format!("add chain {family} filter {chain} {policy}")]);
    }
    let found = node.run(firewall::forward_drops).unwrap().unwrap();
    let expected = firewall::ForwardDrop {
        family: firewall::Family::Ip,
        table: "filter".to_owned(),
        chain: "FORWARD".to_owned(),
    };
    assert_eq!(found, [expected]);
}
