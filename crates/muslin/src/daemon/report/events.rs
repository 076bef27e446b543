//! Which of the speaker's events the cluster is told, and how many.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muslin_bgp_speaker::SpeakerEvent;
use muslin_bgp_speaker::config::PeerKey;
use muslin_cluster::NodeEvent;

use crate::daemon::Plan;

/// Events of one peer and reason are told at most so often.
const SAME_AGAIN: Duration = Duration::from_mins(1);

/// How many are told in a row, and how long it takes for one more.
const BURST: u32 = 20;
const ONE_MORE: Duration = Duration::from_secs(6);

/// Most peers whose last events are remembered.
const REMEMBERED: usize = 1_000;

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
        _ => return None,
    };
    let peer_object = plan.and_then(|plan| bgp_peer(plan, peer));
    Some(NodeEvent { warning, reason, about: peer.0.to_string(), note, peer: peer_object })
}

/// The `BGPPeer` that a session comes from; those of the mesh come from none.
fn bgp_peer(plan: &Plan, key: &PeerKey) -> Option<String> {
    let cause = plan.speaker().peers.iter().find(|peer| peer.key == *key).map(|peer| peer.cause.clone())?;
    named(&cause).map(ToOwned::to_owned)
}

/// The name in `BGPPeer NAME …`.
pub(super) fn named(cause: &str) -> Option<&str> {
    cause.strip_prefix("BGPPeer ")?.split([' ', ',']).next()
}

/// Keeps a flapping peer from filling the cluster's events.
#[derive(Clone, Debug, Default)]
pub(super) struct EventLimit {
    last: BTreeMap<(String, &'static str), Instant>,
    spent: u32,
    refilled: Option<Instant>,
}

impl EventLimit {
    /// Whether one more may be told.
    pub(super) fn allows(&mut self, now: Instant, event: &NodeEvent) -> bool {
        let refilled = *self.refilled.get_or_insert(now);
        let more =
            u32::try_from(now.duration_since(refilled).as_secs() / ONE_MORE.as_secs()).unwrap_or(u32::MAX);
        if more > 0 {
            self.spent = self.spent.saturating_sub(more);
            self.refilled = Some(now);
        }
        self.last.retain(|_, at| now.duration_since(*at) < SAME_AGAIN);
        let key = (event.about.clone(), event.reason);
        if self.spent >= BURST || self.last.len() >= REMEMBERED || self.last.contains_key(&key) {
            return false;
        }
        self.last.insert(key, now);
        self.spent += 1;
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
    fn a_cause_names_the_peer_object() {
        assert_eq!(named("BGPPeer tor"), Some("tor"));
        assert_eq!(named("BGPPeer tor .spec.interfaces[0]"), Some("tor"));
        assert_eq!(named("Node n2 .status.addresses[0].address, the node mesh"), None);
    }
}
