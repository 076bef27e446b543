//! What the lab is doing, for whoever watches: on standard error, never mixed with the result.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// A waiting step says so after this, and then every time twice as late.
const REMINDER: Duration = Duration::from_secs(2);

/// Where the lab tells what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// On standard error, one line per step.
    Shown,
    /// Not at all.
    Silent,
}

/// A step that takes time.
#[derive(Debug)]
pub struct Step {
    progress: Progress,
    name: String,
    begun: Instant,
    reminder: Duration,
}

impl Progress {
    /// A line of its own.
    pub fn say(self, text: &str) {
        if self == Self::Shown {
            // Nobody to tell if standard error is gone.
            drop(writeln!(io::stderr(), "{text}"));
        }
    }

    /// Begins a step, which tells its time when it is done.
    pub fn step(self, name: impl Into<String>) -> Step {
        let now = Instant::now();
        let step = Step { progress: self, name: name.into(), begun: now, reminder: REMINDER };
        if self == Self::Shown && io::stderr().is_terminal() {
            drop(write!(io::stderr(), "  … {}\r", step.name));
        }
        step
    }
}

impl Step {
    /// Tells what is still missing, if it is time to.
    pub fn still(&mut self, missing: impl FnOnce() -> String) {
        let waited = self.begun.elapsed();
        if waited >= self.reminder {
            self.reminder = 2 * waited;
            self.progress.say(&format!(
                "    {}: {} s, waiting for {}",
                self.name,
                waited.as_secs(),
                missing()
            ));
        }
    }

    /// Ends the step and tells how long it took.
    pub fn done(self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.progress.say(&format!("  {:<62} {seconds:>6.2} s", self.name));
    }
}
