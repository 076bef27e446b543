//! What a router beside this node does otherwise than it should, seen from the node. Pure: what is known in, findings
//! with their remedies out.

mod routes;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use muslin_bgp_speaker::PeerStatus;
use muslin_bgp_speaker::config::{ImportGuard, SessionConfig};
use muslin_bgp_speaker::rib::RouteView;
use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Severity {
    /// Packets are lost, or will be when something else happens.
    Problem,
    /// It works, and could be better.
    Advice,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Problem => "problem",
            Self::Advice => "advice",
        })
    }
}

/// Something that a router does otherwise than it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finding {
    /// The peer.
    pub(crate) peer: String,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What it is, for programs: stable.
    pub(crate) name: String,
    /// What it is, in words.
    pub(crate) found: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

/// Everything that is known of one router.
pub(crate) struct Subject<'a> {
    /// The session as it is.
    pub(crate) status: &'a PeerStatus,
    /// The session as it is wanted.
    pub(crate) wanted: Option<&'a SessionConfig>,
    /// What may be learned.
    pub(crate) guard: &'a ImportGuard,
    /// What the router sent, refused routes as well.
    pub(crate) received: &'a [RouteView],
    /// What is known by any peer.
    pub(crate) known: &'a BTreeSet<IpNet>,
    /// What this node announces.
    pub(crate) originated: &'a [IpNet],
}

/// The findings, problems first.
pub(crate) fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let mut found = session::findings(subject);
    if subject.status.established {
        found.extend(routes::findings(subject));
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

impl Subject<'_> {
    fn finding(&self, severity: Severity, name: &str, found: String, remedy: impl Into<String>) -> Finding {
        let peer = self.status.key.0.to_string();
        Finding { peer, severity, name: name.to_owned(), found, remedy: remedy.into() }
    }

    fn problem(&self, name: &str, found: String, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Problem, name, found, remedy)
    }

    fn advice(&self, name: &str, found: String, remedy: impl Into<String>) -> Finding {
        self.finding(Severity::Advice, name, found, remedy)
    }

    /// Whether the session carries prefixes like this one.
    fn carries(&self, prefix: IpNet) -> bool {
        let family = if prefix.addr().is_ipv4() { "ipv4-unicast" } else { "ipv6-unicast" };
        self.status.families.iter().any(|known| known.negotiated && known.family == family)
    }
}

/// The first few, and how many there are.
fn few(prefixes: &[IpNet]) -> String {
    const FEW: usize = 3;
    let mut words: Vec<String> = prefixes.iter().take(FEW).map(ToString::to_string).collect();
    if prefixes.len() > FEW {
        words.push(format!("{} more", prefixes.len() - FEW));
    }
    words.join(", ")
}
