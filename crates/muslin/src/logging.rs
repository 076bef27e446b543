//! Where log lines go: standard error, as text or JSON; and how much is logged, which can be changed while the daemon
//! runs.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::cli::LogFormat;

/// The filter in force, and the one of the start.
struct Control {
    handle: reload::Handle<EnvFilter, Registry>,
    at_start: String,
    now: Mutex<String>,
}

static CONTROL: OnceLock<Control> = OnceLock::new();

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogState {
    /// The filter in force.
    pub(crate) filter: String,
    /// The one that the daemon was started with.
    pub(crate) at_start: String,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LogLevel {
    /// Nothing
    Off,
    /// What a person must act on
    Error,
    /// What is worth an alert
    Warn,
    /// Changes of state
    Info,
    /// Decisions
    Debug,
    /// Every message
    Trace,
}

impl LogLevel {
    /// Its word in a filter.
    fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A change of what is logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LogRequest {
    /// How much; as at the start if absent.
    #[serde(default)]
    pub(crate) level: Option<LogLevel>,
    /// A part of the program (`muslin_bgp_speaker`); what no other rule is about if absent.
    #[serde(default)]
    pub(crate) target: Option<String>,
}

/// Starts logging with a filter such as `info,muslin_bgp_speaker=debug`; colour only on a terminal.
pub(crate) fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let parsed = EnvFilter::try_new(filter).with_context(|| {
        format!("--log {filter}: not a log filter; try `info` or `muslin_bgp_speaker=debug`")
    })?;
    let (layer, handle) = reload::Layer::new(parsed);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry().with(layer).with(lines).init();
    let control = Control { handle, at_start: filter.to_owned(), now: Mutex::new(filter.to_owned()) };
    // A second start would have failed above.
    let _first = CONTROL.set(control);
    Ok(())
}

/// What is logged.
pub(crate) fn state() -> anyhow::Result<LogState> {
    let control = control()?;
    Ok(LogState { filter: lock(&control.now).clone(), at_start: control.at_start.clone() })
}

/// Changes what is logged, and says what is then.
pub(crate) fn change(request: &LogRequest) -> anyhow::Result<LogState> {
    let control = control()?;
    let mut now = lock(&control.now);
    let filter = match request.level {
        Some(level) => with_directive(&now, level, request.target.as_deref()),
        None => control.at_start.clone(),
    };
    let parsed = EnvFilter::try_new(&filter).with_context(|| {
        let target = request.target.as_deref().unwrap_or_default();
        format!("{target}: not a part of the program; try `muslin_bgp_speaker`")
    })?;
    control.handle.reload(parsed).context("the log's filter")?;
    now.clone_from(&filter);
    tracing::info!(filter, "the log's filter has changed");
    Ok(LogState { filter, at_start: control.at_start.clone() })
}

fn control() -> anyhow::Result<&'static Control> {
    CONTROL.get().context("this process has no log")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The filter with this level for the target in place of the one that it had.
fn with_directive(filter: &str, level: LogLevel, target: Option<&str>) -> String {
    let of = |directive: &str| directive.rsplit_once('=').map(|(target, _)| target.trim().to_owned());
    let kept = filter.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let kept = kept.filter(|directive| of(directive).as_deref() != target).map(str::to_owned);
    let new = match target {
        Some(target) => format!("{target}={}", level.name()),
        None => level.name().to_owned(),
    };
    kept.chain([new]).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_takes_the_place_of_the_one_before() {
        let with = |filter, level, target| with_directive(filter, level, target);
        assert_eq!(with("info", LogLevel::Debug, None), "debug");
        assert_eq!(with("info,muslin=warn", LogLevel::Debug, None), "muslin=warn,debug");
        assert_eq!(with("info", LogLevel::Trace, Some("muslin")), "info,muslin=trace");
        assert_eq!(with("info, muslin=trace", LogLevel::Off, Some("muslin")), "info,muslin=off");
        assert_eq!(with("", LogLevel::Info, None), "info");
    }
}
