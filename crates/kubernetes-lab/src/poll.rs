//! Waiting for what announces itself to nobody: a program's readiness, the end of a control group.

use std::time::{Duration, Instant};

/// Asks again and again until there is an answer or patience ends.
pub fn until<T>(patience: Duration, pause: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() > deadline {
            return answer;
        }
        rest(pause);
    }
}

/// Does nothing for a while.
#[expect(clippy::disallowed_methods, reason = "there is no event to await")]
pub fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
