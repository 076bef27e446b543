//! The same paths by the clock, for `cargo xtask bench --paths`. Nothing is judged by it: a machine has other things to do.

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

/// Says that times are wanted.
const WANTED: &str = "MUSLIN_TIMES";

thread_local! {
    static TIMES: RefCell<Vec<(&'static str, Duration)>> = const { RefCell::new(Vec::new()) };
}

/// Does work of a path, and adds the time that it takes to the path's.
pub fn timed<T>(path: &'static str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = work();
    let took = start.elapsed();
    TIMES.with_borrow_mut(|times| match times.iter_mut().find(|(known, _)| *known == path) {
        Some((_, time)) => *time += took,
        None => times.push((path, took)),
    });
    done
}

/// Prints a line `time PATH NANOSECONDS` for each path of this thread, for one of so many items, if `MUSLIN_TIMES` is set.
///
/// # Panics
/// If nobody reads.
pub fn tell_times(items: u32) {
    let times = TIMES.take();
    if std::env::var_os(WANTED).is_none() {
        return;
    }
    // Past the harness.
    let mut out = io::stdout().lock();
    for (path, time) in times {
        writeln!(out, "time {path} {}", time.as_nanos() / u128::from(items)).expect("somebody reads");
    }
}
