//! The command for the log.

use clap::Args;

use super::QueryArgs;
use crate::logging::LogLevel;

/// `muslin log`
#[derive(Args, Clone, Debug)]
pub(crate) struct LogArgs {
    /// How much to log from now on, until the daemon ends; without it, what is logged is printed
    #[arg(value_enum)]
    pub(crate) level: Option<LogLevel>,
    /// Only for this part of the program, such as `muslin_bgp_speaker` or `muslin_route_programmer`
    #[arg(requires = "level")]
    pub(crate) target: Option<String>,
    /// Log as at the daemon's start again
    #[arg(long, conflicts_with = "level")]
    pub(crate) reset: bool,
    /// Socket and output.
    #[command(flatten)]
    pub(crate) query: QueryArgs,
}
