//! Best paths from the speaker into the kernel, one batch in flight.

use std::sync::Arc;
use std::time::Instant;

use muslin_bgp_speaker::net::{FibCause, FibStream, FibUpdate};
use muslin_route_programmer::Programmer;
use tokio::sync::mpsc;

use crate::kernel::route_change;
use crate::metrics::KernelWays;

/// Runs until the speaker or the programmer ends. The programmer takes the next batch only when it has room;
/// until then the speaker keeps the newest state of each destination.
pub(crate) async fn run(mut fib: FibStream, programmer: Programmer, ways: Arc<KernelWays>) {
    let (batches, taken) = mpsc::channel(1);
    tokio::spawn(measure(taken, programmer.clone(), ways));
    while let Some((update, cause)) = fib.next_with_cause().await {
        let taken = match update {
            FibUpdate::Changes(changes) => {
                programmer.apply(changes.into_iter().map(route_change).collect()).await
            }
            FibUpdate::Synced => programmer.mark_synced().await,
        };
        if taken.is_err() {
            return;
        }
        // While a batch is measured, those behind it are not: what matters is how long things take, not all of them.
        let _measured_already = batches.try_send(cause);
    }
}

/// Waits until what a batch has asked for is in the kernel, and notes how long it took.
async fn measure(mut batches: mpsc::Receiver<FibCause>, programmer: Programmer, ways: Arc<KernelWays>) {
    while let Some(cause) = batches.recv().await {
        if programmer.settled().await.is_err() {
            return;
        }
        ways.arrived(cause, Instant::now());
    }
}
