//! A route that need not exist, tried on the guard and the policies of a configuration.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
pub use muslin_bgp_packet::{AnyCommunity, Asn};
use muslin_bgp_packet::{AsPath, PathAttributes};
use serde::{Deserialize, Serialize};

use crate::config::{Policy, RemoteAs, RouteSource, SessionConfig, SpeakerConfig, Verdict};
use crate::policy::{Trial, Tried};
use crate::rib::{Bearer, GuardRefusal, attributes_of, changes, guard_verdict};

/// Which way a route goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProbeDirection {
    /// From a peer.
    Import,
    /// To a peer.
    Export,
}

impl fmt::Display for ProbeDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Import => "import",
            Self::Export => "export",
        })
    }
}

/// The route, and the ways that it is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Destination.
    pub prefix: IpNet,
    /// The peer, or listen range, that sends it; without one it is what we originate.
    pub from: Option<String>,
    /// The peer or listen range that may be sent it; without one, all of them.
    pub to: Option<String>,
    /// Only this way; without it both, as far as they apply.
    pub direction: Option<ProbeDirection>,
    /// Next hop; the sender's address if there is none.
    pub next_hop: Option<IpAddr>,
    /// AS path; the sender's AS if it is empty.
    pub as_path: Vec<Asn>,
    /// Communities of any kind.
    pub communities: Vec<AnyCommunity>,
    /// MED.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
}

/// What becomes of the route at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeStep {
    /// The way.
    pub direction: ProbeDirection,
    /// The peer or listen range.
    pub peer: String,
    /// Whether it passes.
    pub accepted: bool,
    /// What decided: the guard, or a policy by its name.
    pub decided_by: String,
    /// Where the rules are written that applied, in their order; the last one decided. None if no rule did.
    pub rules: Vec<String>,
    /// What was changed.
    pub changes: Vec<String>,
}

/// Why nothing could be tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// There is no such peer.
    #[error("there is no peer {name}; there are: {known}")]
    NoSuchPeer {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Nobody sends the route.
    #[error("nothing originates {prefix}; name the peer that it comes from")]
    NotOriginated {
        /// The route.
        prefix: IpNet,
    },
    /// An import without a peer.
    #[error("a route is imported from a peer; name the one that it comes from")]
    NoSender,
}

/// Tries a route on `config`, by the code that judges routes. Loops, next hops and what sessions do to a route
/// are not looked at.
///
/// # Errors
/// The question names a peer or a route that there is not.
pub fn probe(config: &SpeakerConfig, question: &Probe) -> Result<Vec<ProbeStep>, ProbeError> {
    let ends = ends(config);
    let find = |name: &String| {
        let found = ends.iter().find(|(known, ..)| known == name);
        found.ok_or_else(|| ProbeError::NoSuchPeer {
            name: name.clone(),
            known: ends.iter().map(|(known, ..)| known.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    let mut steps = Vec::new();
    let (source, label, attributes, sender) = match &question.from {
        Some(name) => {
            let (name, address, session) = find(name)?;
            let attributes = received(config, question, session);
            let next_hop = question.next_hop.unwrap_or(*address);
            let key = crate::config::PeerKey::new(name);
            let trial = Trial {
                prefix: question.prefix,
                source: RouteSource::Learned,
                label: None,
                peer: Some((key, *address)),
                next_hop: Some(next_hop),
                attributes,
            };
            let (step, attributes) = import(config, name, session, &trial);
            let accepted = step.accepted;
            if question.direction != Some(ProbeDirection::Export) {
                steps.push(step);
                if !accepted || question.direction == Some(ProbeDirection::Import) {
                    return Ok(steps);
                }
            }
            (RouteSource::Learned, None, attributes, trial.peer.map(|peer| (peer, next_hop)))
        }
        None if question.direction == Some(ProbeDirection::Import) => return Err(ProbeError::NoSender),
        None => {
            let route = config.originated.iter().find(|route| route.prefix == question.prefix);
            let Some(route) = route else {
                return Err(ProbeError::NotOriginated { prefix: question.prefix });
            };
            (route.source, route.label.clone(), attributes_of(route), None)
        }
    };
    let trial = Trial {
        prefix: question.prefix,
        source,
        label,
        next_hop: sender.as_ref().map(|(_, next_hop)| *next_hop),
        peer: sender.map(|(peer, _)| peer),
        attributes,
    };
    let to = question.to.as_ref().map(find).transpose()?;
    let receivers = ends.iter().filter(|(name, ..)| match to {
        Some((wanted, ..)) => name == wanted,
        None => question.from.as_ref() != Some(name),
    });
    steps.extend(receivers.map(|(name, _, session)| {
        step(ProbeDirection::Export, name, &session.export, &trial.attributes, &session.export.try_on(&trial))
    }));
    Ok(steps)
}

fn import(
    config: &SpeakerConfig,
    name: &str,
    session: &SessionConfig,
    trial: &Trial,
) -> (ProbeStep, PathAttributes) {
    let next_hop = trial.next_hop.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let origin = trial.attributes.as_path.origin();
    let bearer = Bearer { external: !is_internal(config, session), origin, next_hop };
    if let Err(GuardRefusal { reason, range }) = guard_verdict(&config.guard, trial.prefix, bearer) {
        let refused = ProbeStep {
            direction: ProbeDirection::Import,
            peer: name.to_owned(),
            accepted: false,
            decided_by: format!("import guard: {reason}"),
            rules: range.into_iter().collect(),
            changes: Vec::new(),
        };
        return (refused, trial.attributes.clone());
    }
    let tried = session.import.try_on(trial);
    let attributes = tried.attributes.clone();
    (step(ProbeDirection::Import, name, &session.import, &trial.attributes, &tried), attributes)
}

fn step(
    direction: ProbeDirection,
    peer: &str,
    policy: &Policy,
    before: &PathAttributes,
    tried: &Tried,
) -> ProbeStep {
    let accepted = tried.verdict == Verdict::Accept;
    let mut words = if accepted { changes(before, &tried.attributes) } else { Vec::new() };
    words.extend(tried.next_hop.map(|change| format!("next hop → {change:?}")));
    words.extend(tried.priority.map(|metric| format!("metric in the kernel → {metric}")));
    let decided_by =
        if tried.decided { policy.name.to_string() } else { format!("{}, no rule matches", policy.name) };
    let rules = tried.causes.iter().map(ToString::to_string).collect();
    ProbeStep { direction, peer: peer.to_owned(), accepted, decided_by, rules, changes: words }
}

/// The route's attributes as the sender would send them.
fn received(config: &SpeakerConfig, question: &Probe, session: &SessionConfig) -> PathAttributes {
    let path = match (question.as_path.as_slice(), session.remote_as) {
        ([], RemoteAs::Is(asn)) if !is_internal(config, session) => vec![asn],
        (path, _) => path.to_vec(),
    };
    let as_path = path.iter().rev().fold(AsPath::empty(), |path, asn| path.prepended(*asn, 1));
    let mut attributes = PathAttributes {
        as_path,
        med: question.med,
        local_pref: question.local_pref,
        ..PathAttributes::default()
    };
    for community in &question.communities {
        match community {
            AnyCommunity::Standard(community) => attributes.communities.push(*community),
            AnyCommunity::Extended(community) => attributes.extended_communities.push(*community),
            AnyCommunity::Large(community) => attributes.large_communities.push(*community),
        }
    }
    attributes.communities.sort_unstable();
    attributes.extended_communities.sort_unstable();
    attributes.large_communities.sort_unstable();
    attributes
}

fn is_internal(config: &SpeakerConfig, session: &SessionConfig) -> bool {
    match session.remote_as {
        RemoteAs::Internal => true,
        RemoteAs::External => false,
        RemoteAs::Is(asn) => asn == config.asn,
    }
}

/// Peers and ranges: name, address, session.
fn ends(config: &SpeakerConfig) -> Vec<(String, IpAddr, &SessionConfig)> {
    let peers = config.peers.iter().map(|peer| (peer.key.to_string(), peer.address, &*peer.session));
    let ranges = config.listen_ranges.iter();
    peers.chain(ranges.map(|range| (range.key.to_string(), range.range.addr(), &range.session))).collect()
}
