//! How it is noticed that an agent tells nothing any more.
//!
//! A status is written when it changes, so the one of a dead agent would be as good as new for ever. Each therefore
//! has the time at which it was written last, and is written again when nothing has changed. Clocks of nodes are not
//! compared: what counts is how long ago that time was seen to change.

use std::time::Duration;

/// Pause between two writings of a status that does not change.
const USUAL: Duration = Duration::from_mins(1);

/// The agents of a large cluster write more seldom: twenty statuses a second, all together.
const OF_NODE: Duration = Duration::from_millis(50);

/// How many in a row have to be missing.
const MISSING: u32 = 3;

/// The longest pause between two writings of a node's status, in a cluster of so many nodes.
pub fn heartbeat(nodes: usize) -> Duration {
    USUAL.max(OF_NODE * u32::try_from(nodes).unwrap_or(u32::MAX))
}

/// After so long without one, nothing is known of the node.
pub(super) fn silence(nodes: usize) -> Duration {
    heartbeat(nodes) * MISSING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_agents_together_write_twenty_statuses_a_second_at_most() {
        assert_eq!(heartbeat(3), Duration::from_mins(1));
        assert_eq!(heartbeat(1200), Duration::from_mins(1));
        assert_eq!(heartbeat(6000), Duration::from_mins(5));
    }
}
