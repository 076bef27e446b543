//! Which of the speaker's events the cluster is told, and how many.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use muslin_bgp_speaker::config::PeerKey;
use muslin_bgp_speaker::{PeerStatus, SpeakerEvent};
use muslin_cluster::{NodeEvent, peer_of_cause};

use super::bucket::Bucket;
use crate::daemon::Plan;

/// Events of one peer and reason are told at most so often.
const SAME_AGAIN: Duration = Duration::from_mins(1);

/// How many are told in a row, and how long it takes for one more.
const BURST: u32 = 20;
const ONE_MORE: Duration = Duration::from_secs(6);

/// Most peers whose last events are remembered.
const REMEMBERED: usize = 1_000;

/// Most reasons of refusal that one event gives.
const REASONS: usize = 3;

/// The event as the cluster is told it, if it is.
pub(super) fn event(event: &SpeakerEvent, plan: Option<&Plan>) -> Option<NodeEvent> {
    let because = |reason: &str, remedy: &Option<std::borrow::Cow<'static, str>>| match remedy {
        Some(remedy) => format!("{reason}; {remedy}"),
        None => reason.to_owned(),
    };
    let (peer, warning, reason, note) = match event {
        SpeakerEvent::SessionUp { peer, asn } => {
            (peer, false, "SessionUp", format!("the session with {} (AS {asn}) is up", peer.0))
        }
        SpeakerEvent::SessionDown { peer, reason, remedy } => {
            let why = because(reason, remedy);
            (peer, true, "SessionDown", format!("the session with {} went down: {why}", peer.0))
        }
        SpeakerEvent::AttemptFailed { peer, reason, remedy } => {
            let why = because(reason, remedy);
            (peer, true, "SessionFailed", format!("there is no session with {}: {why}", peer.0))
        }
        SpeakerEvent::PrefixLimitNear { peer, family, received, most } => {
            let note = format!(
                "{} has sent {received} of at most {most} {family} prefixes; raise `maxPrefixes`, or see what it \
                 announces",
                peer.0
            );
            (peer, true, "PrefixLimitNear", note)
        }
        SpeakerEvent::PrefixLimitExceeded { peer, family, most, discarded } => {
            let fate = if *discarded { "what comes beyond is refused" } else { "nothing is refused" };
            let note = format!(
                "{} has sent more than {most} {family} prefixes, and {fate}; raise `maxPrefixes`, or see what it \
                 announces",
                peer.0
            );
            (peer, true, "PrefixLimitExceeded", note)
        }
        SpeakerEvent::FamilyDisabled { peer, family } => {
            let note = format!(
                "{family} of {} is off until the session is reset: an UPDATE could not be read (RFC 7606)",
                peer.0
            );
            (peer, true, "FamilyDisabled", note)
        }
        SpeakerEvent::RetentionExpired { peer } => {
            let note = format!("{} did not come back in its restart time: its routes are removed", peer.0);
            (peer, true, "RoutesExpired", note)
        }
        SpeakerEvent::LongLivedStale { peer, families } => {
            let families = families.join(", ");
            let note = format!("{} did not come back: its routes ({families}) are a last resort now", peer.0);
            (peer, true, "RoutesStale", note)
        }
        SpeakerEvent::SharedIdentifier { peer, id, other } => {
            let note = format!("{} and {} have one BGP identifier, {id}; give each its own", peer.0, other.0);
            (peer, true, "SharedIdentifier", note)
        }
        SpeakerEvent::OwnIdentifierSeen { peer, id, prefix } => {
            let note = format!(
                "{} reflects {prefix} with our BGP identifier {id}, which another router must have too; give each \
                 its own",
                peer.0
            );
            (peer, true, "OwnIdentifierSeen", note)
        }
        _ => return None,
    };
    let peer_object = plan.and_then(|plan| bgp_peer(plan, peer));
    Some(NodeEvent { warning, reason, about: peer.0.to_string(), note, peer: peer_object, uid: None })
}

/// The `BGPPeer` that a session comes from; those of the mesh come from none.
fn bgp_peer(plan: &Plan, key: &PeerKey) -> Option<String> {
    let cause = plan.speaker().peers.iter().find(|peer| peer.key == *key).map(|peer| peer.cause.clone())?;
    peer_of_cause(&cause).map(ToOwned::to_owned)
}

/// Says which peers' routes began to be refused, and why, each reason once a session.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(BTreeMap<PeerKey, BTreeSet<String>>);

impl Refusals {
    /// What is new since the last look.
    pub(super) fn look(&mut self, peers: &[PeerStatus]) -> Vec<NodeEvent> {
        self.0.retain(|key, _| peers.iter().any(|peer| peer.key == *key && peer.established));
        let established = peers.iter().filter(|peer| peer.established);
        let events = established.filter_map(|peer| {
            let known = self.0.entry(peer.key.clone()).or_default();
            let new: Vec<_> = peer
                .refused
                .iter()
                .filter(|(reason, count)| **count > 0 && is_worth_telling(reason))
                .filter(|(reason, _)| known.insert((*reason).clone()))
                .map(|(reason, count)| format!("{count}: {reason}"))
                .collect();
            let key = &peer.key.0;
            (!new.is_empty()).then(|| NodeEvent {
                warning: true,
                reason: "RoutesRefused",
                about: key.to_string(),
                note: format!(
                    "routes of {key} are refused ({}); see `muslin routes received --peer {key} --rejected`",
                    new.iter().take(REASONS).cloned().collect::<Vec<_>>().join(", ")
                ),
                peer: peer_of_cause(&peer.cause).map(ToOwned::to_owned),
                uid: None,
            })
        });
        events.collect()
    }
}

/// Routes that come back to us, Services of other nodes and what a filter refuses are as they should be.
fn is_worth_telling(reason: &str) -> bool {
    use muslin_bgp_speaker::rib::Refusal;
    let ordinary = [
        Refusal::OwnAs,
        Refusal::OwnOriginator,
        Refusal::OwnCluster,
        Refusal::OwnBlock,
        Refusal::ServiceRange,
        Refusal::Policy,
    ];
    ordinary.iter().all(|ordinary| ordinary.name() != reason)
}

/// Keeps a flapping peer from filling the cluster's events.
#[derive(Clone, Debug)]
pub(super) struct EventLimit {
    last: BTreeMap<(String, &'static str), Instant>,
    bucket: Bucket,
}

impl Default for EventLimit {
    fn default() -> Self {
        Self { last: BTreeMap::new(), bucket: Bucket::new(BURST, ONE_MORE) }
    }
}

impl EventLimit {
    /// Whether one more may be told.
    pub(super) fn allows(&mut self, now: Instant, event: &NodeEvent) -> bool {
        self.last.retain(|_, at| now.duration_since(*at) < SAME_AGAIN);
        let key = (event.about.clone(), event.reason);
        if self.last.len() >= REMEMBERED || self.last.contains_key(&key) || !self.bucket.take(now) {
            return false;
        }
        self.last.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(peer: &str) -> NodeEvent {
        NodeEvent {
            warning: true,
            reason: "SessionDown",
            about: peer.to_owned(),
            note: String::new(),
            peer: None,
            uid: None,
        }
    }

    #[test]
    fn a_flapping_peer_is_told_of_once_a_minute() {
        let (mut limit, now) = (EventLimit::default(), Instant::now());
        let told = (0..120).filter(|second| limit.allows(now + Duration::from_secs(*second), &down("tor")));
        assert_eq!(told.count(), 2);
    }

    #[test]
    fn many_peers_at_once_are_told_of_up_to_a_bound() {
        let (mut limit, now) = (EventLimit::default(), Instant::now());
        let told = (0..500).filter(|peer| limit.allows(now, &down(&peer.to_string()))).count();
        assert_eq!(told, BURST as usize);
        assert!(limit.allows(now + ONE_MORE, &down("another")));
        assert!(!limit.allows(now + ONE_MORE, &down("one more")));
    }

    #[test]
    fn a_route_that_comes_back_is_not_told_and_one_that_covers_our_address_is() {
        assert!(!is_worth_telling("own-as") && !is_worth_telling("policy"));
        assert!(is_worth_telling("own-address") && is_worth_telling("prefix-limit"));
    }

    #[test]
    fn a_cause_names_the_peer_object() {
        assert_eq!(peer_of_cause("BGPPeer tor"), Some("tor"));
        assert_eq!(peer_of_cause("BGPPeer tor .spec.interfaces[0]"), Some("tor"));
        assert_eq!(peer_of_cause("Node n2 .status.addresses[0].address, the node mesh"), None);
    }
}
