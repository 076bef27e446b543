//! Things that go wrong around the plugin, by the numbers of the project's list of faults.

use std::path::Path;

use muslin_netns::{Namespace, connect};
use muslin_pod_network::{NetworkFile, host};
use serde_json::json;

use crate::node::{Node, Pod};

#[test]
fn fault_26_a_released_address_rests_a_minute_before_anybody_gets_it() {
    let node = Node::with_blocks(&["10.244.1.0/31"]);
    let pods = ["a", "b", "c"].map(Pod::new);
    node.add(&pods[0]);
    node.add(&pods[1]);
    node.del(&pods[0]);
    let released = |ago: i64| {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let since = json!({ "secs": now.tv_sec - ago, "nanos": now.tv_nsec });
        node.edit_ledger(|file| file["ledger"]["resting"]["10.244.1.0"] = since);
    };
    let add = || node.call("ADD", Some(&pods[2]), &node.config, &[]);
    let at_once = add();
    assert_eq!(at_once.code(), 11, "try again later");
    assert!(at_once.details().contains("1 rest"), "{at_once:?}");
    // Far enough from a minute for a machine that is busy.
    released(45);
    assert_eq!(add().code(), 11);
    released(60);
    assert_eq!(add().addresses(), ["10.244.1.0".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn fault_27_after_a_reboot_nothing_of_before_holds_an_address() {
    let (node, before, after) = (Node::new(), Pod::new("before"), Pod::new("after"));
    node.add(&before);
    node.edit_ledger(|file| file["boot_id"] = json!("another boot"));
    node.add(&after);
    assert!(node.leases().iter().all(|(_, container)| container == "after"), "{:?}", node.leases());
    node.del(&before);
}

#[test]
fn fault_27_a_lost_ledger_is_rebuilt_from_the_kernel() {
    let (node, alive, new) = (Node::new(), Pod::new("alive"), Pod::new("new"));
    let result = node.add(&alive);
    for broken in [None, Some(""), Some("{\"version\":1,"), Some("[]")] {
        match broken {
            None => std::fs::remove_file(node.ledger_path()).unwrap(),
            Some(text) => std::fs::write(node.ledger_path(), text).unwrap(),
        }
        let other = node.add(&new);
        assert!(result.addresses().iter().all(|address| !other.addresses().contains(address)));
        let check = node.config_with(json!({ "prevResult": result.output }));
        assert!(node.call("CHECK", Some(&alive), &check, &[]).succeeded);
        node.del(&new);
    }
    node.del(&alive);
    node.assert_empty();
}

#[test]
fn fault_28_exhaustion_has_its_code_and_ends_when_addresses_come_back() {
    let node = Node::with_blocks(&["10.244.1.0/31", "fd00::/64"]);
    let pods = ["a", "b", "c"].map(Pod::new);
    node.add(&pods[0]);
    node.add(&pods[1]);
    let full = node.call("ADD", Some(&pods[2]), &node.config, &[]);
    assert_eq!(full.code(), 100);
    assert!(full.details().contains("10.244.1.0/31"), "{full:?}");
    assert_eq!(node.leases().len(), 4, "no IPv6 address was taken for it");
    node.del(&pods[0]);
    let at_once = node.config_with(json!({ "restSeconds": 0 }));
    assert!(node.call("ADD", Some(&pods[2]), &at_once, &[]).succeeded);
}

#[test]
fn fault_28_addresses_of_lost_dels_are_found_when_they_run_short() {
    let node = Node::with_blocks(&["10.244.1.0/31"]);
    let pods = ["a", "b", "c"].map(Pod::new);
    let at_once = node.config_with(json!({ "restSeconds": 0 }));
    node.add(&pods[0]);
    node.add(&pods[1]);
    // The pod went with its namespace and nobody told us; it had been there for long.
    pods[0].remove_interface();
    node.edit_ledger(|file| {
        file["ledger"]["leases"]["10.244.1.0"]["since"] = json!({ "secs": 0, "nanos": 0 });
    });
    let answer = node.call("ADD", Some(&pods[2]), &at_once, &[]);
    assert!(answer.succeeded, "{answer:?}");
}

#[test]
fn fault_30_without_room_on_the_disk_add_fails_whole_and_del_succeeds() {
    let (node, old, new) = (Node::new(), Pod::new("old"), Pod::new("new"));
    node.add(&old);
    // What cannot be written, for root neither.
    let obstacle = node.data_dir().join(".ipam.json.unfinished");
    std::fs::create_dir(&obstacle).unwrap();
    let answer = node.call("ADD", Some(&new), &node.config, &[]);
    assert_eq!(answer.code(), 5);
    assert_eq!(node.pod_interfaces().len(), 1);
    assert_eq!(node.call("STATUS", None, &node.config, &[]).code(), 50);

    let answer = node.call("DEL", Some(&old), &node.config, &[]);
    assert!(answer.succeeded && answer.log.contains("address not released"), "{answer:?}");
    assert_eq!(node.pod_routes(), []);
    node.await_pod_interfaces(0);

    std::fs::remove_dir(&obstacle).unwrap();
    node.add(&new);
    assert!(node.call("GC", None, &node.config, &[]).succeeded);
    node.assert_empty();
}

const ADD_STEPS: [&str; 5] = ["before-save", "after-allocate", "after-pair", "after-host", "after-pod"];
const DEL_STEPS: [&str; 3] = ["after-condemn", "before-save", "after-release"];
const GC_STEPS: [&str; 3] = ["after-condemn", "before-save", "after-release"];

#[test]
fn fault_31_an_add_killed_at_any_point_is_undone_by_del_and_can_be_tried_again() {
    let node = Node::new();
    for step in ADD_STEPS {
        let pod = Pod::new(step);
        let answer = node.call("ADD", Some(&pod), &node.config, &[("MUSLIN_CNI_DIE_AT", step)]);
        assert!(!answer.succeeded && answer.output.is_null(), "{step}: {answer:?}");
        node.del(&pod);
        node.assert_empty();
        node.add(&pod);
        node.del(&pod);
        node.assert_empty();
    }
}

#[test]
fn fault_31_an_add_killed_at_any_point_is_undone_by_gc() {
    let node = Node::new();
    for step in ADD_STEPS {
        let pod = Pod::new(step);
        node.call("ADD", Some(&pod), &node.config, &[("MUSLIN_CNI_DIE_AT", step)]);
        assert!(node.call("GC", None, &node.config, &[]).succeeded);
        node.assert_empty();
        node.add(&pod);
        node.del(&pod);
    }
}

#[test]
fn fault_31_a_del_killed_at_any_point_is_finished_by_the_next() {
    let node = Node::new();
    for step in DEL_STEPS {
        let pod = Pod::new(step);
        node.add(&pod);
        let answer = node.call("DEL", Some(&pod), &node.config, &[("MUSLIN_CNI_DIE_AT", step)]);
        assert!(!answer.succeeded, "{step}");
        node.del(&pod);
        node.assert_empty();
    }
}

#[test]
fn fault_31_a_gc_killed_at_any_point_frees_no_address_that_an_interface_has() {
    let node = Node::with_blocks(&["10.244.1.0/31", "fd00:10:244:1::/127"]);
    let config = node.config_with(json!({ "restSeconds": 0 }));
    for step in GC_STEPS {
        let (garbage, next) = (Pod::new("garbage"), Pod::new("next"));
        assert!(node.call("ADD", Some(&garbage), &config, &[]).succeeded);
        let mut nobody = config.clone();
        nobody["cni.dev/valid-attachments"] = json!([]);
        let answer = node.call("GC", None, &nobody, &[("MUSLIN_CNI_DIE_AT", step)]);
        assert!(!answer.succeeded, "{step}");
        assert!(node.leases().is_empty() <= node.pod_routes().is_empty(), "{step}: free, and still routed");
        assert!(node.call("GC", None, &nobody, &[]).succeeded);
        assert!(node.call("ADD", Some(&next), &config, &[]).succeeded, "{step}");
        node.del(&next);
        node.assert_empty();
    }
}

#[test]
fn fault_33_pods_have_the_mtu_of_the_uplink() {
    let (node, outside) = (Node::new(), Namespace::new("outside").unwrap());
    connect(&node.host, "eth0", &outside, "eth0").unwrap();
    node.host.set_mtu("eth0", 1400).unwrap();
    node.host.add_address("eth0", "192.0.2.1/24".parse().unwrap()).unwrap();
    node.host.add_route("0.0.0.0/0".parse().unwrap(), "192.0.2.254".parse().unwrap()).unwrap();
    let mtu_of = |pod: &Pod| {
        let links = pod.netns.links().unwrap();
        links.iter().find(|link| link.name == "eth0").unwrap().mtu
    };
    let mut network = NetworkFile::read(node.data_dir()).unwrap();
    network.mtu = None;
    network.write(node.data_dir()).unwrap();
    let pod = Pod::new("by-uplink");
    assert_eq!(node.add(&pod).output["interfaces"][0]["mtu"], 1400);
    assert_eq!(mtu_of(&pod), 1400);

    network.mtu = Some(1380);
    network.write(node.data_dir()).unwrap();
    let pod = Pod::new("by-agent");
    node.add(&pod);
    assert_eq!(mtu_of(&pod), 1380);

    let pod = Pod::new("by-configuration");
    assert!(node.call("ADD", Some(&pod), &node.config_with(json!({ "mtu": 1300 })), &[]).succeeded);
    assert_eq!(mtu_of(&pod), 1300);
}

#[test]
fn fault_38_the_nodes_settings_are_put_right() {
    let (node, outside) = (Namespace::new("node").unwrap(), Namespace::new("outside").unwrap());
    connect(&node, "eth0", &outside, "eth0").unwrap();
    for (setting, wrong) in [
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/eth0/accept_ra", "1"),
        ("net/ipv4/conf/eth0/rp_filter", "1"),
    ] {
        node.sysctl(setting, wrong).unwrap();
    }
    let settings = Path::new(host::SETTINGS);
    let families = [host::Family::V4, host::Family::V6];
    let prepared = node.run(|| host::prepare(settings, &families, &["eth0"])).unwrap();
    assert!(prepared.problems.is_empty(), "{prepared:?}");
    assert!(
        prepared.changed.iter().any(|said| said == "net.ipv4.ip_forward was 0 and is 1 now"),
        "{prepared:?}"
    );
    let read = |setting: &str| {
        let path = format!("/proc/sys/net/{setting}");
        node.run(|| std::fs::read_to_string(&path)).unwrap().unwrap().trim().to_owned()
    };
    assert!(node.run(|| families.map(host::forwards)).unwrap() == [true, true]);
    assert_eq!(read("ipv6/conf/eth0/accept_ra"), "2");
    assert_eq!(read("ipv4/conf/eth0/rp_filter"), "2");

    let prepared = node.run(|| host::prepare(settings, &[host::Family::V4], &["no-such-link"])).unwrap();
    assert!(prepared.problems.is_empty(), "a link that is gone needs nothing: {prepared:?}");
}

#[test]
fn fault_38_what_cannot_be_put_right_is_named() {
    let (node, outside) = (Namespace::new("node").unwrap(), Namespace::new("outside").unwrap());
    connect(&node, "eth0", &outside, "eth0").unwrap();
    for (setting, wrong) in [
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv6/conf/eth0/accept_ra", "1"),
        ("net/ipv4/conf/eth0/rp_filter", "1"),
        ("net/ipv4/fib_multipath_hash_policy", "0"),
        ("net/ipv6/fib_multipath_hash_policy", "1"),
    ] {
        node.sysctl(setting, wrong).unwrap();
    }
    let settings = ReadOnly::new(&node);
    let families = [host::Family::V4, host::Family::V6];
    let prepare_for = |settings: &Path, uplinks: &[&str]| {
        node.run(|| host::prepare(settings, &families, uplinks)).unwrap().problems
    };
    let problems = prepare_for(settings.0.path(), &["eth0", "eth1"]);
    let named = problems.iter().map(|problem| {
        assert_eq!(problem.source.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{problem}");
        (problem.name.as_str(), problem.found.as_str(), problem.wanted, problem.weight)
    });
    assert_eq!(
        named.collect::<Vec<_>>(),
        [
            ("net.ipv4.fib_multipath_hash_policy", "0", "1", host::Weight::Note),
            ("net.ipv4.ip_forward", "0", "1", host::Weight::Fault),
            ("net.ipv4.conf.eth0.rp_filter", "1", "2", host::Weight::Fault),
            ("net.ipv6.conf.eth0.accept_ra", "1", "2", host::Weight::Fault),
            ("net.ipv6.conf.all.forwarding", "0", "1", host::Weight::Fault),
        ]
    );
    let said = problems[1].to_string();
    for words in [
        "net.ipv4.ip_forward is 0 and cannot be made 1 (",
        "ipv4/ip_forward: Read-only file system",
        "its pods are cut off",
        "sysctl -w net.ipv4.ip_forward=1",
    ] {
        assert!(said.contains(words), "no `{words}`: {said}");
    }
    let prepare = |settings: &Path| prepare_for(settings, &["eth0"]);
    let alone = prepare(settings.0.path());
    let filter = alone.iter().find(|problem| problem.name.ends_with("rp_filter")).unwrap();
    assert_eq!(filter.weight, host::Weight::Note, "no answer comes in by another link: there is none");

    // Somebody else's hand undoes what was done, and the next round does it again.
    let open = Path::new(host::SETTINGS);
    assert_eq!(prepare(open).len(), 0);
    for (setting, wrong, right) in [("ip_forward", "0", "1"), ("conf/eth0/rp_filter", "1", "2")] {
        node.sysctl(&format!("net/ipv4/{setting}"), wrong).unwrap();
        assert_eq!(prepare(open).len(), 0);
        let path = open.join("ipv4").join(setting);
        assert_eq!(node.run(|| std::fs::read_to_string(&path)).unwrap().unwrap().trim(), right);
    }
}

/// The kernel's settings of a namespace as a container sees them that may not change any.
struct ReadOnly(tempfile::TempDir);

impl ReadOnly {
    fn new(node: &Namespace) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = || {
            rustix::mount::mount_bind(host::SETTINGS, folder.path()).unwrap();
            let flags = rustix::mount::MountFlags::BIND | rustix::mount::MountFlags::RDONLY;
            rustix::mount::mount_remount(folder.path(), flags, c"").unwrap();
        };
        node.run(mount).unwrap();
        Self(folder)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}
