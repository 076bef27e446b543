//! From a peer's octets to the kernel's routes, and back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::{feeder, kernel, wire};

/// Once a batch that the route programmer took at once left the others waiting for the next KEEPALIVE.
#[test]
fn many_routes_reach_the_kernel_without_a_pause_and_leave_it_with_their_peer() -> Result<()> {
    const ROUTES: u32 = 20_000;
    /// A machine under load takes a second; a KEEPALIVE comes every thirty.
    const LONGEST: Duration = Duration::from_secs(10);
    let (host, testers) = feeder::hosts()?;
    let speaker = feeder::start_muslin(&host)?;
    let mut peer = feeder::await_session(&testers, &speaker)?;
    peer.send(&wire::update(&[], &[], &[]))?;
    feeder::await_convergence(&speaker)?;
    let log = || speaker.log().unwrap_or_default();

    let begun = Instant::now();
    peer.send(&feeder::encode(ROUTES))?;
    let installed = kernel::await_all(&host, ROUTES).with_context(log)? - begun;
    ensure!(installed < LONGEST, "installed after {installed:?}");

    let lost = Instant::now();
    drop(peer);
    let removed = kernel::await_none(&host, ROUTES).with_context(log)? - lost;
    ensure!(removed < LONGEST, "removed after {removed:?}");
    Ok(())
}
