//! One fact is wrong at a time; the finding that it leads to is the only one.

use std::collections::BTreeSet;

use muslin_pod_network::firewall::{Family, ForwardDrop};

use super::*;
use crate::commands::doctor::facts::{
    Agent, CniFile, Filter, Link, Listener, Looked, Networkd, NetworkdLink, PathMtu,
};

/// A node with nothing to complain about.
fn well() -> Facts {
    let settings = [
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/eth0/rp_filter", "2"),
        ("ipv4/conf/eth0/forwarding", "1"),
        ("ipv4/fib_multipath_hash_policy", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv6/conf/all/disable_ipv6", "0"),
        ("ipv6/conf/eth0/accept_ra", "2"),
        ("ipv6/fib_multipath_hash_policy", "1"),
        ("ipv6/route/max_size", "2147483647"),
        ("netfilter/nf_conntrack_count", "100"),
        ("netfilter/nf_conntrack_max", "262144"),
    ];
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    Facts {
        kernel_release: "6.12.4-amd64".to_owned(),
        next_hop_objects: Some(true),
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        links: vec![link("eth0", 1500)],
        has_ipv6: true,
        pod_mtu: Some(1500),
        paths: vec![path(Some(1500))],
        processes: names(&["kubelet", "kube-proxy", "muslin"]),
        bgp_port: vec![Listener { address: "::".parse().unwrap(), process: Some("muslin".to_owned()) }],
        filter: Looked::Seen(Filter {
            chains: names(&["muslin pods-in", "kube-proxy services"]),
            forward_drops: Vec::new(),
        }),
        proxy_mode: Some("nftables".to_owned()),
        cni: Looked::Seen(vec![file("10-muslin.conflist", &["muslin-cni", "portmap"])]),
        cni_plugins: Looked::Seen(names(&["muslin-cni", "portmap"])),
        agent: Looked::Seen(Agent {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            on_node: true,
            problems: Vec::new(),
        }),
        ..Facts::default()
    }
}

fn link(name: &str, mtu: u32) -> Link {
    Link { name: name.to_owned(), mtu, uplink: true }
}

fn path(answered: Option<u32>) -> PathMtu {
    PathMtu {
        whose: "peer tor".to_owned(),
        address: "192.0.2.1".parse().unwrap(),
        link: "eth0".to_owned(),
        link_mtu: 1500,
        answered,
    }
}

fn file(name: &str, plugins: &[&str]) -> CniFile {
    let plugins = plugins.iter().map(|name| (*name).to_owned()).collect();
    CniFile { path: format!("/etc/cni/net.d/{name}").into(), plugins }
}

/// What the checks find when this is changed.
fn with(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = well();
    change(&mut facts);
    examine(&facts).findings
}

/// The one finding there is, after what it must say was found in it.
#[track_caller]
fn only(findings: impl AsRef<[Finding]>, check: &str, severity: Severity, words: &[&str]) {
    let [finding] = findings.as_ref() else { panic!("{:#?}", findings.as_ref()) };
    assert_eq!((finding.check, finding.severity), (check, severity), "{finding:#?}");
    let said =
        format!("{} {} {}", finding.what, finding.evidence, finding.fix.as_deref().unwrap_or_default());
    for word in words {
        assert!(said.contains(word), "no `{word}` in: {said}");
    }
}

fn set(facts: &mut Facts, name: &str, value: &str) {
    facts.settings.insert(name.to_owned(), value.to_owned());
}

#[test]
fn a_node_that_is_well_passes_every_check() {
    let report = examine(&well());
    assert_eq!(report.findings, []);
    assert_eq!(report.passed.len(), CHECKS.len());
    assert!(!report.is_bad());
}

#[test]
fn an_old_kernel_and_its_route_limit_are_told() {
    let old = |release: &str| with(|facts| facts.kernel_release = release.to_owned());
    only(old("5.2.1"), "kernel", Severity::Note, &["next-hop objects", "5.2.1"]);
    let findings = with(|facts| {
        facts.kernel_release = "5.15.0-91-generic".to_owned();
        set(facts, "ipv6/route/max_size", "4096");
    });
    only(findings, "kernel", Severity::Warning, &["4096", "net.ipv6.route.max_size=1048576"]);
    assert_eq!(with(|facts| set(facts, "ipv6/route/max_size", "4096")), [], "6.12 does not heed it");
}

#[test]
fn a_family_that_is_not_forwarded_is_an_error_with_the_command_that_helps() {
    let findings = with(|facts| set(facts, "ipv4/ip_forward", "0"));
    only(
        findings,
        "forwarding",
        Severity::Error,
        &["net.ipv4.ip_forward = 0", "sysctl -w net.ipv4.ip_forward=1"],
    );
    let findings = with(|facts| set(facts, "ipv6/conf/all/forwarding", "0"));
    only(findings, "forwarding", Severity::Error, &["sysctl -w net.ipv6.conf.all.forwarding=1"]);
    let findings = with(|facts| set(facts, "ipv4/conf/eth0/forwarding", "0"));
    only(findings, "forwarding", Severity::Error, &["net.ipv4.conf.eth0.forwarding"]);
    let without = with(|facts| {
        set(facts, "ipv6/conf/all/forwarding", "0");
        facts.has_ipv6 = false;
    });
    assert_eq!(without, [], "a node without IPv6 need not forward it");
}

#[test]
fn strict_reverse_path_filtering_counts_wherever_it_is_set() {
    for setting in ["ipv4/conf/all/rp_filter", "ipv4/conf/eth0/rp_filter"] {
        let findings = with(|facts| {
            set(facts, "ipv4/conf/eth0/rp_filter", "0");
            set(facts, setting, "1");
        });
        only(findings, "reverse-path-filter", Severity::Warning, &["net.ipv4.conf.eth0.rp_filter=2"]);
    }
    assert_eq!(with(|facts| set(facts, "ipv4/conf/all/rp_filter", "1")), [], "loose on the link wins");
}

#[test]
fn a_forwarding_node_that_ignores_router_advertisements_is_told() {
    let ignoring = |facts: &mut Facts| set(facts, "ipv6/conf/eth0/accept_ra", "1");
    only(with(ignoring), "router-advertisements", Severity::Warning, &["net.ipv6.conf.eth0.accept_ra=2"]);
}

#[test]
fn a_dot_in_the_name_of_a_link_is_a_slash_for_sysctl() {
    let findings = with(|facts| {
        facts.links[0].name = "eth0.100".to_owned();
        set(facts, "ipv6/conf/eth0.100/accept_ra", "1");
    });
    only(findings, "router-advertisements", Severity::Warning, &["net.ipv6.conf.eth0/100.accept_ra=2"]);
}

#[test]
fn paths_chosen_by_host_and_a_full_connection_tracker_are_warnings() {
    let findings = with(|facts| set(facts, "ipv4/fib_multipath_hash_policy", "0"));
    only(findings, "multipath-hash", Severity::Warning, &["net.ipv4.fib_multipath_hash_policy=1"]);
    let findings = with(|facts| set(facts, "netfilter/nf_conntrack_count", "250000"));
    only(
        findings,
        "connection-tracking",
        Severity::Warning,
        &["250000 of 262144", "nf_conntrack_max=524288"],
    );
}

/// systemd-networkd runs, and was told these.
fn networkd(settings: &[(&str, &str)], change: impl FnOnce(&mut Networkd)) -> Vec<Finding> {
    with(|facts| {
        facts.processes.insert("systemd-network".to_owned());
        let settings = settings.iter().map(|(name, value)| (name.to_lowercase(), (*value).to_owned()));
        facts.networkd.settings = settings.collect();
        change(&mut facts.networkd);
    })
}

fn networkd_link(name: &str, file: &str, keeps: bool) -> NetworkdLink {
    NetworkdLink { name: name.to_owned(), file: file.to_owned(), keeps }
}

#[test]
fn networkd_is_only_trusted_when_it_is_told_to_leave_foreign_routes() {
    let words = ["ManageForeignRoutes=yes (the default)", "ManageForeignNextHops=no", "10-muslin.conf"];
    only(networkd(&[], |_| ()), "systemd-networkd", Severity::Warning, &words);
    let told = |value| networkd(&[("ManageForeignRoutes", value), ("ManageForeignNextHops", "No")], |_| ());
    assert_eq!(told("no"), []);
    only(told("true"), "systemd-networkd", Severity::Warning, &["ManageForeignRoutes=true"]);
}

#[test]
fn an_older_networkd_keeps_next_hop_objects_only_with_the_links_that_it_keeps() {
    let old = |keeps| {
        networkd(&[("ManageForeignRoutes", "no")], |networkd| {
            networkd.before_next_hops = true;
            networkd.links = vec![networkd_link("eth0", "10 my eth0.network", keeps)];
        })
    };
    let fix = r"mkdir -p '/etc/systemd/network/10 my eth0.network.d' && printf '[Network]\nKeepConfiguration=yes\n' > '/etc/systemd/network/10 my eth0.network.d/10-muslin.conf' && systemctl restart systemd-networkd";
    only(old(false), "systemd-networkd", Severity::Warning, &["KeepConfiguration=yes for eth0", fix]);
    assert_eq!(old(true), []);
}

#[test]
fn a_network_file_of_networkd_that_applies_to_pods_interfaces_is_named() {
    let findings = networkd(&[("ManageForeignRoutes", "no"), ("ManageForeignNextHops", "no")], |networkd| {
        networkd.links = vec![networkd_link("mslabc", "90-all.network", false)];
    });
    let words = ["90-all.network", "Name=msl*", "Unmanaged=yes", "/etc/systemd/network/00-muslin.network"];
    only(findings, "systemd-networkd", Severity::Warning, &words);
}

#[test]
fn networkmanager_is_only_trusted_when_pods_interfaces_are_not_its_own() {
    let unmanaged = |specs: &[&str]| {
        let specs = specs.iter().map(|spec| (*spec).to_owned()).collect();
        with(|facts| {
            facts.processes.insert("NetworkManager".to_owned());
            facts.networkmanager_unmanaged = specs;
        })
    };
    only(
        unmanaged(&[]),
        "network-manager",
        Severity::Warning,
        &["interface-name:msl*", "not set", "systemctl restart"],
    );
    only(unmanaged(&["interface-name:cali*"]), "network-manager", Severity::Warning, &["cali*"]);
    assert_eq!(unmanaged(&["interface-name:msl*"]), []);
    assert_eq!(unmanaged(&["driver:veth"]), []);
}

#[test]
fn another_pod_network_or_routing_daemon_is_named() {
    let findings = with(|facts| facts.processes.extend(["calico-node".to_owned()]));
    only(findings, "other-routing", Severity::Warning, &["Calico", "calico-node"]);
}

#[test]
fn somebody_else_on_the_port_of_bgp_is_an_error() {
    let taken = |process: Option<&str>| {
        let process = process.map(str::to_owned);
        move |facts: &mut Facts| {
            facts.bgp_port = vec![Listener { address: "0.0.0.0".parse().unwrap(), process }];
        }
    };
    only(with(taken(Some("gobgpd"))), "bgp-port", Severity::Error, &["gobgpd", "0.0.0.0 port 179"]);
    assert_eq!(with(taken(None)), [], "an ordinary user cannot see that it is the agent's");
    let findings = with(|facts| {
        taken(None)(facts);
        facts.agent = Looked::Absent("no daemon".to_owned());
    });
    assert_eq!(findings[0].check, "bgp-port", "without an agent it is somebody else's");
}

#[test]
fn an_uplink_that_is_narrower_than_pods_or_than_ipv6_allows_is_an_error() {
    let findings = with(|facts| facts.pod_mtu = Some(9000));
    only(findings, "mtu", Severity::Error, &["9000 of pods, 1500 of eth0"]);
    let findings = with(|facts| {
        facts.links[0].mtu = 1200;
        facts.pod_mtu = Some(1200);
    });
    only(findings, "mtu", Severity::Error, &["1280"]);
    let findings = with(|facts| facts.links.push(link("eth1", 9000)));
    only(findings, "mtu", Severity::Note, &["1500 of eth0, 9000 of eth1"]);
}

#[test]
fn a_way_that_swallows_large_packets_is_an_error_and_silence_is_none() {
    let findings = with(|facts| facts.paths = vec![path(Some(1400))]);
    only(
        findings,
        "path-mtu",
        Severity::Error,
        &["peer tor", "1400", "not of 1500", "ip link set eth0 mtu 1400"],
    );
    assert_eq!(with(|facts| facts.paths = vec![path(None)]), []);
    let narrow_pods = with(|facts| {
        facts.paths = vec![path(Some(1400))];
        facts.pod_mtu = Some(1400);
    });
    assert_eq!(narrow_pods, [], "pods send nothing larger");
}

/// What Docker and `iptables -P FORWARD DROP` make.
fn drop_of(family: Family) -> ForwardDrop {
    ForwardDrop { family, table: "filter".to_owned(), chain: "FORWARD".to_owned() }
}

#[test]
fn fault_38_a_chain_that_drops_is_opened_for_the_pods_of_its_family() {
    for (family, ours, others) in [
        (Family::Ip, "10.244.1.0/24", "fd44:"),
        (Family::Ip6, "fd44:0:0:1::/64", "10.244."),
        (Family::Inet, "10.244.1.0/24", "10.96."),
    ] {
        let findings = with(|facts| {
            let Looked::Seen(filter) = &mut facts.filter else { panic!("not seen") };
            filter.forward_drops.push(drop_of(family));
            facts.pod_ranges =
                ["10.244.1.0/24", "fd44:0:0:1::/64"].map(|block| block.parse().unwrap()).into();
        });
        let word = family.name();
        let rule = format!("insert rule {word} filter FORWARD ");
        only(findings.clone(), "packet-filter", Severity::Warning, &[&rule, &format!("daddr {ours} accept")]);
        assert!(!findings[0].fix.as_ref().unwrap().contains(others), "{findings:#?}");
    }
}

#[test]
fn the_packet_filter_is_there_and_in_nobodys_way() {
    let absent = |facts: &mut Facts| facts.filter = Looked::Absent("protocol not supported".to_owned());
    only(with(absent), "packet-filter", Severity::Error, &["modprobe nf_tables"]);
    let forbidden = |facts: &mut Facts| facts.filter = Looked::Forbidden("not permitted".to_owned());
    only(with(forbidden), "packet-filter", Severity::Unknown, &["run as root"]);
    let change = |change: fn(&mut Filter)| {
        with(|facts| {
            let Looked::Seen(filter) = &mut facts.filter else { panic!("not seen") };
            change(filter);
        })
    };
    let docker = change(|filter| filter.forward_drops.push(drop_of(Family::Ip)));
    only(docker, "packet-filter", Severity::Warning, &["chain ip filter FORWARD", "often Docker"]);
    let flushed = change(|filter| filter.chains.retain(|chain| chain != "muslin pods-in"));
    only(flushed, "packet-filter", Severity::Error, &["nft flush ruleset"]);
}

#[test]
fn kube_proxy_is_there_in_one_mode_that_leaves_service_addresses_alone() {
    let findings = with(|facts| facts.proxy_mode = Some("ipvs".to_owned()));
    only(findings, "kube-proxy", Severity::Warning, &["mode: nftables"]);
    let findings = with(|facts| {
        facts.proxy_mode = None;
        facts.links.push(Link { uplink: false, ..link("kube-ipvs0", 1500) });
    });
    only(findings, "kube-proxy", Severity::Warning, &["kube-ipvs0"]);
    let findings = with(|facts| {
        let Looked::Seen(filter) = &mut facts.filter else { panic!("not seen") };
        filter.chains.insert("nat KUBE-SERVICES".to_owned());
    });
    only(findings, "kube-proxy", Severity::Warning, &["nftables, iptables", "--cleanup"]);
    let findings = with(|facts| {
        facts.proxy_mode = None;
        facts.processes.remove("kube-proxy");
        let Looked::Seen(filter) = &mut facts.filter else { panic!("not seen") };
        filter.chains.remove("kube-proxy services");
    });
    only(findings, "kube-proxy", Severity::Warning, &["nobody translates"]);
}

#[test]
fn the_container_runtime_calls_our_plugin_and_finds_it() {
    let files = |files: &[(&str, &[&str])]| {
        let files = files.iter().map(|(name, plugins)| file(name, plugins)).collect();
        with(|facts| facts.cni = Looked::Seen(files))
    };
    let ours: (&str, &[&str]) = ("10-muslin.conflist", &["muslin-cni"]);
    let first = files(&[("05-bridge.conf", &["bridge"]), ours]);
    only(first, "cni", Severity::Error, &["05-bridge.conf", "calls bridge"]);
    only(files(&[ours, ("20-x.conflist", &["calico"])]), "cni", Severity::Note, &["20-x.conflist", "calico"]);
    only(files(&[("20-x.conflist", &["calico"])]), "cni", Severity::Error, &["no 10-muslin.conflist"]);
    let missing = files(&[("10-muslin.conflist", &["muslin-cni", "bandwidth"])]);
    only(missing, "cni", Severity::Error, &["bandwidth is not there"]);
    let absent = with(|facts| facts.cni = Looked::Absent("no such folder".to_owned()));
    only(absent, "cni", Severity::Note, &["--cni-conf-dir"]);
}

#[test]
fn an_agent_that_is_away_is_a_note_and_its_problems_are_errors() {
    let absent = with(|facts| facts.agent = Looked::Absent("no daemon answers".to_owned()));
    only(absent, "agent", Severity::Note, &["no daemon answers", "--socket"]);
    let forbidden = with(|facts| facts.agent = Looked::Forbidden("permission denied".to_owned()));
    only(forbidden, "agent", Severity::Unknown, &["run as root"]);
    let change = |change: fn(&mut Agent)| {
        with(|facts| {
            let Looked::Seen(agent) = &mut facts.agent else { panic!("not seen") };
            change(agent);
        })
    };
    let down = change(|agent| agent.problems.push("the session with tor is Idle".to_owned()));
    only(down, "agent", Severity::Error, &["the session with tor is Idle"]);
    only(change(|agent| agent.version = "9.9.9".to_owned()), "agent", Severity::Note, &["9.9.9"]);
}

#[test]
fn the_worst_comes_first_and_decides() {
    let findings = with(|facts| {
        facts.links.push(link("eth1", 9000));
        set(facts, "ipv4/fib_multipath_hash_policy", "0");
        set(facts, "ipv4/ip_forward", "0");
    });
    let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Warning, Severity::Note]);
    let notes = with(|facts| facts.links.push(link("eth1", 9000)));
    assert!(!Report { findings: notes, passed: Vec::new() }.is_bad());
}
