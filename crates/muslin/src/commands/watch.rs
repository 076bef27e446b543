//! `muslin watch`: sessions, routes and addresses as they change, on one screen or as lines of JSON.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::process::ExitCode;

use muslin_bgp_speaker::TableEvent;
use serde::Serialize;

use super::live::{draw, line};
use super::output::list;
use super::status;
use crate::api::{RouteLine, Status};
use crate::cli::{Output, WatchArgs};
use crate::client;

/// Changes of routes on the screen.
const SHOWN: usize = 12;

/// A line for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Line<'a> {
    /// The daemon as it is now.
    Status(&'a Status),
    /// The best routes to a destination, or none any more.
    Route(&'a RouteLine),
}

/// What is on the screen.
#[derive(Default)]
struct Screen {
    status: Option<String>,
    /// The table was told once: what comes now has changed.
    complete: bool,
    changes: VecDeque<String>,
}

impl Screen {
    fn take(&mut self, event: &TableEvent) {
        match event {
            TableEvent::Complete => self.complete = true,
            TableEvent::Restarted => self.complete = false,
            TableEvent::Routes { prefix, routes } if self.complete => {
                let ways = routes.iter().map(|route| {
                    let from = route.peer.as_deref().unwrap_or("this node");
                    format!("{:?} from {from}", route.state).to_lowercase()
                });
                let change = if routes.is_empty() {
                    format!("- {prefix} is gone")
                } else {
                    format!("~ {prefix}  {}", list(ways))
                };
                self.changes.push_front(change);
                self.changes.truncate(SHOWN);
            }
            TableEvent::Routes { .. } => {}
        }
    }

    fn render(&self) -> Option<String> {
        let status = self.status.as_ref()?;
        let changes = match self.changes.len() {
            0 => "none since this began".to_owned(),
            _ => self.changes.iter().cloned().collect::<Vec<_>>().join("\n"),
        };
        Some(format!("{status}\n\nCHANGES, the newest first\n{changes}"))
    }
}

/// Follows until the daemon ends or nobody reads.
pub(super) async fn run(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let (socket, output) = (&args.query.socket, args.query.output);
    let screen = RefCell::new(Screen::default());
    let show = || screen.borrow().render().map_or(Ok(()), |text| draw(&text));
    let states = client::follow(socket, "/v1/watch/status", |states: Vec<Status>| match output {
        Output::Table => {
            screen.borrow_mut().status = states.last().map(status::render);
            show()
        }
        Output::Json | Output::Yaml => {
            states.iter().try_for_each(|status| line(output, &Line::Status(status)))
        }
    });
    let routes = client::follow(socket, "/v1/watch/routes/best", |lines: Vec<RouteLine>| match output {
        Output::Table => {
            for line in &lines {
                screen.borrow_mut().take(&line.event);
            }
            show()
        }
        Output::Json | Output::Yaml => lines.iter().try_for_each(|route| line(output, &Line::Route(route))),
    });
    tokio::try_join!(states, routes)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changes_after_the_table_was_told_is_on_the_screen_the_newest_first() {
        let mut screen = Screen { status: Some("node n1".to_owned()), ..Screen::default() };
        let event = |value: serde_json::Value| serde_json::from_value::<TableEvent>(value).unwrap();
        let gone = |third: u8| {
            event(json!({"type": "routes", "prefix": format!("10.{third}.0.0/16"), "routes": []}))
        };
        screen.take(&gone(1));
        assert!(screen.render().unwrap().ends_with("none since this began"));
        screen.take(&event(json!({"type": "complete"})));
        for third in 2..30 {
            screen.take(&gone(third));
        }
        let text = screen.render().unwrap();
        assert!(text.contains("newest first\n- 10.29.0.0/16 is gone"), "{text}");
        assert_eq!(screen.changes.len(), SHOWN, "the screen is not endless");
    }
}
