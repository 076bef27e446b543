//! `muslin replay FILE`: what happened once, made to happen again.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use comfy_table::Cell;
use muslin_bgp_speaker::record::{Replay, replay};
use muslin_bgp_speaker::rib::{Page, RouteFilter, RouteView};
use muslin_bgp_speaker::{Answer, PeerStatus, Query, SpeakerEvent};
use serde::Serialize;

use super::output::{print, table};
use super::{peers, routes};
use crate::api::PeerRoutes;
use crate::cli::ReplayArgs;

/// Routes that are printed.
const SHOWN: usize = 1_000;

/// What came of a record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Version of the program that wrote it.
    version: String,
    /// When it began, in seconds since 1970.
    began: u64,
    length_seconds: f64,
    entries: u64,
    from_checkpoint: bool,
    /// Octets at the end that are no whole entry: a crash cut it off.
    cut_off: usize,
    events: Vec<Happened>,
    peers: Vec<PeerStatus>,
    routes: Vec<RouteView>,
    /// Whether there are more.
    more: bool,
    /// Whether the tables came out as they were; `null` if the record does not say.
    tables_agree: Option<bool>,
    /// Where the outputs were others first.
    divergence: Option<Diverged>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Happened {
    at_seconds: f64,
    #[serde(flatten)]
    event: SpeakerEvent,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Diverged {
    entry: u64,
    at_seconds: f64,
    recorded_outputs: u64,
    replayed_outputs: Vec<String>,
}

/// Replays a record; fails when it comes out differently.
pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let name = || args.file.display().to_string();
    let record = fs::read(&args.file).with_context(name)?;
    let report = report(replay(&record).with_context(name)?);
    print(args.output, &report, render)?;
    let same = report.divergence.is_none() && report.tables_agree != Some(false);
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn report(replay: Replay) -> Report {
    let filter = RouteFilter { limit: SHOWN, ..RouteFilter::default() };
    let page = match replay.speaker.query(&Query::LocRib(filter)) {
        Answer::Routes(page) => page,
        Answer::Explanation(_) | Answer::NoSuchPeer(_) => Page::default(),
    };
    let happened = |(at, event): (Duration, SpeakerEvent)| Happened { at_seconds: at.as_secs_f64(), event };
    Report {
        version: replay.version,
        began: replay.began,
        length_seconds: replay.length.as_secs_f64(),
        entries: replay.entries,
        from_checkpoint: replay.from_checkpoint,
        cut_off: replay.cut_off,
        events: replay.events.into_iter().map(happened).collect(),
        peers: replay.speaker.peers(replay.now),
        routes: page.routes,
        more: page.next.is_some(),
        tables_agree: replay.tables_agree,
        divergence: replay.divergence.map(|divergence| Diverged {
            entry: divergence.entry,
            at_seconds: divergence.at.as_secs_f64(),
            recorded_outputs: divergence.recorded,
            replayed_outputs: divergence.outputs,
        }),
    }
}

fn render(report: &Report) -> String {
    let kind = if report.from_checkpoint { ", from a checkpoint on" } else { "" };
    let mut parts = vec![format!(
        "{} entries over {:.1} s, written by muslin {}{kind}",
        report.entries, report.length_seconds, report.version
    )];
    let events = report.events.iter().map(|happened| {
        [Cell::new(format!("{:.3}s", happened.at_seconds)), Cell::new(in_words(&happened.event))]
    });
    parts.push(table(["AT", "EVENT"], events));
    parts.push(format!("PEERS AT THE END\n{}", peers::render(&report.peers)));
    let routes = PeerRoutes { peer: None, routes: report.routes.clone(), more: report.more };
    parts.push(format!("ROUTES AT THE END\n{}", routes::peer_table(&routes)));
    parts.push(verdict(report));
    parts.join("\n\n")
}

fn verdict(report: &Report) -> String {
    let mut lines = Vec::new();
    if report.cut_off > 0 {
        lines.push(format!("the record is cut off: its last {} octets are no whole entry", report.cut_off));
    }
    match (&report.divergence, report.from_checkpoint) {
        (Some(at), _) => {
            lines.push(format!(
                "OUTPUTS DIFFER at entry {}, {:.3}s: the record has {}, the replay has",
                at.entry, at.at_seconds, at.recorded_outputs
            ));
            lines.extend(at.replayed_outputs.iter().map(|output| format!("  {output}")));
        }
        (None, false) => lines.push("every output came out as it was recorded".to_owned()),
        (None, true) => {
            lines.push("outputs are not compared: the sessions were put together again".to_owned());
        }
    }
    lines.push(match report.tables_agree {
        Some(true) => "the tables came out as they were".to_owned(),
        Some(false) => "THE TABLES DIFFER from what the record says".to_owned(),
        None => "the record does not say what the tables were: it was not ended in order".to_owned(),
    });
    lines.join("\n")
}

/// An event as its JSON, which has every field by name.
fn in_words(event: &SpeakerEvent) -> String {
    serde_json::to_string(event).unwrap_or_else(|_| format!("{event:?}"))
}
