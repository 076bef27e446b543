//! The signals that end a lab which stands.

use muslin_netns::NetnsError;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::LabError;

/// Calls `listening` once SIGTERM, SIGINT and SIGHUP are waited for, and returns when one has come.
pub(crate) fn until_told_to_end(
    runtime: &Runtime,
    listening: impl FnOnce() -> Result<(), NetnsError>,
) -> Result<(), LabError> {
    let failed = LabError::system("wait for signals");
    runtime.block_on(async {
        let listen = || {
            Ok((
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
            ))
        };
        let (mut terminate, mut interrupt, mut hangup) = listen().map_err(failed)?;
        listening()?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
        Ok(())
    })
}
