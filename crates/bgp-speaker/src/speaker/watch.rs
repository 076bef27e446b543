//! Following a table as it changes: first all of it, then what changes, each destination in its newest state.
//!
//! A reader pulls when it has room. What changes meanwhile is noted by name only, so a slow reader costs
//! nothing but the names, of which a bounded number is kept; beyond that it begins anew.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Speaker;
use super::query::{Answer, Query};
use crate::config::PeerKey;
use crate::rib::{Follower, Lagged, Matching, RouteFilter, RouteView, Tapped};

/// One table that is followed.
#[derive(Clone, Debug)]
pub struct TableWatch {
    query: Query,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// Nothing was told yet.
    New,
    /// The table is told, the next page after this prefix.
    Telling(Follower, Option<IpNet>),
    /// The table was told; changes follow.
    Following(Follower),
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum TableEvent {
    /// All routes of one destination, as they are now; none of them is left if the list is empty.
    Routes {
        /// The destination.
        prefix: IpNet,
        /// Its routes.
        routes: Vec<RouteView>,
    },
    /// Everything that was there at the beginning has been told.
    Complete,
    /// The reader was too slow, or the table is another one: forget everything, it is told again.
    Restarted,
}

impl TableWatch {
    /// Follows the table that a query asks for; what it says about pages does not count.
    pub fn new(query: Query) -> Self {
        Self { query, phase: Phase::New }
    }

    /// The peer whose table it is.
    pub fn peer(&self) -> Option<&PeerKey> {
        match &self.query {
            Query::AdjRibIn { peer, .. } | Query::AdjRibOut { peer, .. } => Some(peer),
            Query::LocRib(_) | Query::Explain(_) => None,
        }
    }

    fn filter(&self) -> RouteFilter {
        match &self.query {
            Query::LocRib(filter) | Query::AdjRibIn { filter, .. } | Query::AdjRibOut { filter, .. } => {
                filter.clone()
            }
            Query::Explain(_) => RouteFilter::default(),
        }
    }

    fn with_filter(&self, filter: RouteFilter) -> Query {
        match &self.query {
            Query::AdjRibIn { peer, .. } => Query::AdjRibIn { peer: peer.clone(), filter },
            Query::AdjRibOut { peer, .. } => Query::AdjRibOut { peer: peer.clone(), filter },
            Query::LocRib(_) | Query::Explain(_) => Query::LocRib(filter),
        }
    }

    /// Whether a prefix belongs to what is asked for.
    fn asks_for(&self, prefix: IpNet) -> bool {
        let filter = self.filter();
        match (filter.prefix, filter.matching) {
            (None, _) => true,
            (Some(wanted), Matching::Exact) => wanted == prefix,
            (Some(wanted), Matching::Within) => wanted.contains(&prefix),
        }
    }
}

impl Speaker {
    /// Tells what is new in a table that is followed, about `max` events of it. Nothing is new when the list is
    /// empty; [`Speaker::revision`] says when it is worth asking again.
    pub fn watch(&self, watch: &mut TableWatch, max: usize) -> Vec<TableEvent> {
        let mut events = Vec::new();
        while events.len() < max {
            let before = events.len();
            match std::mem::replace(&mut watch.phase, Phase::New) {
                Phase::New => watch.phase = Phase::Telling(self.rib.follow(), None),
                Phase::Telling(follower, after) => {
                    let filter = RouteFilter { after, limit: max - before, ..watch.filter() };
                    let Answer::Routes(page) = self.query(&watch.with_filter(filter)) else {
                        // Its peer is gone for now.
                        watch.phase = Phase::Following(follower);
                        events.push(TableEvent::Complete);
                        continue;
                    };
                    events.extend(by_destination(page.routes));
                    watch.phase = if page.next.is_some() {
                        Phase::Telling(follower, page.next)
                    } else {
                        events.push(TableEvent::Complete);
                        Phase::Following(follower)
                    };
                }
                Phase::Following(mut follower) => {
                    match self.changed(watch, &mut follower, max - before) {
                        Ok(Some(changed)) => {
                            watch.phase = Phase::Following(follower);
                            events.extend(changed);
                            if events.len() == before {
                                return events;
                            }
                        }
                        // A session that comes or goes is another table.
                        Ok(None) | Err(Lagged) => events.push(TableEvent::Restarted),
                    }
                }
            }
        }
        events
    }

    /// The newest state of what changed, about `max` destinations; `None` if the table is another one now.
    fn changed(
        &self,
        watch: &TableWatch,
        follower: &mut Follower,
        max: usize,
    ) -> Result<Option<Vec<TableEvent>>, Lagged> {
        let index = watch.peer().and_then(|key| self.peers.find_by_key(key));
        let mut prefixes = BTreeSet::new();
        while prefixes.len() < max
            && let Some(change) = self.rib.next_tapped(follower)?
        {
            let prefix = match (change, &watch.query) {
                (Tapped::Best(prefix) | Tapped::Path { prefix, .. }, Query::LocRib(_))
                | (Tapped::Sent(prefix), Query::AdjRibOut { .. }) => prefix,
                (Tapped::Path { peer, prefix, .. }, Query::AdjRibIn { .. }) if Some(*peer) == index => prefix,
                (Tapped::Up(peer) | Tapped::Down(peer, _), Query::AdjRibOut { .. })
                    if Some(*peer) == index =>
                {
                    return Ok(None);
                }
                _ => continue,
            };
            prefixes.insert(*prefix);
        }
        prefixes.retain(|prefix| watch.asks_for(*prefix));
        let event = |prefix: IpNet| {
            let filter = RouteFilter {
                prefix: Some(prefix),
                matching: Matching::Exact,
                after: None,
                ..watch.filter()
            };
            let routes = match self.query(&watch.with_filter(filter)) {
                Answer::Routes(page) => page.routes,
                Answer::Explanation(_) | Answer::NoSuchPeer(_) => Vec::new(),
            };
            TableEvent::Routes { prefix, routes }
        };
        Ok(Some(prefixes.into_iter().map(event).collect()))
    }

    /// A number that is another one whenever there may be something new to see.
    pub fn revision(&self) -> u64 {
        self.told.wrapping_add(self.rib.tapped())
    }
}

/// The routes of a page, those of one destination together.
fn by_destination(routes: Vec<RouteView>) -> Vec<TableEvent> {
    let mut events: Vec<TableEvent> = Vec::new();
    for route in routes {
        match events.last_mut() {
            Some(TableEvent::Routes { prefix, routes }) if *prefix == route.prefix => routes.push(route),
            _ => events.push(TableEvent::Routes { prefix: route.prefix, routes: vec![route] }),
        }
    }
    events
}
