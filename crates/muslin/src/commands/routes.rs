//! `muslin routes`

use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Cell;
use muslin_bgp_speaker::rib::RouteView as Route;
use muslin_route_programmer::RouteState;

use super::live;
use super::output::{age, next_hops, print, route_state, standing, table, verdict};
use crate::api::{KernelRoutes, PeerRoutes, RouteQuery, Routes};
use crate::cli::{RouteView, RoutesArgs};
use crate::client;

/// Prints the routes of one view.
pub(crate) async fn run(args: &RoutesArgs) -> anyhow::Result<ExitCode> {
    let view = match args.view {
        RouteView::Received => "received",
        RouteView::Accepted => "accepted",
        RouteView::Best => "best",
        RouteView::Advertised => "advertised",
        RouteView::Kernel => "kernel",
    };
    let query = RouteQuery { peer: args.peer.clone(), rejected: args.rejected, limit: Some(args.limit) };
    if args.watch {
        let path = client::with_query(&format!("/v1/watch/routes/{view}"), &query)?;
        return live::routes(&args.query.socket, &path, args.query.output, args.limit, all).await;
    }
    let routes: Routes = client::get_with(&args.query.socket, &format!("/v1/routes/{view}"), &query).await?;
    print(args.query.output, &routes, render)?;
    Ok(ExitCode::SUCCESS)
}

fn render(routes: &Routes) -> String {
    match routes {
        Routes::Kernel(routes) => kernel(routes),
        Routes::Bgp(tables) => all(tables),
    }
}

fn all(tables: &[PeerRoutes]) -> String {
    tables.iter().map(peer_table).collect::<Vec<_>>().join("\n\n")
}

pub(super) fn peer_table(routes: &PeerRoutes) -> String {
    let title = routes.peer.as_ref().map(|peer| format!("{peer}\n")).unwrap_or_default();
    let more = if routes.more { "\n… and more: raise --limit" } else { "" };
    if routes.routes.is_empty() {
        return format!("{title}no routes");
    }
    let rows = routes.routes.iter().map(|route| {
        [
            Cell::new(route.prefix),
            Cell::new(standing(route)),
            Cell::new(route.next_hop.map_or_else(|| "-".to_owned(), |hop| hop.to_string())),
            Cell::new(path(route)),
            Cell::new(age(Duration::from_secs(route.age.into()))),
            Cell::new(route.peer.as_deref().unwrap_or("-")),
            Cell::new(why(route)),
        ]
    });
    let header = ["PREFIX", "STATE", "NEXT HOP", "AS PATH", "AGE", "FROM", "WHY"];
    format!("{title}{}{more}", table(header, rows))
}

/// Why the route stands as it does, or what import made of it, and by which rule.
fn why(route: &Route) -> String {
    match (&route.reason, &route.rule) {
        (Some(reason), Some(rule)) if route.refusal.is_some() && reason != rule => {
            format!("{reason} [{rule}]")
        }
        (Some(reason), _) => reason.clone(),
        (None, Some(rule)) if !route.changes.is_empty() => format!("{} [{rule}]", route.changes.join(", ")),
        (None, Some(rule)) => format!("[{rule}]"),
        (None, None) => "-".to_owned(),
    }
}

/// The AS path with the ORIGIN behind it, as routers print it.
fn path(route: &Route) -> String {
    format!("{} {}", route.as_path, route.origin).trim().to_owned()
}

fn kernel(kernel: &KernelRoutes) -> String {
    if kernel.routes.is_empty() {
        return "no routes".to_owned();
    }
    let rows = kernel.routes.iter().map(|route| {
        let installed = route.state == RouteState::Installed;
        [
            Cell::new(route.prefix),
            Cell::new(next_hops(&route.next_hops, &kernel.interfaces)),
            Cell::new(route.metric),
            verdict(route_state(&route.state), installed),
        ]
    });
    table(["PREFIX", "NEXT HOPS", "METRIC", "STATE"], rows)
}
