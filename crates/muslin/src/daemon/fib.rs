//! Best paths from the speaker into the kernel, one batch in flight.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::future::{Fuse, FusedFuture};
use muslin_bgp_speaker::net::{FibCause, FibStream, FibUpdate};
use muslin_route_programmer::Programmer;
use tokio::runtime::{Builder, Handle};

use crate::kernel::route_change;
use crate::metrics::KernelWays;

/// A thread for the route programmer and for what hands it routes, as long as the process lives. A runtime of several
/// threads wakes a second one, to look for more, for every route.
pub(crate) fn thread() -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    let _runs_on = std::thread::Builder::new()
        .name("routes".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// Runs until the speaker or the programmer ends. The programmer takes the next batch only when it has room;
/// until then the speaker keeps the newest state of each destination.
pub(crate) async fn run(mut fib: FibStream, programmer: Programmer, ways: Arc<KernelWays>) {
    // Not a task of its own: each route would wake a second thread for it.
    let mut measured = pin!(Fuse::terminated());
    loop {
        let (update, cause) = tokio::select! {
            () = &mut measured, if !measured.is_terminated() => continue,
            next = fib.next_with_cause() => match next {
                Some(next) => next,
                None => return,
            },
        };
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
        if measured.is_terminated() {
            measured.set(measure(&programmer, &ways, cause).fuse());
        }
    }
}

/// Waits until what a batch has asked for is in the kernel, and notes how long it took.
async fn measure(programmer: &Programmer, ways: &KernelWays, cause: FibCause) {
    if programmer.settled().await.is_ok() {
        ways.arrived(cause, Instant::now());
    }
}
