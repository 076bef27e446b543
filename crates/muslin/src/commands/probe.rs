//! `muslin probe`: one question to the daemon, answered by the exit code.
//!
//! The image has no shell and no `curl`, and a port for probes would be one more that every node has open; so the
//! kubelet runs this program in the agent's container, which asks over the local socket.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use super::complain;
use crate::cli::{Probe, ProbeArgs};
use crate::client;
use crate::daemon::Readiness;

/// Kept back of the time for the answer, so that the daemon says what is missing before nobody listens any more.
const MARGIN: Duration = Duration::from_millis(500);

pub(super) async fn run(args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    match tokio::time::timeout(args.timeout, ask(args)).await {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => {
            complain(&error);
            Ok(ExitCode::FAILURE)
        }
        Err(_) => bail!("{}: no answer within {:?}", args.socket.display(), args.timeout),
    }
}

async fn ask(args: &ProbeArgs) -> anyhow::Result<()> {
    match args.probe {
        Probe::Live => client::get::<Value>(&args.socket, "/v1/live").await.map(drop),
        Probe::Ready => {
            // A node on which something is always on its way is ready when it once is not.
            let limit = args.timeout.saturating_sub(MARGIN).as_secs_f64();
            let path = format!("/v1/ready?wait=serving&timeout={limit}s");
            let readiness: Readiness = client::get_either(&args.socket, &path).await?;
            if !readiness.serving {
                bail!("not ready, waiting for {}", readiness.waiting_for.join("; "));
            }
            Ok(())
        }
    }
}
