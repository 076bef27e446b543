//! What another configuration would change here.

use std::collections::BTreeMap;

use super::Speaker;
use super::peer::settings;
use crate::config::{PeerKey, SessionConfig, SpeakerConfig};
use crate::foresight::{Forecast, Judged, PeerForecast, foresee};
use crate::rib::Judges;

/// Most received routes that are listed for one peer.
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
    /// What `wanted` would change, also for what peers have announced so far. Nothing is done.
    pub fn foresee(&self, wanted: &SpeakerConfig) -> Forecast {
        let mut forecast = foresee(&self.config, wanted);
        let judges = Judges::new(&wanted.guard);
        let peers = wanted.peers.iter().map(|peer| (&peer.key, &peer.session));
        let ranges = wanted.listen_ranges.iter().map(|range| (&range.key, &range.session));
        let sessions: BTreeMap<&PeerKey, &SessionConfig> = peers.chain(ranges).collect();
        for (index, peer) in self.peers.iter() {
            let Some(session) = sessions.get(peer.range.as_ref().unwrap_or(&peer.key)) else { continue };
            let rejudged = self.rib.rejudged(index, &judges, &session.import);
            if rejudged.is_empty() {
                continue;
            }
            let name = peer.key.to_string();
            let place = forecast.peers.iter().position(|known| known.peer == name).unwrap_or_else(|| {
                forecast.peers.push(PeerForecast::unchanged(&peer.key));
                forecast.peers.len() - 1
            });
            let known = &mut forecast.peers[place];
            for route in rejudged {
                let list = if route.accepted { &mut known.accepts } else { &mut known.refuses };
                if list.len() < LISTED {
                    list.push(Judged { prefix: route.prefix, cause: route.cause });
                } else {
                    known.unlisted += 1;
                }
            }
        }
        forecast.peers.sort_by(|one, other| one.peer.cmp(&other.peer));
        forecast
    }
}
