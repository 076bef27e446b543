//! Kernel settings that an agent cannot put right.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/pair.rs"]
mod pair;

use pair::{CLUSTER, Pair, ROUTER};

#[test]
fn fault_38_an_agent_names_each_setting_that_it_cannot_change() {
    let settings = tempfile::tempdir().unwrap();
    let folder = settings.path().to_str().unwrap();
    let pair = Pair::start_with(CLUSTER, ROUTER, &["--sysctl-dir", folder]);
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let said = pair.agent.await_log(setting);
        assert!(said.contains("WARN") && said.contains("pods need \"1\""), "{said}");
        assert!(said.contains("No such file or directory"), "{said}");
    }
    // And does the rest of its work.
    pair.agent.await_log("session established");
}
