//! From one topology of nodes to another without losing a route: make before break.
//!
//! When nodes become route reflectors, or cease to be, the plan of every node changes at once, but not at the same
//! moment. A session between nodes that the new plan no longer has therefore stays until those that it does have
//! carry their routes, and a while longer, for the nodes that come later; and who ceases to reflect goes on as
//! long. Sessions with nodes that are gone, and those that a `BGPPeer` asks for, are no matter of this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use muslin_bgp_speaker::config::{PeerConfig, PeerKey, ReflectorRole, SpeakerConfig};

/// How long old sessions stay at least: others look at the same change later, and connect after that.
const LINGER: Duration = Duration::from_secs(20);

/// After so long one new session is enough: a reflector that is down must not keep a mesh for ever.
const PATIENCE: Duration = Duration::from_mins(3);

/// What of the last topology is still needed.
#[derive(Clone, Debug, Default)]
pub struct Handover {
    /// The sessions between nodes as they were applied last.
    applied: BTreeMap<PeerKey, PeerConfig>,
    /// Those of them that the plan has no more, or has otherwise.
    kept: BTreeMap<PeerKey, PeerConfig>,
    since: Option<Instant>,
}

/// The other node of a session between nodes.
fn node_of(key: &PeerKey) -> Option<&str> {
    key.0.strip_prefix("node/")?.rsplit_once('/').map(|(node, _)| node)
}

fn reflects(peer: &PeerConfig) -> bool {
    peer.session.reflector == ReflectorRole::Client
}

impl Handover {
    /// What the speaker is to be: as planned, and what is kept of before. `nodes` are the cluster's, `ready` the
    /// peers that have sent all their routes.
    pub fn apply(
        &mut self,
        now: Instant,
        mut wanted: SpeakerConfig,
        nodes: &BTreeSet<Arc<str>>,
        ready: &BTreeSet<PeerKey>,
    ) -> SpeakerConfig {
        let of_nodes: BTreeMap<_, _> = wanted
            .peers
            .iter()
            .filter(|peer| node_of(&peer.key).is_some())
            .map(|peer| (peer.key.clone(), peer.clone()))
            .collect();
        let ceases = |old: &PeerConfig| match of_nodes.get(&old.key) {
            None => true,
            Some(new) => reflects(old) && !reflects(new),
        };
        let mut kept = std::mem::take(&mut self.kept);
        for (key, old) in &self.applied {
            if ceases(old) && !kept.contains_key(key) {
                kept.insert(key.clone(), old.clone());
                self.since = Some(now);
            }
        }
        let taken: BTreeSet<_> = wanted
            .peers
            .iter()
            .filter(|peer| node_of(&peer.key).is_none())
            .map(|peer| (peer.address, peer.interface.clone()))
            .collect();
        kept.retain(|key, old| {
            ceases(old)
                && node_of(key).is_some_and(|node| nodes.contains(node))
                && !taken.contains(&(old.address, old.interface.clone()))
        });
        let waited = self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let arrived = of_nodes.keys().filter(|key| ready.contains(*key)).count();
        let enough = arrived == of_nodes.len() || (arrived > 0 && waited >= PATIENCE);
        // Where no session between nodes is wanted any more, there is nothing to hand over to.
        if of_nodes.is_empty() || (enough && waited >= LINGER) {
            kept.clear();
        }
        for (key, old) in &kept {
            match wanted.peers.iter_mut().find(|peer| peer.key == *key) {
                Some(peer) => *peer = old.clone(),
                None => wanted.peers.push(old.clone()),
            }
        }
        self.applied = of_nodes;
        self.applied.extend(kept.iter().map(|(key, old)| (key.clone(), old.clone())));
        if kept.is_empty() {
            self.since = None;
        }
        self.kept = kept;
        wanted
    }

    /// Whether something is kept, so that time and sessions matter.
    pub fn is_under_way(&self) -> bool {
        !self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests;
