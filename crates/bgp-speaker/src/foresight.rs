//! What another configuration would change: sessions, and what peers are told.
//!
//! Pure: both sides are configurations, judged by the very policies that judge routes. What is learned, and passed
//! on, only a running speaker knows: [`Speaker::foresee`](crate::Speaker::foresee).

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use muslin_bgp_packet::{Community, Family, PathAttributes};
use serde::{Deserialize, Serialize};

use crate::config::{
    ListenRange, NextHopChange, OriginatedRoute, PeerConfig, PeerKey, RemoteAs, SessionConfig, SpeakerConfig,
    Verdict,
};
use crate::policy::Trial;
use crate::rib::attributes_of;
use crate::speaker::needs_reset;

/// What would change, peer by peer; a peer for which nothing would is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// The peers, by name.
    pub peers: Vec<PeerForecast>,
}

/// What would change for one peer, or for all peers out of one listen range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerForecast {
    /// The peer or the range.
    pub peer: String,
    /// What becomes of the session.
    pub session: SessionForecast,
    /// Routes that the peer would be told: ours, and, from a running speaker, those that it passes on.
    pub gains: Vec<Told>,
    /// Routes that the peer is told and would not be told any more.
    pub loses: Vec<Told>,
    /// Routes that the peer would be told otherwise.
    pub changes: Vec<Retold>,
    /// Routes of the peer that are refused now and would be accepted; only a running speaker knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<Judged>,
    /// Routes of the peer that are accepted now and would be refused; only a running speaker knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuses: Vec<Judged>,
    /// Routes beyond the first thousand of each kind.
    #[serde(default)]
    pub unlisted: usize,
}

/// What becomes of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionForecast {
    /// It stays up.
    #[default]
    Kept,
    /// There would be a new one.
    Added,
    /// There would be none any more.
    Removed,
    /// It would be closed and opened again.
    Reset,
}

/// A route as a peer is told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Destination.
    pub prefix: IpNet,
    /// What it carries beyond the usual, in words.
    pub attributes: Vec<String>,
    /// Why it is announced, and the rules that let it pass.
    pub cause: String,
}

/// A route that a peer would be told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retold {
    /// Destination.
    pub prefix: IpNet,
    /// What it carries now.
    pub before: Vec<String>,
    /// What it would carry.
    pub after: Vec<String>,
    /// Why.
    pub cause: String,
}

/// A received route that would be judged otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// Destination.
    pub prefix: IpNet,
    /// What would decide.
    pub cause: String,
}

impl Forecast {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }
}

impl PeerForecast {
    /// A peer for which nothing changes.
    pub(crate) fn unchanged(peer: &PeerKey) -> Self {
        Self {
            peer: peer.to_string(),
            session: SessionForecast::Kept,
            gains: Vec::new(),
            loses: Vec::new(),
            changes: Vec::new(),
            accepts: Vec::new(),
            refuses: Vec::new(),
            unlisted: 0,
        }
    }

    /// Whether anything would change.
    pub(crate) fn is_something(&self) -> bool {
        self.session != SessionForecast::Kept
            || !(self.gains.is_empty() && self.loses.is_empty() && self.changes.is_empty())
            || !(self.accepts.is_empty() && self.refuses.is_empty())
    }
}

/// What `wanted` would change where `in_force` is configured. Nothing learned is looked at.
pub fn foresee(in_force: &SpeakerConfig, wanted: &SpeakerConfig) -> Forecast {
    let (before, after) = (ends(in_force), ends(wanted));
    let keys: BTreeSet<&PeerKey> = before.keys().chain(after.keys()).copied().collect();
    let identity_changes = (in_force.asn, in_force.router_id) != (wanted.asn, wanted.router_id);
    let peers = keys.into_iter().map(|key| {
        let (old, new) = (before.get(key), after.get(key));
        let session = match (old, new) {
            (Some(old), Some(new)) => {
                let reset = identity_changes
                    || old.place() != new.place()
                    || needs_reset((in_force, old.session()), (wanted, new.session()));
                if reset { SessionForecast::Reset } else { SessionForecast::Kept }
            }
            (None, _) => SessionForecast::Added,
            (_, None) => SessionForecast::Removed,
        };
        let told = |config: &SpeakerConfig, end: Option<&End<'_>>| {
            end.map(|end| told(config, end.session())).unwrap_or_default()
        };
        let (mut old, new) = (told(in_force, old), told(wanted, new));
        let mut forecast = PeerForecast { session, ..PeerForecast::unchanged(key) };
        for (prefix, told) in new {
            match old.remove(&prefix) {
                None => forecast.gains.push(told),
                Some(before) if before.attributes != told.attributes => forecast.changes.push(Retold {
                    prefix,
                    before: before.attributes,
                    after: told.attributes,
                    cause: told.cause,
                }),
                Some(_) => {}
            }
        }
        forecast.loses.extend(old.into_values());
        forecast
    });
    Forecast { peers: peers.filter(PeerForecast::is_something).collect() }
}

/// A peer, or a range of peers.
enum End<'a> {
    Peer(&'a PeerConfig),
    Range(&'a ListenRange),
}

impl End<'_> {
    fn session(&self) -> &SessionConfig {
        match self {
            Self::Peer(peer) => &peer.session,
            Self::Range(range) => &range.session,
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Peer(peer) => format!("{} {:?} {}", peer.address, peer.interface, peer.port),
            Self::Range(range) => range.range.to_string(),
        }
    }
}

fn ends(config: &SpeakerConfig) -> BTreeMap<&PeerKey, End<'_>> {
    let peers = config.peers.iter().map(|peer| (&peer.key, End::Peer(peer)));
    peers.chain(config.listen_ranges.iter().map(|range| (&range.key, End::Range(range)))).collect()
}

/// What a peer is told of what we originate.
fn told(config: &SpeakerConfig, session: &SessionConfig) -> BTreeMap<IpNet, Told> {
    if session.shutdown.is_some() {
        return BTreeMap::new();
    }
    let internal = match session.remote_as {
        RemoteAs::Internal => true,
        RemoteAs::External => false,
        RemoteAs::Is(asn) => asn == config.asn,
    };
    let routes = config.originated.iter().filter_map(|route| {
        let told = tell(route, session, internal)?;
        Some((route.prefix, told))
    });
    let mut first = BTreeMap::new();
    for (prefix, told) in routes {
        first.entry(prefix).or_insert(told);
    }
    first
}

fn tell(route: &OriginatedRoute, session: &SessionConfig, internal: bool) -> Option<Told> {
    let family = match route.prefix {
        IpNet::V4(_) => Family::Ipv4Unicast,
        IpNet::V6(_) => Family::Ipv6Unicast,
    };
    let carries = |community| route.communities.contains(&community);
    let stays = !internal && (carries(Community::NO_EXPORT) || carries(Community::NO_EXPORT_SUBCONFED));
    if !session.families.contains(&family) || carries(Community::NO_ADVERTISE) || stays {
        return None;
    }
    let tried = session.export.try_on(&Trial {
        prefix: route.prefix,
        source: route.source,
        label: route.label.clone(),
        peer: None,
        next_hop: None,
        attributes: attributes_of(route),
    });
    if tried.verdict == Verdict::Reject {
        return None;
    }
    let mut attributes = in_words(&tried.attributes, internal);
    attributes.extend(tried.next_hop.map(|change| match change {
        NextHopChange::Itself => "next hop self".to_owned(),
        NextHopChange::Unchanged => "next hop unchanged".to_owned(),
        NextHopChange::Address(address) => format!("next hop {address}"),
    }));
    Some(Told { prefix: route.prefix, attributes, cause: route.cause.to_string() })
}

/// Attributes beyond the usual ones, in words; LOCAL_PREF stays within an AS.
pub fn in_words(attributes: &PathAttributes, internal: bool) -> Vec<String> {
    let mut words = Vec::new();
    words.extend(attributes.local_pref.filter(|_| internal).map(|value| format!("local-pref {value}")));
    words.extend(attributes.med.map(|value| format!("MED {value}")));
    let path = attributes.as_path.to_string();
    if !path.is_empty() {
        words.push(format!("AS path {path}"));
    }
    words.extend(attributes.communities.iter().map(ToString::to_string));
    words.extend(attributes.extended_communities.iter().map(ToString::to_string));
    words.extend(attributes.large_communities.iter().map(ToString::to_string));
    words
}
