//! When a node lets pods come: not before the fabric has been told where they are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[path = "support/daemon.rs"]
mod daemon;
#[path = "support/session.rs"]
mod session;

use session::{CLUSTER, END_OF_RIB, Session, Site, UPDATE, prefixes};

fn has_block(update: &[u8]) -> bool {
    let [_, announced] = prefixes(update);
    announced.contains(&"10.244.1.0/24".parse().unwrap())
}

#[test]
fn the_block_and_its_end_of_rib_are_told_before_a_pod_may_come() {
    let site = Site::start(CLUSTER);
    // What tells the container runtime of the plugin.
    let pods_may_come = || site.folder.join("net.d/10-muslin.conflist").exists();
    assert!(!pods_may_come());
    let mut session = Session::accept(&site.router);
    session.await_update(has_block);
    session.await_update(|update| update == END_OF_RIB);
    assert!(!pods_may_come(), "the router's own routes are still to come");
    session.send(UPDATE, &END_OF_RIB);
    site.agent.await_log("CNI configuration is in place");
    assert!(pods_may_come());
}
