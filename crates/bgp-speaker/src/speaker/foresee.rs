//! What another configuration would change here.

use std::collections::{BTreeMap, HashSet};

use super::Speaker;
use super::peer::settings;
use crate::config::{PeerKey, SessionConfig, SpeakerConfig};
use crate::foresight::{Forecast, Judged, PeerForecast, SessionForecast, foresee};
use crate::rib::{Judges, PassedOn, Rejudged};

/// Most routes of a kind that are listed for one peer.
const LISTED: usize = 1_000;

/// Whether a session would have to be opened anew to run by another configuration.
pub(crate) fn needs_reset(
    (in_force, before): (&SpeakerConfig, &SessionConfig),
    (wanted, after): (&SpeakerConfig, &SessionConfig),
) -> bool {
    // The address only salts timers, which no negotiation depends on.
    let nowhere = std::net::Ipv4Addr::UNSPECIFIED.into();
    let same = settings(in_force, before, nowhere).same_negotiation(&settings(wanted, after, nowhere));
    !same
        || super::rib_seam::differ_in_view(before, after)
        || before.shutdown.is_some() != after.shutdown.is_some()
}

impl Speaker {
    /// What `wanted` would change, also for what peers have announced so far and are passed on. Nothing is done.
    /// What a route that would be accepted from now on means for other peers is not foreseen.
    pub fn foresee(&self, wanted: &SpeakerConfig) -> Forecast {
        let mut forecast = foresee(&self.config, wanted);
        let judges = Judges::new(&wanted.guard);
        let peers = wanted.peers.iter().map(|peer| (&peer.key, &*peer.session));
        let ranges = wanted.listen_ranges.iter().map(|range| (&range.key, &range.session));
        let sessions: BTreeMap<&PeerKey, &SessionConfig> = peers.chain(ranges).collect();
        let (mut stay, mut gone) = (Vec::new(), HashSet::new());
        for (index, peer) in self.peers.iter() {
            match sessions.get(peer.range.as_ref().unwrap_or(&peer.key)) {
                Some(session) => stay.push((index, &peer.key, *session)),
                None => gone.extend(self.rib.paths_of(index)),
            }
        }
        for (index, key, session) in &stay {
            let rejudged = self.rib.rejudged(*index, &judges, &session.import);
            gone.extend(rejudged.iter().filter(|route| !route.accepted).map(|route| route.path));
            if !rejudged.is_empty() {
                forecast.entry(key).judge(rejudged);
            }
        }
        for (index, key, session) in stay {
            let reset = forecast
                .peers
                .iter()
                .any(|peer| peer.peer == key.0.as_ref() && peer.session == SessionForecast::Reset);
            let passed_on = self.rib.passed_on(index, &session.export, &gone);
            if !reset && passed_on != PassedOn::default() {
                forecast.entry(key).pass_on(passed_on);
            }
        }
        forecast.peers.sort_by(|one, other| one.peer.cmp(&other.peer));
        forecast
    }
}

impl Forecast {
    /// What is foreseen for a peer, unchanged so far if nothing is.
    fn entry(&mut self, peer: &PeerKey) -> &mut PeerForecast {
        let place = self.peers.iter().position(|known| *known.peer == *peer.0).unwrap_or_else(|| {
            self.peers.push(PeerForecast::unchanged(peer));
            self.peers.len() - 1
        });
        &mut self.peers[place]
    }
}

impl PeerForecast {
    fn judge(&mut self, rejudged: Vec<Rejudged>) {
        let (accepts, refuses): (Vec<_>, _) = rejudged.into_iter().partition(|route| route.accepted);
        let judged = |route: Rejudged| Judged { prefix: route.prefix, cause: route.cause };
        self.unlisted += extend(&mut self.accepts, accepts.into_iter().map(judged));
        self.unlisted += extend(&mut self.refuses, refuses.into_iter().map(judged));
    }

    fn pass_on(&mut self, PassedOn { gains, loses, changes }: PassedOn) {
        self.unlisted += extend(&mut self.gains, gains.into_iter());
        self.unlisted += extend(&mut self.loses, loses.into_iter());
        self.unlisted += extend(&mut self.changes, changes.into_iter());
    }
}

/// Lists so many more as there is room for, and returns how many it had no room for.
fn extend<T>(list: &mut Vec<T>, mut more: impl Iterator<Item = T>) -> usize {
    list.extend(more.by_ref().take(LISTED.saturating_sub(list.len())));
    more.count()
}
