//! The CNI specification's testable points, by their ids; those without a kernel are in the plugin's own tests.

use std::collections::BTreeSet;
use std::net::IpAddr;

use muslin_netns::{LinkState, connect};
use serde_json::{Value, json};

use crate::node::{Node, Pod};

#[test]
fn cni_04_the_result_is_written_in_the_version_that_was_asked_for() {
    let node = Node::new();
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let pod = Pod::new(&format!("pod-{version}"));
        let config = node.config_with(json!({ "cniVersion": version }));
        let result = node.call("ADD", Some(&pod), &config, &[]).output;
        assert_eq!(result["cniVersion"], version);

        let [host, container] = result["interfaces"].as_array().unwrap().as_slice() else {
            panic!("{result}");
        };
        assert!(host["sandbox"].is_null());
        assert_eq!(container["sandbox"], json!(pod.netns.path()));
        assert_eq!(container["name"], "eth0");
        assert_eq!(container["mtu"], if version == "1.1.0" { json!(1500) } else { Value::Null });
        let links = pod.netns.links().unwrap();
        let link = links.iter().find(|link| link.name == "eth0").unwrap();
        let mac: Vec<String> = link.hardware_address.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(container["mac"], mac.join(":"));

        let [v4, v6] = result["ips"].as_array().unwrap().as_slice() else { panic!("{result}") };
        assert!(v4["address"].as_str().unwrap().ends_with("/32"));
        assert!(v6["address"].as_str().unwrap().ends_with("/128"));
        for (ip, gateway, family) in [(v4, "169.254.1.1", "4"), (v6, "fe80::1", "6")] {
            assert_eq!((&ip["gateway"], &ip["interface"]), (&json!(gateway), &json!(1)));
            assert_eq!(ip["version"], if version.starts_with('0') { json!(family) } else { Value::Null });
        }
        assert_eq!(
            result["routes"],
            json!([
                { "dst": "169.254.1.1/32" },
                { "dst": "0.0.0.0/0", "gw": "169.254.1.1" },
                { "dst": "::/0", "gw": "fe80::1" },
            ])
        );
    }
}

#[test]
fn cni_02_names_as_long_as_they_may_be_work() {
    let node = Node::new();
    let pod = Pod::new(&"c".repeat(200));
    let config = node.config_with(json!({ "name": "n".repeat(100) }));
    assert!(node.call("ADD", Some(&pod), &config, &[]).succeeded);
    assert!(node.call("DEL", Some(&pod), &config, &[]).succeeded);
    node.assert_empty();
}

#[test]
fn cni_05_an_interface_that_exists_is_an_error_and_nothing_changes() {
    let (node, pod, other) = (Node::new(), Pod::new("c1"), Pod::new("other"));
    connect(&pod.netns, "eth0", &other.netns, "eth0").unwrap();
    let before = pod.netns.links().unwrap();
    let answer = node.call("ADD", Some(&pod), &node.config, &[]);
    assert_eq!(answer.code(), 101);
    assert!(answer.details().contains("eth0 exists"), "{answer:?}");
    assert_eq!(pod.netns.links().unwrap(), before);
    node.assert_empty();
}

#[test]
fn cni_05_an_add_that_fails_half_way_leaves_nothing() {
    let node = Node::new();
    let outside = Pod::new("outside");

    // On the node: somebody else has a route where the pod's would go.
    connect(&node.host, "eth0", &outside.netns, "eth0").unwrap();
    node.host.add_address("eth0", "192.0.2.1/24".parse().unwrap()).unwrap();
    node.host.add_route("10.244.1.1/32".parse().unwrap(), "192.0.2.2".parse().unwrap()).unwrap();
    let pod = Pod::new("c1");
    let answer = node.call("ADD", Some(&pod), &node.config, &[]);
    assert_eq!(answer.code(), 102);
    assert!(answer.details().contains("add route 10.244.1.1/32"), "{answer:?}");
    node.assert_empty();
    node.host.remove_route("10.244.1.1/32".parse().unwrap()).unwrap();

    // In the pod, the last place of all: it has a default route already.
    let pod = Pod::new("c2");
    connect(&pod.netns, "other0", &outside.netns, "eth1").unwrap();
    pod.netns.add_address("other0", "198.51.100.1/24".parse().unwrap()).unwrap();
    pod.netns.add_route("0.0.0.0/0".parse().unwrap(), "198.51.100.2".parse().unwrap()).unwrap();
    let answer = node.call("ADD", Some(&pod), &node.config, &[]);
    assert_eq!(answer.code(), 102);
    assert!(answer.details().contains("add route 0.0.0.0/0"), "{answer:?}");
    assert!(pod.netns.links().unwrap().iter().all(|link| link.name != "eth0"));
    node.assert_empty();
}

#[test]
fn cni_06_the_same_add_again_never_takes_a_second_address() {
    let (node, pod) = (Node::new(), Pod::new("c1"));
    let first = node.add(&pod);
    let again = node.call("ADD", Some(&pod), &node.config, &[]);
    assert_eq!(again.code(), 101);
    let leased: Vec<IpAddr> = node.leases().into_iter().map(|(address, _)| address).collect();
    assert_eq!(leased, first.addresses());
    assert_eq!(node.pod_interfaces().len(), 1, "the first attachment stands");
    assert!(
        node.call("CHECK", Some(&pod), &node.config_with(json!({ "prevResult": first.output })), &[])
            .succeeded
    );
}

#[test]
fn cni_07_del_succeeds_whatever_is_missing() {
    let node = Node::new();
    let del = |pod: &Pod, environment: &[(&str, &str)]| {
        let answer = node.call("DEL", Some(pod), &node.config, environment);
        assert!(answer.succeeded && answer.output.is_null(), "{answer:?}");
    };

    let never_added = Pod::new("unknown");
    del(&never_added, &[]);

    let pod = Pod::new("c1");
    for environment in [&[][..], &[("CNI_NETNS", "")], &[("CNI_NETNS", "/no/such/path")]] {
        node.add(&pod);
        del(&pod, environment);
        assert_eq!(node.leases(), []);
        assert_eq!(node.pod_routes(), [], "routes are gone when DEL returns");
        del(&pod, environment);
    }

    node.add(&pod);
    pod.remove_interface();
    del(&pod, &[]);

    node.add(&pod);
    std::fs::remove_file(node.ledger_path()).unwrap();
    del(&pod, &[]);

    let namespace_gone = Pod::new("c2");
    node.add(&namespace_gone);
    let container = namespace_gone.container.clone();
    drop(namespace_gone);
    let answer = node.call(
        "DEL",
        None,
        &node.config,
        &[("CNI_CONTAINERID", &container), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/gone")],
    );
    assert!(answer.succeeded);
    node.assert_empty();
}

#[test]
fn cni_07_a_late_del_of_an_old_container_does_not_touch_its_successor() {
    let node = Node::with_blocks(&["10.244.1.0/31"]);
    let (old, filler, new) = (Pod::new("old"), Pod::new("filler"), Pod::new("new"));
    let config = node.config_with(json!({ "restSeconds": 0 }));
    let address = node.call("ADD", Some(&old), &config, &[]).addresses();
    node.add(&filler);
    node.del(&old);
    let successor = node.call("ADD", Some(&new), &config, &[]);
    assert_eq!(successor.addresses(), address, "the only free address");
    node.del(&old);
    assert!(node.leases().contains(&(address[0], "new".to_owned())));
    assert!(node.pod_interfaces().contains(&successor.host_interface()));
}

#[test]
fn cni_08_check_finds_what_is_missing_and_nothing_else() {
    let (node, pod) = (Node::new(), Pod::new("c1"));
    let result = node.add(&pod).output;
    let check = |result: &Value| {
        let config = node.config_with(json!({ "prevResult": result }));
        let answer = node.call("CHECK", Some(&pod), &config, &[]);
        (answer.code(), answer.details().to_owned())
    };
    assert_eq!(check(&result).0, 0);
    assert_eq!(node.call("CHECK", Some(&pod), &node.config, &[]).code(), 7, "without prevResult");

    // What plugins behind us add is none of our business.
    pod.netns.add_route("198.51.100.0/24".parse().unwrap(), "169.254.1.1".parse().unwrap()).unwrap();
    let mut chained = result.clone();
    chained["routes"].as_array_mut().unwrap().push(json!({ "dst": "198.51.100.0/24", "gw": "192.0.2.7" }));
    chained["interfaces"].as_array_mut().unwrap().push(json!({ "name": "ifb0" }));
    assert_eq!(check(&chained).0, 0);

    let mut other_address = result.clone();
    other_address["ips"][0]["address"] = json!("10.244.1.99/32");
    let (code, details) = check(&other_address);
    assert_eq!(code, 103);
    assert!(details.contains("ledger: 10.244.1.99") && details.contains("pod: interface eth0"), "{details}");

    pod.netns.remove_route("0.0.0.0/0".parse().unwrap()).unwrap();
    let (code, details) = check(&result);
    assert_eq!((code, details.as_str()), (103, "pod: route to 0.0.0.0/0 is missing or leads elsewhere"));

    pod.netns.remove_address("eth0", "fd00:10:244:1::1/128".parse().unwrap()).unwrap();
    assert!(check(&result).1.contains("does not have address fd00:10:244:1::1/128"));

    node.host.remove_route("10.244.1.1/32".parse().unwrap()).unwrap();
    assert!(check(&result).1.contains("node: route to 10.244.1.1/32 by msl"));

    node.edit_ledger(|file| file["ledger"]["leases"] = json!({}));
    assert!(check(&result).1.contains("ledger: 10.244.1.1 is not this attachment's"));

    pod.netns.set_link("eth0", LinkState::Down).unwrap();
    assert!(check(&result).1.contains("pod: interface eth0 is switched off"));
    pod.remove_interface();
    assert!(check(&result).1.contains("pod: interface eth0 is missing"));
}

#[test]
fn cni_09_status_tells_whether_an_add_would_work() {
    let node = Node::with_blocks(&["10.244.1.0/31"]);
    let status = || node.call("STATUS", None, &node.config, &[]).code();
    assert_eq!(status(), 0);
    let pods = [Pod::new("c1"), Pod::new("c2")];
    node.add(&pods[0]);
    assert_eq!(status(), 0);
    node.add(&pods[1]);
    assert_eq!(status(), 50, "no address is left");
    node.del(&pods[1]);
    assert_eq!(status(), 50, "the only free address rests");
    let at_once = node.config_with(json!({ "restSeconds": 0 }));
    assert_eq!(node.call("STATUS", None, &at_once, &[]).code(), 0);
    node.host.sysctl("net/ipv4/ip_forward", "0").unwrap();
    assert_eq!(status(), 51, "pods that exist are cut off");
}

#[test]
fn cni_10_gc_releases_and_removes_what_is_not_listed_of_its_own_network() {
    let node = Node::new();
    let pods = ["kept", "stale", "elsewhere"].map(Pod::new);
    let elsewhere = node.config_with(json!({ "name": "other-network" }));
    node.add(&pods[0]);
    node.add(&pods[1]);
    assert!(node.call("ADD", Some(&pods[2]), &elsewhere, &[]).succeeded);
    // A leftover that neither ledger nor alias knows.
    let killed = Pod::new("killed");
    node.call("ADD", Some(&killed), &node.config, &[("MUSLIN_CNI_DIE_AT", "after-pair")]);
    node.edit_ledger(|file| {
        let leases = file["ledger"]["leases"].as_object_mut().unwrap();
        leases.retain(|_, lease| lease["attachment"]["container"] != "killed");
    });
    assert_eq!(node.pod_interfaces().len(), 4);

    let gc = |valid: Value| {
        // libcni sends the list under both names.
        let config =
            node.config_with(json!({ "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid }));
        let answer = node.call("GC", None, &config, &[]);
        assert!(answer.succeeded && answer.output.is_null(), "{answer:?}");
    };
    let holders = || node.leases().into_iter().map(|(_, container)| container).collect::<BTreeSet<_>>();
    gc(json!([{ "containerID": "kept", "ifname": "eth0" }, { "containerID": "stale", "ifname": "eth7" }]));
    assert_eq!(holders(), ["elsewhere", "kept"].map(str::to_owned).into());
    assert_eq!(node.pod_interfaces().len(), 2);
    assert_eq!(node.pod_routes().len(), 4);

    gc(json!([]));
    assert_eq!(holders(), ["elsewhere".to_owned()].into());
    assert_eq!(node.pod_interfaces().len(), 1);
}

#[test]
fn cni_10_gc_goes_on_when_the_ledger_cannot_be_used() {
    let (node, pod) = (Node::new(), Pod::new("stale"));
    node.add(&pod);
    std::fs::create_dir(node.data_dir().join(".ipam.json.unfinished")).unwrap();
    let answer = node.call("GC", None, &node.config, &[]);
    assert_eq!(answer.code(), 5);
    assert_eq!(node.pod_interfaces(), [""; 0], "the interface went all the same");
}

#[test]
fn cni_11_a_previous_result_is_handed_on_with_ours_behind_it() {
    let (node, pod) = (Node::new(), Pod::new("c1"));
    let previous = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "dummy0", "sandbox": "/run/netns/x", "pciID": "0000:00:1f.6" }],
        "ips": [{ "address": "198.51.100.7/24", "interface": 0 }],
        "routes": [{ "dst": "198.51.100.0/24", "mtu": 1400 }],
        "dns": { "nameservers": ["192.0.2.53"] },
    });
    let result =
        node.call("ADD", Some(&pod), &node.config_with(json!({ "prevResult": previous })), &[]).output;
    assert_eq!(result["interfaces"][0], previous["interfaces"][0]);
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["ips"][0], previous["ips"][0]);
    assert_eq!(result["ips"][1]["interface"], 2);
    assert_eq!(result["routes"][0], previous["routes"][0]);
    assert_eq!(result["dns"], previous["dns"]);
    let check = node.config_with(json!({ "prevResult": result }));
    assert!(node.call("CHECK", Some(&pod), &check, &[]).succeeded, "what others promised is theirs to keep");
}

#[test]
fn cni_12_addresses_hardware_address_ranges_and_dns_as_asked() {
    let node = Node::new();
    let add = |pod: &Pod, changes: Value, arguments: &str| {
        node.call("ADD", Some(pod), &node.config_with(changes), &[("CNI_ARGS", arguments)])
    };
    let by_arguments = Pod::new("by-arguments");
    let arguments = "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.244.1.77;MAC=02:00:00:00:00:77";
    let answer = add(&by_arguments, json!({}), arguments);
    assert_eq!(answer.addresses()[0], IpAddr::from([10, 244, 1, 77]));
    assert_eq!(answer.output["interfaces"][1]["mac"], "02:00:00:00:00:77");

    let by_capability = Pod::new("by-capability");
    let runtime = json!({ "runtimeConfig": {
        "ips": ["10.244.1.78/24", "fd00:10:244:1::78"],
        "mac": "02:00:00:00:00:78",
        "dns": { "servers": ["192.0.2.53"], "searches": ["cluster.local"] },
        "portMappings": [{ "hostPort": 80, "containerPort": 80, "protocol": "tcp" }],
        "bandwidth": { "ingressRate": 1 },
    }});
    let answer = add(&by_capability, runtime, "");
    let wanted: Vec<IpAddr> = ["10.244.1.78", "fd00:10:244:1::78"].map(|text| text.parse().unwrap()).into();
    assert_eq!(answer.addresses(), wanted);
    assert_eq!(answer.output["interfaces"][1]["mac"], "02:00:00:00:00:78");
    assert_eq!(answer.output["dns"], json!({ "nameservers": ["192.0.2.53"], "search": ["cluster.local"] }));

    let taken = Pod::new("taken");
    assert_eq!(add(&taken, json!({}), "IP=10.244.1.77").code(), 101);

    let by_range = Pod::new("by-range");
    let ranges = json!({ "runtimeConfig": { "ipRanges": [
        [{ "subnet": "10.244.1.0/24", "rangeStart": "10.244.1.200", "rangeEnd": "10.244.1.201" }],
        [{ "subnet": "fd00:10:244:1::/64" }],
    ]}});
    assert_eq!(add(&by_range, ranges, "").addresses()[0], IpAddr::from([10, 244, 1, 200]));
}

#[test]
fn cni_12_dns_of_the_configuration_is_handed_on() {
    let (node, pod) = (Node::new(), Pod::new("c1"));
    let dns = json!({ "nameservers": ["192.0.2.53"], "domain": "example.org" });
    let answer = node.call("ADD", Some(&pod), &node.config_with(json!({ "dns": dns })), &[]);
    assert_eq!(answer.output["dns"], dns);
}

#[test]
fn cni_13_the_nodes_own_namespace_only_by_leave() {
    let node = Node::new();
    let pod = Pod::new("c1");
    let own = node.host.path();
    let own = [("CNI_NETNS", own.to_str().unwrap())];
    assert_eq!(node.call("ADD", Some(&pod), &node.config, &own).code(), 8);
    node.assert_empty();
    let by_leave = [own[0], ("CNI_NETNS_OVERRIDE", "1")];
    assert!(node.call("ADD", Some(&pod), &node.config, &by_leave).succeeded);
    assert!(node.host.links().unwrap().iter().any(|link| link.name == "eth0"));
    assert!(node.call("DEL", Some(&pod), &node.config, &by_leave).succeeded);
    node.assert_empty();
}

#[test]
fn cni_13_what_is_not_a_network_namespace_is_code_8() {
    let (node, pod) = (Node::new(), Pod::new("c1"));
    for path in ["/proc/self/ns/mnt", "/dev/null", "/no/such/path"] {
        let answer = node.call("ADD", Some(&pod), &node.config, &[("CNI_NETNS", path)]);
        assert_eq!(answer.code(), 8, "{answer:?}");
        assert!(answer.details().contains(path), "{answer:?}");
    }
    node.assert_empty();
}

#[test]
fn cni_14_a_hundred_at_once_get_a_hundred_addresses_and_give_them_back() {
    let node = Node::new();
    let pods: Vec<Pod> = (0..100).map(|number| Pod::new(&format!("c{number}"))).collect();
    let all_at_once = |work: &(dyn Fn(&Pod) -> Vec<IpAddr> + Sync)| -> Vec<IpAddr> {
        std::thread::scope(|scope| {
            let running: Vec<_> = pods.iter().map(|pod| scope.spawn(move || work(pod))).collect();
            running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        })
    };
    let given = all_at_once(&|pod| node.add(pod).addresses());
    assert_eq!(given.len(), 200);
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 200);
    assert_eq!(node.pod_routes().len(), 200);
    all_at_once(&|pod| {
        node.del(pod);
        Vec::new()
    });
    node.assert_empty();
}

#[test]
fn cni_14_a_plugin_that_dies_with_the_lock_in_its_hand_blocks_nobody() {
    let (node, victim, next) = (Node::new(), Pod::new("victim"), Pod::new("next"));
    let answer = node.call("ADD", Some(&victim), &node.config, &[("MUSLIN_CNI_DIE_AT", "before-save")]);
    assert!(!answer.succeeded && answer.output.is_null(), "{answer:?}");
    node.add(&next);
    assert_eq!(node.leases().len(), 2);
}

/// As containerd does for every pod.
#[test]
fn called_as_loopback_the_plugin_switches_the_pods_own_interface_on() {
    let (node, pod) = (Node::new(), Pod::new("c1"));
    pod.netns.set_link("lo", LinkState::Down).unwrap();
    let is_on = || pod.netns.links().unwrap().iter().any(|link| link.name == "lo" && link.up);
    assert!(!is_on());
    for version in ["0.3.1", "1.0.0", "1.1.0"] {
        let config = json!({ "cniVersion": version, "name": "cni-loopback", "type": "loopback" });
        let call = |command: &str| node.call(command, Some(&pod), &config, &[("CNI_IFNAME", "lo")]);
        if version != "0.3.1" {
            assert_eq!(call("CHECK").code(), 103);
        }
        let added = call("ADD");
        assert!(added.succeeded && is_on(), "{added:?}");
        assert_eq!(added.output["cniVersion"], version);
        assert_eq!(added.output["interfaces"][0]["name"], "lo");
        assert_eq!(added.output["interfaces"][0]["sandbox"], json!(pod.netns.path()));
        let ips = added.output["ips"].as_array().unwrap();
        let addresses: Vec<&Value> = ips.iter().map(|ip| &ip["address"]).collect();
        assert_eq!(addresses, ["127.0.0.1/8", "::1/128"]);
        if version != "0.3.1" {
            assert!(call("CHECK").succeeded);
        }
        assert!(call("DEL").succeeded);
        pod.netns.set_link("lo", LinkState::Down).unwrap();
    }
    let gone = [("CNI_IFNAME", "lo"), ("CNI_NETNS", "")];
    let config = json!({ "cniVersion": "1.0.0", "name": "cni-loopback", "type": "loopback" });
    assert!(node.call("DEL", Some(&pod), &config, &gone).succeeded, "the namespace may be gone first");
    assert_eq!(node.leases(), [], "it takes no address");
}
