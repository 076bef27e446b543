//! Whole networks of real speakers in virtual time.
//!
//! A seed makes a topology of eight to ten speakers, does some dozens of things to it — links cut, speakers
//! restarted, clocks skipped, peers and policies changed, blocks stolen —, repairs what is broken, and looks at what is left
//! when the network has come to rest (`invariants`). The same seed does the same again:
//!
//! ```text
//! MUSLIN_SEED=17 cargo test -p muslin-bgp-speaker --test simulation -- --nocapture     # one seed, with a trace
//! MUSLIN_SEEDS=100000 cargo test --release -p muslin-bgp-speaker --test simulation -- --nocapture
//! cargo test -p muslin-bgp-speaker --features planted-bugs --test simulation planted -- --nocapture  # does it find bugs?
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "this is a test"
)]

mod happening;
mod invariants;
mod model;
mod network;
mod operations;
mod random;
mod restart;
mod topology;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::invariants::violations;
use crate::world::World;

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 1000;

/// Seeds that found something once: both sides of a restart connect at the same moment, and each closed the connection
/// that the other one had chosen.
const REMEMBERED: [u64; 5] = [2767, 3127, 12216, 14008, 17248];

/// What became of a seed.
struct Outcome {
    topology: &'static str,
    violations: Vec<String>,
    digest: u64,
}

fn run(seed: u64, trace: bool) -> Outcome {
    let mut world = World::new(seed, trace);
    if trace {
        println!("{:#?}", world.topology);
    }
    world.disturb();
    world.calm();
    let mut found = violations(&world);
    if found.is_empty() {
        found = world.restart_gracefully();
        found.extend(violations(&world));
    }
    if found.is_empty() && seed.is_multiple_of(4) {
        found = world.outlive();
        found.extend(violations(&world));
    }
    Outcome { topology: world.topology.name, violations: found, digest: world.network.digest }
}

/// Runs a seed; a panic is a violation too.
fn run_caught(seed: u64) -> Outcome {
    catch_unwind(|| run(seed, false)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let violations = vec![format!("panic: {}", text.unwrap_or_default())];
        Outcome { topology: "unknown", violations, digest: 0 }
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number of seeds, or a seed"))
}

#[test]
fn a_network_at_rest_is_right_whatever_happened_to_it() {
    if let Some(seed) = number("MUSLIN_SEED") {
        let outcome = run(seed, true);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}, {}: {:#?}",
            outcome.topology,
            outcome.violations
        );
        return;
    }
    let (seeds, began) = (number("MUSLIN_SEEDS").unwrap_or(SEEDS), Instant::now());
    let to_run: Vec<u64> = (0..seeds).chain(REMEMBERED.into_iter().filter(|seed| *seed >= seeds)).collect();
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let Some(&seed) = to_run.get(next.fetch_add(1, Ordering::Relaxed)) else { return failures };
                let outcome = run_caught(seed);
                if !outcome.violations.is_empty() {
                    let Outcome { topology, violations, .. } = outcome;
                    failures.push(format!("MUSLIN_SEED={seed} ({topology}): {violations:#?}"));
                }
            }
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(AssertUnwindSafe(work))).collect();
        running.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    println!("{seeds} seeds in {:.1} s, {} failed", began.elapsed().as_secs_f64(), failures.len());
    assert!(
        failures.is_empty(),
        "{} of {seeds} seeds failed, such as {}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in 0..10 {
        assert_eq!(run(seed, false).digest, run(seed, false).digest, "seed {seed}");
    }
}

/// The simulation is worth as much as it finds.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_found() {
    use muslin_bgp_speaker::planted::{Bug, plant};

    // What a bug makes of a network is expected to be ugly; only the outcome is of interest.
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let found = (0..SEEDS).find_map(|seed| {
            plant(Some(*bug));
            let violations = run_caught(seed).violations;
            plant(None);
            Some((seed, violations.into_iter().next()?))
        });
        match found {
            Some((seed, violation)) => println!("{bug:?}: seed {seed}: {violation}"),
            None => missed.push(bug),
        }
    }
    let _ours = std::panic::take_hook();
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
