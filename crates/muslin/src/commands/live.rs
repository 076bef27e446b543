//! `--watch`: redrawn on a terminal, lines of JSON for programs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use ipnet::IpNet;
use muslin_bgp_speaker::TableEvent;
use muslin_bgp_speaker::rib::RouteView;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::output::{write_line, yaml};
use crate::api::{PeerRoutes, RouteLine};
use crate::cli::Output;
use crate::client;

/// Clears the terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Shows whole states as they come, until the daemon ends or nobody reads.
pub(super) async fn states<T: Serialize + DeserializeOwned>(
    socket: &Path,
    path: &str,
    output: Output,
    render: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    client::follow(socket, path, |states: Vec<T>| match output {
        Output::Json | Output::Yaml => states.iter().try_for_each(|state| line(output, state)),
        // Only the newest one is worth drawing.
        Output::Table => states.last().map_or(Ok(()), |state| draw(&render(state))),
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Shows tables as they change.
pub(super) async fn routes(
    socket: &Path,
    path: &str,
    output: Output,
    limit: usize,
    render: impl Fn(&[PeerRoutes]) -> String,
) -> anyhow::Result<ExitCode> {
    let mut tables = Tables::default();
    client::follow(socket, path, |lines: Vec<RouteLine>| match output {
        Output::Json | Output::Yaml => lines.iter().try_for_each(|one| line(output, one)),
        Output::Table => {
            for line in lines {
                tables.take(line);
            }
            draw(&render(&tables.shown(limit)))
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// One of many answers for programs: a line of JSON, or a YAML document.
pub(super) fn line<T: Serialize>(output: Output, value: &T) -> anyhow::Result<()> {
    match output {
        Output::Yaml => write_line(&format!("---\n{}", yaml(value)?.trim_end())),
        Output::Json | Output::Table => write_line(&serde_json::to_string(value)?),
    }
}

/// Draws the screen anew; where there is none, below what was there before.
pub(super) fn draw(text: &str) -> anyhow::Result<()> {
    if io::stdout().is_terminal() {
        write!(io::stdout().lock(), "{CLEAR}")?;
        write_line(text)
    } else {
        write_line(&format!("{text}\n"))
    }
}

/// The tables as they stand, by peer.
#[derive(Default)]
struct Tables(BTreeMap<Option<String>, BTreeMap<IpNet, Vec<RouteView>>>);

impl Tables {
    fn take(&mut self, RouteLine { peer, event }: RouteLine) {
        let table = self.0.entry(peer).or_default();
        match event {
            TableEvent::Routes { prefix, routes } if routes.is_empty() => drop(table.remove(&prefix)),
            TableEvent::Routes { prefix, routes } => drop(table.insert(prefix, routes)),
            TableEvent::Restarted => table.clear(),
            TableEvent::Complete => {}
        }
    }

    fn shown(&self, limit: usize) -> Vec<PeerRoutes> {
        let shown = |(peer, table): (&Option<String>, &BTreeMap<IpNet, Vec<RouteView>>)| PeerRoutes {
            peer: peer.clone(),
            routes: table.values().flatten().take(limit).cloned().collect(),
            more: table.values().map(Vec::len).sum::<usize>() > limit,
        };
        self.0.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(event: &serde_json::Value) -> RouteLine {
        serde_json::from_value(event.clone()).unwrap()
    }

    fn route(prefix: &str) -> serde_json::Value {
        json!({
            "prefix": prefix, "peer": "tor", "state": "best", "stale": false, "age": 1, "nextHop": "10.0.0.1",
            "origin": "i", "asPath": "65000", "med": null, "localPref": null, "communities": [],
        })
    }

    #[test]
    fn a_table_is_what_was_told_last_of_each_destination() {
        let mut tables = Tables::default();
        for prefix in ["10.2.0.0/16", "10.1.0.0/16"] {
            let event = json!({"peer": null, "type": "routes", "prefix": prefix, "routes": [route(prefix)]});
            tables.take(line(&event));
        }
        tables.take(line(&json!({"peer": null, "type": "complete"})));
        let shown = tables.shown(1);
        assert_eq!(shown[0].routes[0].prefix.to_string(), "10.1.0.0/16", "in order");
        assert!(shown[0].more);
        tables.take(line(&json!({"peer": null, "type": "routes", "prefix": "10.1.0.0/16", "routes": []})));
        assert_eq!(tables.shown(9)[0].routes.len(), 1);
        tables.take(line(&json!({"peer": null, "type": "restarted"})));
        assert!(tables.shown(9)[0].routes.is_empty());
    }
}
