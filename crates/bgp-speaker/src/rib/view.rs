//! The RIB as people and programs look at it: bounded pages of plain values.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use muslin_bgp_packet::{Family, PathAttributes};
use serde::{Deserialize, Serialize};

use super::Rib;
use super::changes_made::changes;
use super::decision::{Step, elect};
use super::destination::{DestinationId, Path, PathHandle, PathState};
use super::loc_rib::LocRib;
use super::next_hops::{NextHopKey, Reach};
use super::peers::{PathCounts, PeerIndex, ReceivedCounts, slot};

/// Which routes are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFilter {
    /// Only this family.
    pub family: Option<Family>,
    /// Only this prefix, or those within it.
    pub prefix: Option<IpNet>,
    /// What `prefix` means.
    pub matching: Matching,
    /// Only refused paths.
    pub refused: bool,
    /// Which attributes of received routes are shown.
    pub stage: Stage,
    /// Continue after this prefix: [`Page::next`] of the page before.
    pub after: Option<IpNet>,
    /// About how many routes a page has; the routes of one destination are never divided.
    pub limit: usize,
}

/// What a prefix in a filter means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    /// Exactly this prefix.
    #[default]
    Exact,
    /// This prefix and all that it covers.
    Within,
}

impl Default for RouteFilter {
    fn default() -> Self {
        Self {
            family: None,
            prefix: None,
            matching: Matching::Exact,
            refused: false,
            stage: Stage::Received,
            after: None,
            limit: 1000,
        }
    }
}

/// A part of a table, in the order of prefixes, IPv4 first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// The routes.
    pub routes: Vec<RouteView>,
    /// Where the next page continues, if there is one.
    pub next: Option<IpNet>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// Destination.
    pub prefix: IpNet,
    /// The peer that it came from; `None` if we originate it.
    pub peer: Option<String>,
    /// Path identifier (RFC 7911).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_id: Option<u32>,
    /// Its standing.
    pub state: RouteState,
    /// What refused it or where the decision went for or against it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the best route: what it was chosen by, and the route that came closest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Of a received route: where the rule is written that import decided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Of a received route: what that rule made of its attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Name of the reason why import refused it, for programs ([`Refusal::name`](super::Refusal::name)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Whether it is kept from a session that was lost.
    pub stale: bool,
    /// Seconds since it was received in this form.
    pub age: u32,
    /// Next hop; `None` if we originate it.
    pub next_hop: Option<IpAddr>,
    /// ORIGIN.
    pub origin: String,
    /// AS_PATH in the usual notation.
    pub as_path: String,
    /// MED.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// Communities of all three kinds.
    pub communities: Vec<String>,
    /// ORIGINATOR_ID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_list: Vec<Ipv4Addr>,
}

/// How the best route was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The step that decided against the route that came closest.
    pub step: Step,
    /// The peer of that route; `None` if it is ours.
    pub rival: Option<String>,
}

/// Which attributes of received routes are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// As they came (Adj-RIB-In before policy), refused routes too.
    #[default]
    Received,
    /// As import left them (Adj-RIB-In after policy), of accepted routes.
    Accepted,
}

/// A route's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteState {
    /// The best one.
    Best,
    /// Of the best one's ECMP set.
    Multipath,
    /// Usable, not selected.
    Usable,
    /// Its next hop leads nowhere, or back to us.
    Unreachable,
    /// Refused at import.
    Refused,
    /// Sent to a peer.
    Advertised,
}

/// Numbers about one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerCounts {
    /// IPv4 paths.
    pub ipv4: PathCounts,
    /// IPv6 paths.
    pub ipv6: PathCounts,
    /// Messages and prefixes since the session came up.
    pub received: ReceivedCounts,
}

/// Numbers about the whole RIB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RibSummary {
    /// Destinations.
    pub destinations: usize,
    /// Paths.
    pub paths: usize,
    /// Distinct sets of attributes.
    pub attributes: usize,
    /// Distinct next hops.
    pub next_hops: usize,
    /// Export groups.
    pub groups: usize,
}

impl Rib {
    /// What a peer announced, refused paths with their reason.
    pub fn adj_rib_in(&self, peer: PeerIndex, filter: &RouteFilter) -> Page {
        self.page(filter, |rib, id| {
            let paths = rib.destinations.paths(id).filter(|(_, path)| path.peer == peer);
            let shown = |path: &Path| match filter.stage {
                Stage::Received => !filter.refused || !path.state.is_accepted(),
                Stage::Accepted => path.state.is_accepted(),
            };
            paths
                .filter(|(_, path)| shown(path))
                .map(|(handle, path)| rib.received_view(id, handle, path, filter.stage))
                .collect()
        })
    }

    /// All paths of the Loc-RIB with their standing: why the best one is best, and why the others are not.
    pub fn loc_rib(&self, filter: &RouteFilter) -> Page {
        self.page(filter, LocRib::views)
    }

    /// What a peer was sent.
    pub fn adj_rib_out(&self, peer: PeerIndex, filter: &RouteFilter) -> Page {
        let Some(group) = self.exports.of_peer(&self.routes, peer) else { return Page::default() };
        self.page(filter, |rib, id| {
            let sent = group.table.get(id).into_iter();
            sent.filter(|(_, sent)| sent.offer().source != peer)
                .filter_map(|(path_id, sent)| {
                    let family = rib.destinations.family(id);
                    let outgoing = group.sent_under(id).rewrite(rib, sent.offer(), family).ok()?;
                    Some(RouteView {
                        path_id: group.wire_path_id(family, path_id),
                        ..rib.sent_view(id, sent.offer().source, &outgoing)
                    })
                })
                .collect()
        })
    }

    /// Numbers about a peer.
    pub fn peer_counts(&self, peer: PeerIndex) -> Option<PeerCounts> {
        let peer = self.routes.peers.get(peer)?;
        Some(PeerCounts {
            ipv4: peer.counts[slot(Family::Ipv4Unicast)],
            ipv6: peer.counts[slot(Family::Ipv6Unicast)],
            received: peer.received,
        })
    }

    /// How far a peer has been brought up to date; `None` while it has no session.
    pub fn export_state(&self, peer: PeerIndex) -> Option<crate::export::ExportState> {
        self.exports.of_peer(&self.routes, peer)?.state_of(peer)
    }

    /// A route that a peer sent in this session with us as originator though we do not originate it.
    pub fn own_identifier_seen(&self, peer: PeerIndex) -> Option<IpNet> {
        self.routes.own_identifier_seen(peer)
    }

    /// How often each reason refused a route of a peer since its session came up.
    pub fn refusals(&self, peer: PeerIndex) -> super::RefusalCounts {
        self.routes.peers.get(peer).map(|peer| peer.refusals).unwrap_or_default()
    }

    /// Numbers about everything.
    pub fn summary(&self) -> RibSummary {
        let (destinations, paths) = self.routes.destinations.counts();
        RibSummary {
            destinations,
            paths,
            attributes: self.routes.attributes.len(),
            next_hops: self.routes.attributes.next_hops.len(),
            groups: self.exports.iter().count(),
        }
    }

    fn page(
        &self,
        filter: &RouteFilter,
        routes_of: impl Fn(&LocRib, DestinationId) -> Vec<RouteView>,
    ) -> Page {
        let rib = &self.routes;
        let mut page = Page::default();
        if let (Some(prefix), Matching::Exact) = (filter.prefix, filter.matching) {
            page.routes = rib.destinations.find(prefix).map(|id| routes_of(rib, id)).unwrap_or_default();
            return page;
        }
        let wanted = |family: Family| filter.family.is_none_or(|only| only == family);
        // IPv4 comes first, so a page that continues in IPv6 has no IPv4 left.
        let begun = |family| !(family == Family::Ipv4Unicast && matches!(filter.after, Some(IpNet::V6(_))));
        let families = Family::ALL.into_iter().filter(|family| wanted(*family) && begun(*family));
        let mut last = None;
        for id in families.flat_map(|family| rib.destinations.ordered(family, filter.after)) {
            let prefix = rib.destinations.prefix(id);
            if filter.prefix.is_some_and(|range| !range.contains(&prefix)) {
                continue;
            }
            if page.routes.len() >= filter.limit.max(1) {
                page.next = last;
                return page;
            }
            page.routes.extend(routes_of(rib, id));
            last = Some(prefix);
        }
        page
    }
}

impl LocRib {
    /// All paths of a destination as routes, the best first.
    pub(crate) fn views(&self, id: DestinationId) -> Vec<RouteView> {
        let mut candidates = self.candidates(id);
        let equal = elect(&mut candidates);
        let lost: Vec<_> = candidates.iter().map(|candidate| (candidate.path, candidate.lost)).collect();
        let decided = match equal {
            0 => None,
            // What separated the best from the one that came closest.
            _ => lost.iter().filter_map(|(path, step)| Some((step.as_ref()?, path))).max(),
        };
        let decision = decided.map(|(step, rival)| Decision {
            step: *step,
            rival: self.peer_of(self.destinations.path(*rival)).map(|peer| peer.view.key.0.to_string()),
        });
        let best = self.destinations.best(id).and_then(|(_, best)| self.peer_of(best));
        let best = best.map(|peer| peer.view.key.0.to_string());
        let mut views: Vec<_> = self
            .destinations
            .paths(id)
            .map(|(handle, path)| {
                let mut view = self.view_of(id, handle, path, path.attributes);
                let step = lost.iter().find(|(lost, _)| *lost == handle).and_then(|(_, step)| *step);
                view.reason = view
                    .reason
                    .or_else(|| explain_step(view.state, step, decision.as_ref(), best.as_deref()));
                view.decision = decision.clone().filter(|_| view.state == RouteState::Best);
                view
            })
            .collect();
        views.sort_by_key(|view| view.state as u8);
        views
    }

    /// A path as it was received or as import left it, with its standing and what import did to it.
    pub(crate) fn received_view(
        &self,
        id: DestinationId,
        handle: PathHandle,
        path: &Path,
        stage: Stage,
    ) -> RouteView {
        let shown = match stage {
            Stage::Received => path.received,
            Stage::Accepted => path.attributes,
        };
        let changed = path.state.is_accepted() && path.attributes != path.received;
        let changes = if changed {
            changes(&self.attributes.decode(path.received), &self.attributes.decode(path.attributes))
        } else {
            Vec::new()
        };
        let rule = Some(self.import_cause(id, path)).filter(|rule| !rule.is_empty());
        RouteView { rule, changes, ..self.view_of(id, handle, path, shown) }
    }

    fn view_of(
        &self,
        id: DestinationId,
        handle: PathHandle,
        path: &Path,
        attributes: super::AttributeId,
    ) -> RouteView {
        let peer = self.peers.get(path.peer);
        let reach = self.reach(path);
        let is_best = self.destinations.best(id).is_some_and(|(best, _)| best == handle);
        let (state, reason) = match (path.state, reach) {
            (PathState::Refused(refusal), _) => (RouteState::Refused, Some(refusal.to_string())),
            (_, Reach::OffLink) => {
                let words =
                    "the next hop is not on the link to this peer; one that is further away needs `multihop`";
                (RouteState::Unreachable, Some(words.to_owned()))
            }
            (_, Reach::Unreachable) => {
                (RouteState::Unreachable, Some("the next hop is unreachable".to_owned()))
            }
            (_, Reach::Own) => {
                (RouteState::Unreachable, Some("the next hop is an address of our own".to_owned()))
            }
            (PathState::Selected, _) if is_best => (RouteState::Best, None),
            (PathState::Selected, _) => (RouteState::Multipath, None),
            (PathState::Accepted, _) => (RouteState::Usable, None),
        };
        let family = self.destinations.family(id);
        let next_hop = self.attributes.next_hop(attributes);
        RouteView {
            path_id: peer.is_some_and(|peer| peer.view.decode.add_path.contains(family)).then_some(path.id),
            state,
            reason,
            refusal: match path.state {
                PathState::Refused(refusal) => Some(refusal.name().to_owned()),
                _ => None,
            },
            stale: peer.is_some_and(|peer| peer.epoch(family) != path.epoch),
            age: self.seconds.saturating_sub(path.since),
            ..self.attributes_view(
                id,
                path.peer,
                &self.attributes.decode(attributes),
                (next_hop != NextHopKey::LOCAL).then_some(next_hop.global),
            )
        }
    }

    /// A route as a peer was sent it.
    pub(crate) fn sent_view(
        &self,
        id: DestinationId,
        source: PeerIndex,
        outgoing: &crate::export::Outgoing,
    ) -> RouteView {
        self.attributes_view(id, source, &outgoing.attributes, Some(outgoing.next_hop.global))
    }

    fn attributes_view(
        &self,
        id: DestinationId,
        source: PeerIndex,
        attributes: &PathAttributes,
        next_hop: Option<IpAddr>,
    ) -> RouteView {
        let communities = attributes.communities.iter().map(ToString::to_string);
        let extended = attributes.extended_communities.iter().map(ToString::to_string);
        let large = attributes.large_communities.iter().map(ToString::to_string);
        RouteView {
            prefix: self.destinations.prefix(id),
            peer: self.peers.get(source).map(|peer| peer.view.key.0.to_string()),
            path_id: None,
            state: RouteState::Advertised,
            reason: None,
            decision: None,
            rule: None,
            changes: Vec::new(),
            refusal: None,
            stale: false,
            age: 0,
            next_hop,
            origin: attributes.origin.to_string(),
            as_path: attributes.as_path.to_string(),
            med: attributes.med,
            local_pref: attributes.local_pref,
            communities: communities.chain(extended).chain(large).collect(),
            originator_id: attributes.originator_id,
            cluster_list: attributes.cluster_list.clone(),
        }
    }
}

/// The reason of a standing in words; `best` is the peer of the best route.
fn explain_step(
    state: RouteState,
    lost: Option<Step>,
    decision: Option<&Decision>,
    best: Option<&str>,
) -> Option<String> {
    match (state, lost, decision) {
        (RouteState::Best, _, None) => Some("the only usable path".to_owned()),
        (RouteState::Best, _, Some(Decision { step, rival })) => {
            Some(format!("{step}, against {}", rival.as_deref().unwrap_or("our own")))
        }
        (RouteState::Multipath, ..) => Some("equal to the best path up to the next hop's metric".to_owned()),
        (RouteState::Usable, Some(step), _) => {
            Some(format!("the best path has: {step} ({})", best.unwrap_or("our own")))
        }
        _ => None,
    }
}
