//! Kernel settings that an agent cannot put right, and who is told.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use std::time::Instant;

use daemon::PATIENCE;
use pair::{CLUSTER, Pair, ROUTER};
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use serde_json::Value;
use tempfile::TempDir;

/// The texts of a list.
fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// Asks for the status until it is so: a daemon logs what it finds before it tells it.
fn await_status(pair: &Pair, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = pair.agent.json(&["status"]);
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:#}");
    }
}

/// The kernel's settings as a container sees them that may not change any.
struct ReadOnly(TempDir);

impl ReadOnly {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        mount_bind("/proc/sys/net", folder.path()).unwrap();
        mount_remount(folder.path(), MountFlags::BIND | MountFlags::RDONLY, c"").unwrap();
        Self(folder)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn fault_38_an_agent_names_each_setting_that_it_cannot_change() {
    let settings = tempfile::tempdir().unwrap();
    let folder = settings.path().to_str().unwrap();
    let of_both = CLUSTER.replace("[10.244.1.0/24]", "[10.244.1.0/24, \"fd00:10:244:1::/64\"]");
    let pair = Pair::start_with(&of_both, ROUTER, &["--sysctl-dir", folder]);
    let names = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
    for name in names {
        let said = pair.agent.await_log(name);
        assert!(said.contains("WARN") && said.contains("is not there and cannot be made 1"), "{said}");
        assert!(said.contains("No such file or directory"), "{said}");
    }
    // And does the rest of its work.
    pair.agent.await_log("session established");
    let status = await_status(&pair, |status| !texts(&status["faults"]).is_empty());
    let faults = texts(&status["faults"]);
    assert_eq!(faults.len(), names.len(), "{faults:#?}");
    for (fault, name) in faults.iter().zip(names) {
        assert!(fault.starts_with(name) && fault.contains(&format!("sysctl -w {name}=1")), "{fault}");
    }
}

#[test]
fn fault_38_what_harms_is_a_problem_until_it_is_put_right_and_what_does_not_is_none() {
    let settings = ReadOnly::new();
    let folder = settings.0.path().to_str().unwrap().to_owned();
    // Of IPv4 alone, in a namespace whose kernel does not forward IPv6.
    let pair = Pair::start_with(CLUSTER, ROUTER, &["--sysctl-dir", &folder]);
    pair.node.sysctl("net/ipv4/ip_forward", "0").unwrap();
    pair.agent.await_log("net.ipv4.ip_forward is 0");
    await_status(&pair, |status| !texts(&status["faults"]).is_empty());
    let output = pair.agent.ask(&["status"]);
    let screen = String::from_utf8(output.stdout).unwrap();
    let problems = screen.strip_prefix("PROBLEMS\n").and_then(|screen| screen.split_once("\n\n")).unwrap().0;
    let problem = problems.lines().find(|line| line.starts_with("net.")).unwrap();
    for words in ["net.ipv4.ip_forward is 0", "its pods are cut off", "sysctl -w net.ipv4.ip_forward=1"] {
        assert!(problem.contains(words), "no `{words}`: {screen}");
    }
    assert!(!problems.contains("ipv6") && !problems.contains("hash_policy"), "{screen}");
    assert!(
        screen.contains("NOTES\n") && screen.contains("net.ipv4.fib_multipath_hash_policy is 0"),
        "{screen}"
    );
    assert_eq!(output.status.code(), Some(1), "{screen}");

    pair.node.sysctl("net/ipv4/ip_forward", "1").unwrap();
    pair.agent.await_log("settings are as pods need them");
    await_status(&pair, |status| texts(&status["faults"]).is_empty());
}

#[test]
fn fault_38_an_agent_that_may_change_settings_has_no_problem_with_any() {
    let pair = Pair::start(CLUSTER, ROUTER);
    pair.agent.await_log("session established");
    let status = pair.agent.json(&["status"]);
    assert!(texts(&status["faults"]).is_empty(), "{status}");
    assert!(texts(&status["notes"]).iter().all(|note| !note.contains("cannot be made")), "{status}");
    // Somebody else's hand undoes it.
    pair.node.sysctl("net/ipv4/ip_forward", "0").unwrap();
    pair.agent.await_log("net.ipv4.ip_forward was 0");
    let forwards = pair.node.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward"));
    assert_eq!(forwards.unwrap().unwrap().trim(), "1");
}
