//! `muslin log`: what the daemon logs, and a change of it that lasts until the daemon ends.

use super::output::print;
use crate::cli::LogArgs;
use crate::client;
use crate::logging::{LogRequest, LogState};

pub(super) async fn run(args: &LogArgs) -> anyhow::Result<()> {
    let socket = &args.query.socket;
    let state: LogState = if args.level.is_none() && !args.reset {
        client::get(socket, "/v1/log").await?
    } else {
        let request = LogRequest { level: args.level, target: args.target.clone() };
        client::post(socket, "/v1/log", &request).await?
    };
    print(args.query.output, &state, |state| {
        if state.filter == state.at_start {
            return state.filter.clone();
        }
        format!("{} (started with {})", state.filter, state.at_start)
    })
}
