//! What a speaker tells of itself while it runs.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::PeerKey;

/// Something that happened, for logs, events and whoever waits for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum SpeakerEvent {
    /// A session is established.
    SessionUp {
        /// The peer.
        peer: PeerKey,
        /// Its AS.
        asn: u32,
    },
    /// An established session ended.
    SessionDown {
        /// The peer.
        peer: PeerKey,
        /// Why, in words.
        reason: String,
        /// What can be done about it.
        remedy: Option<Cow<'static, str>>,
    },
    /// An attempt to get a session failed.
    AttemptFailed {
        /// The peer.
        peer: PeerKey,
        /// Why, in words.
        reason: String,
        /// What can be done about it.
        remedy: Option<Cow<'static, str>>,
    },
    /// The peer has sent all routes of a family (RFC 4724 §2).
    EndOfRib {
        /// The peer.
        peer: PeerKey,
        /// The family, in words.
        family: String,
    },
    /// The peer did not come back in its restart time; its routes of these families stay for their stale time,
    /// and are used only where there is nothing else (RFC 9494).
    LongLivedStale {
        /// The peer.
        peer: PeerKey,
        /// The families, in words.
        families: Vec<String>,
    },
    /// The peer did not come back in time; its stale routes are removed.
    RetentionExpired {
        /// The peer.
        peer: PeerKey,
    },
    /// A family was switched off until the session is reset, because an UPDATE could not be read (RFC 7606 §2).
    FamilyDisabled {
        /// The peer.
        peer: PeerKey,
        /// The family, in words.
        family: String,
    },
    /// A peer has so many prefixes that its limit is near; told once a session.
    PrefixLimitNear {
        /// The peer.
        peer: PeerKey,
        /// The family, in words.
        family: String,
        /// Prefixes that it has.
        received: u32,
        /// Most prefixes that it may have.
        most: u32,
    },
    /// A peer has more prefixes than it may, and its session stays all the same; told once a session.
    PrefixLimitExceeded {
        /// The peer.
        peer: PeerKey,
        /// The family, in words.
        family: String,
        /// Most prefixes that it may have.
        most: u32,
        /// Whether what comes beyond them is refused.
        discarded: bool,
    },
    /// Two internal peers have one BGP identifier: unless they are one router, each refuses the other's routes
    /// where they are reflected (RFC 4456 §8).
    SharedIdentifier {
        /// The peer that came later.
        peer: PeerKey,
        /// The identifier.
        id: Ipv4Addr,
        /// The other peer.
        other: PeerKey,
    },
    /// A reflected route that we do not originate names us as its originator: another router has our
    /// identifier. Told once a session.
    OwnIdentifierSeen {
        /// The peer that sent it.
        peer: PeerKey,
        /// Our identifier.
        id: Ipv4Addr,
        /// The destination.
        prefix: IpNet,
    },
    /// Every peer that can be waited for has sent its routes.
    Synced,
    /// An address cannot be listened on; it is tried again.
    ListenFailed {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        error: String,
    },
}
