//! Best paths from the speaker into the kernel, one batch in flight.

use muslin_bgp_speaker::net::{FibStream, FibUpdate};
use muslin_route_programmer::Programmer;

use crate::kernel::route_change;

/// Runs until the speaker or the programmer ends. The programmer takes the next batch only when it has room;
/// until then the speaker keeps the newest state of each destination.
pub(crate) async fn run(mut fib: FibStream, programmer: Programmer) {
    while let Some(update) = fib.next().await {
        let taken = match update {
            FibUpdate::Changes(changes) => {
                programmer.apply(changes.into_iter().map(route_change).collect()).await
            }
            FibUpdate::Synced => programmer.mark_synced().await,
        };
        if taken.is_err() {
            return;
        }
    }
}
