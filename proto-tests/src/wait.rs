//! Waiting for a daemon that tells nobody when it is done.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a daemon may take for anything. Far beyond what any of them needs on a busy machine: a GoBGP that was frozen
/// leaves connections that came meanwhile unanswered, each of which is given up after 15 s.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Pause between two questions: their command-line clients take about as long to start.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok(Ok(_))`. The daemons' clients only answer questions and send no events, so this is
/// the one place that asks again.
///
/// # Errors
/// What was waited for and the last answer once [`PATIENCE`] is over, and at once if asking itself fails.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask()? {
            Ok(answer) => return Ok(answer),
            Err(last) if Instant::now() > deadline => bail!("{what}: not within {PATIENCE:?}; last:\n{last}"),
            Err(_) => thread::park_timeout(PAUSE),
        }
    }
}
