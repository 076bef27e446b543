//! Why a route is here, and why peers are sent it or not.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Rib;
use super::destination::{DestinationId, Path, PathHandle};
use super::import::{Import, Ruling};
use super::loc_rib::LocRib;
use super::peers::PeerIndex;
use super::view::{RouteView, Stage};
use crate::config::Policy;
use crate::export::{Group, Withheld};
use crate::policy::Trail;

/// Everything about one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The destination: the prefix asked for, or the longest one that covers it.
    pub prefix: IpNet,
    /// Its paths, the best first.
    pub paths: Vec<PathExplanation>,
    /// Where the kernel is told to send its packets: "gateway on interface number".
    pub kernel: Vec<String>,
    /// What each established peer is told of it, by the peers' names.
    pub exports: Vec<ExportExplanation>,
}

/// Why a path is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathExplanation {
    /// The path, with the reason of its standing.
    #[serde(flatten)]
    pub route: RouteView,
    /// What decided at import or asked for it to be originated: the place where that is written.
    pub cause: String,
}

/// Why peers are sent a route or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportExplanation {
    /// The peer.
    pub peer: String,
    /// The route as it is sent; `None` if it is not.
    pub sent: Option<RouteView>,
    /// Why it is not sent.
    pub withheld: Option<Withheld>,
    /// The reason in words, with the place where the deciding rule is written.
    pub cause: String,
}

impl Rib {
    /// Explains a destination; `None` if nothing is known about the prefix and nothing covers it.
    pub fn explain(&self, prefix: IpNet) -> Option<Explanation> {
        let rib = &self.routes;
        let id = rib.destinations.longest_match(prefix)?;
        let views = rib.views(id);
        let mut paths: Vec<_> = rib
            .destinations
            .paths(id)
            .map(|(handle, path)| PathExplanation {
                route: rib.received_view(id, handle, path, Stage::Received),
                cause: rib.import_cause(id, path),
            })
            .collect();
        for path in &mut paths {
            // Standing and reason come from the decision, attributes as they were received.
            let same =
                views.iter().find(|view| view.peer == path.route.peer && view.path_id == path.route.path_id);
            path.route.reason = same.and_then(|view| view.reason.clone());
        }
        paths.sort_by_key(|path| path.route.state as u8);
        let kernel = rib.fib_route(id).map(|route| route.next_hops).unwrap_or_default();
        let kernel =
            kernel.iter().map(|next_hop| format!("{} on interface {}", next_hop.gateway, next_hop.interface));
        let groups = self.exports.iter();
        let mut exports: Vec<_> = groups.flat_map(|group| rib.explain_group(id, group)).collect();
        // Groups are in the order in which their first members came up.
        exports.sort_by(|one, other| one.peer.cmp(&other.peer));
        Some(Explanation { prefix: rib.destinations.prefix(id), paths, kernel: kernel.collect(), exports })
    }
}

impl LocRib {
    /// What decided about a path at import: the place where that is written.
    pub(crate) fn import_cause(&self, id: DestinationId, path: &Path) -> String {
        let prefix = self.destinations.prefix(id);
        if path.peer == PeerIndex::LOCAL {
            let route = self.originated.get(&prefix);
            return route.map_or_else(String::new, |route| route.cause.to_string());
        }
        let Some(peer) = self.peers.get(path.peer) else { return String::new() };
        let import = Import::new(peer.view.clone(), self.guard.clone(), &self.attributes, path.received);
        Self::ruling_in_words(&import.rule(prefix, &self.attributes), &peer.view.import)
    }

    /// What decided about a path at import, by this policy.
    pub(crate) fn ruling_in_words(ruling: &Ruling<'_>, import: &Policy) -> String {
        match ruling {
            Ruling::Attributes(refusal) => refusal.to_string(),
            Ruling::Guard(refused) => match refused.range {
                Some((range, cause)) => format!("import guard: {range}, {cause}"),
                None => format!("import guard: {}", refused.refusal),
            },
            Ruling::Policy(_, trail) => trail.cause(import),
        }
    }

    fn explain_group(&self, id: DestinationId, group: &Group) -> Vec<ExportExplanation> {
        let ranked = self.destinations.best(id);
        group
            .members
            .keys()
            .filter_map(|index| {
                let peer = self.peers.get(*index)?;
                let result = match ranked {
                    None => Err((Withheld::NoBestPath, None)),
                    Some((_, path)) if path.peer == *index => Err((Withheld::OwnRoute, None)),
                    Some(best) => self.explain_export(id, best, group),
                };
                let policy = &peer.view.export;
                let (sent, withheld, cause) = match result {
                    Ok((view, trail)) => (Some(view), None, trail.cause(policy)),
                    Err((why, Some(trail))) => (None, Some(why), trail.cause(policy)),
                    Err((why, None)) => (None, Some(why), why.to_string()),
                };
                Some(ExportExplanation { peer: peer.view.key.0.to_string(), sent, withheld, cause })
            })
            .collect()
    }

    fn explain_export(
        &self,
        id: DestinationId,
        (_, path): (PathHandle, &Path),
        group: &Group,
    ) -> Result<(RouteView, Trail), (Withheld, Option<Trail>)> {
        let offer = group.key.offer(self, id, path)?;
        let family = self.destinations.family(id);
        let outgoing = group.key.rewrite(self, offer, family).map_err(|why| (why, None))?;
        if !group.key.fits(&outgoing, self.destinations.prefix(id)) {
            return Err((Withheld::TooLong, None));
        }
        Ok((self.sent_view(id, path.peer, &outgoing), offer.trail))
    }
}
