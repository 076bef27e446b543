//! What is to be told of each of our objects, from what every node tells of itself. No client, no clock.

mod asked;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) use self::asked::Asked;
use super::heartbeat::silence;
use super::report::{carry_over, condition};
use crate::problem::Effect;
use crate::resources::{
    BgpPeerStatus, Condition, NodeNetworkStatusStatus, ObjectStatus, ProblemStatus, ResourceStatus,
    RouteAdvertisementStatus,
};
use crate::state::{Kind, ObjectRef};

/// How long nodes are given to look at an object that has changed, before anything is said of it.
const SETTLE: Duration = Duration::from_secs(2);

/// Most nodes that a message names, and most reasons that it gives.
const NAMED: usize = 3;
const REASONS: usize = 5;

/// Why nothing is known of a node's sessions.
const SILENT: &str =
    "its agent tells nothing any more; look at its pod and whether it reaches the API server";

/// The conditions that are ours to tell; what others say of an object is theirs.
const OURS: [&str; 2] = ["Accepted", "Established"];

/// Longest message, in octets.
const LONGEST: usize = 4096;

/// An object of ours as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) uid: String,
    /// Which changes with everything that anybody writes.
    pub(super) version: String,
    pub(super) generation: Option<i64>,
    pub(super) asked: Asked,
    pub(super) status: ObjectStatus,
}

/// What is to be written, and to be told as an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) of: ObjectRef,
    pub(super) uid: String,
    /// The version of the object that it is said of.
    pub(super) version: String,
    pub(super) status: ObjectStatus,
    /// The condition `Accepted`, if it says something new.
    pub(super) news: Option<Condition>,
}

/// Objects and nodes, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Board {
    objects: BTreeMap<ObjectRef, (Seen, Instant)>,
    nodes: BTreeMap<Arc<str>, Heard>,
}

/// What a node told, and when it was heard last.
#[derive(Debug)]
struct Heard {
    digest: Digest,
    /// The time in its status; agents of earlier versions have none, and are believed.
    heartbeat: Option<Time>,
    at: Instant,
}

impl Heard {
    /// When nothing is known of the node any more, if its agent goes on to tell nothing.
    fn falls_silent(&self, nodes: usize) -> Option<Instant> {
        self.heartbeat.as_ref().map(|_| self.at + silence(nodes))
    }
}

/// What counts of a node's status; the rest need not be remembered.
#[derive(Debug, PartialEq)]
struct Digest {
    peers: BTreeMap<String, Sessions>,
    /// Routes by the `RouteAdvertisement` that asks for them.
    advertised: BTreeMap<String, u64>,
    problems: Vec<ProblemStatus>,
}

/// The sessions of one peer.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sessions {
    established: usize,
    /// Those of nodes whose agents tell nothing.
    unknown: usize,
    all: usize,
    /// With whom.
    addresses: BTreeSet<IpAddr>,
    /// Why some are down.
    down: Vec<String>,
}

/// What nodes announce because of one `RouteAdvertisement`.
#[derive(Clone, Copy, Debug, Default)]
struct Announced {
    nodes: u64,
    routes: u64,
}

/// The `BGPPeer` in a cause (`BGPPeer tor .spec.interfaces[0]`); sessions of the node mesh have none.
pub fn peer_of_cause(cause: &str) -> Option<&str> {
    cause.strip_prefix("BGPPeer ")?.split([' ', ',']).next()
}

impl Digest {
    fn of(status: &NodeNetworkStatusStatus) -> Self {
        let mut peers: BTreeMap<String, Sessions> = BTreeMap::new();
        for session in &status.sessions {
            let Some(peer) = peer_of_cause(&session.cause) else { continue };
            let sessions = peers.entry(peer.to_owned()).or_default();
            sessions.all += 1;
            sessions.addresses.extend(session.address);
            if session.state == "Established" {
                sessions.established += 1;
            } else if sessions.down.len() < NAMED {
                let place =
                    session.address.map_or_else(|| session.peer.clone(), |address| address.to_string());
                let why = session.last_error.as_deref().unwrap_or("no attempt has failed yet");
                sessions.down.push(format!("{place} is in {}: {why}", session.state));
            }
        }
        let advertised = status.advertisements.iter().map(|one| (one.name.clone(), one.routes)).collect();
        Self { peers, advertised, problems: status.problems.clone() }
    }
}

impl Board {
    /// A node has told of itself; whether that says anything new here.
    pub(super) fn node(&mut self, now: Instant, name: Arc<str>, status: &NodeNetworkStatusStatus) -> bool {
        let heard = Heard { digest: Digest::of(status), heartbeat: status.heartbeat.clone(), at: now };
        let nodes = self.nodes.len();
        let Some(known) = self.nodes.get_mut(&name) else {
            self.nodes.insert(name, heard);
            return true;
        };
        if known.heartbeat == heard.heartbeat {
            // A list that is read anew says nothing of the agent.
            let is_news = known.digest != heard.digest;
            known.digest = heard.digest;
            return is_news;
        }
        let was_silent = known.falls_silent(nodes).is_some_and(|silent| silent <= now);
        let is_news = was_silent || known.digest != heard.digest;
        *known = heard;
        is_news
    }

    /// A node is gone.
    pub(super) fn without_node(&mut self, name: &str) -> bool {
        self.nodes.remove(name).is_some()
    }

    /// How many nodes tell of themselves.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// An object is there, or has changed.
    pub(super) fn object(&mut self, now: Instant, of: ObjectRef, mut seen: Seen) {
        seen.status.conditions_mut().retain(|condition| OURS.contains(&condition.kind.as_str()));
        let observed = seen.status.conditions().iter().find_map(|condition| condition.observed_generation);
        let fresh = match self.objects.get(&of) {
            Some((known, _)) => known.uid != seen.uid || known.generation != seen.generation,
            None => observed != seen.generation,
        };
        let settled = match self.objects.get(&of) {
            Some((_, settled)) if !fresh => *settled,
            _ if fresh => now + SETTLE,
            _ => now,
        };
        self.objects.insert(of, (seen, settled));
    }

    /// An object is gone.
    pub(super) fn without_object(&mut self, of: &ObjectRef) {
        self.objects.remove(of);
    }

    /// Forgets everything, to begin with new lists.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When the next object has settled, or the next node falls silent.
    pub(super) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let settled = self.objects.values().map(|(_, settled)| *settled);
        let silent = self.nodes.values().filter_map(|node| node.falls_silent(self.nodes.len()));
        settled.chain(silent).filter(|then| *then > now).min()
    }

    /// What is to be written now. It is taken for written: the watch tells if it was not.
    pub(super) fn verdicts(&self, now: Instant) -> Vec<Verdict> {
        let (sessions, advertised) = (self.sessions(now), self.advertised(now));
        let problems = self.problems();
        let none = BTreeMap::new();
        let settled = self.objects.iter().filter(|(_, (_, settled))| *settled <= now);
        let verdicts = settled.filter_map(|(of, (seen, _))| {
            let problems = problems.get(of.to_string().as_str()).unwrap_or(&none);
            let mut conditions = vec![accepted(problems, self.nodes.len())];
            let mut status = match of.kind {
                Kind::BgpPeer => {
                    let sessions = sessions.get(&*of.name).cloned().unwrap_or_default();
                    conditions.push(established(&sessions));
                    ObjectStatus::Peer(BgpPeerStatus {
                        address: seen.asked.address(&sessions.addresses),
                        sessions: Some(format!("{}/{}", sessions.established, sessions.all)),
                        conditions: Vec::new(),
                    })
                }
                Kind::RouteAdvertisement => {
                    let Announced { nodes, routes } = advertised.get(&*of.name).copied().unwrap_or_default();
                    let announces = seen.asked.types();
                    let conditions = Vec::new();
                    ObjectStatus::Advertisement(RouteAdvertisementStatus {
                        announces,
                        nodes,
                        routes,
                        conditions,
                    })
                }
                _ => ObjectStatus::Other(ResourceStatus::default()),
            };
            for condition in &mut conditions {
                condition.observed_generation = seen.generation;
            }
            let before = seen.status.conditions();
            carry_over(before, &mut conditions);
            let is_news = |now: &&Condition| {
                let before = before.iter().find(|before| before.kind == now.kind);
                before.map_or(now.status == "False", |before| {
                    before.status != now.status || before.message != now.message && now.status == "False"
                })
            };
            let news = conditions.first().filter(is_news).cloned();
            *status.conditions_mut() = conditions;
            let (uid, version) = (seen.uid.clone(), seen.version.clone());
            (status != seen.status).then(|| Verdict { of: of.clone(), uid, version, status, news })
        });
        verdicts.collect()
    }

    /// The nodes with what they told, and whether they have fallen silent since.
    fn heard(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, &Digest, bool)> {
        self.nodes.iter().map(move |(node, heard)| {
            let silent = heard.falls_silent(self.nodes.len()).is_some_and(|silent| silent <= now);
            (node, &heard.digest, silent)
        })
    }

    /// The sessions of all nodes, by peer.
    fn sessions(&self, now: Instant) -> BTreeMap<&str, Sessions> {
        let mut sessions: BTreeMap<&str, Sessions> = BTreeMap::new();
        for (node, digest, silent) in self.heard(now) {
            for (peer, of_node) in &digest.peers {
                let all = sessions.entry(peer).or_default();
                all.all += of_node.all;
                if silent {
                    all.unknown += of_node.all;
                    all.down.push(format!("{node}: {SILENT}"));
                } else {
                    all.established += of_node.established;
                    all.addresses.extend(&of_node.addresses);
                    all.down.extend(of_node.down.iter().map(|why| format!("{node}: {why}")));
                }
                all.down.truncate(NAMED);
            }
        }
        sessions
    }

    /// What nodes announce, by `RouteAdvertisement`; of a node that has fallen silent nothing is known.
    fn advertised(&self, now: Instant) -> BTreeMap<&str, Announced> {
        let mut advertised: BTreeMap<&str, Announced> = BTreeMap::new();
        let digests = self.heard(now).filter(|(.., silent)| !silent);
        for (name, routes) in digests.flat_map(|(_, digest, _)| &digest.advertised) {
            let all = advertised.entry(name).or_default();
            all.nodes += u64::from(*routes > 0);
            all.routes = all.routes.saturating_add(*routes);
        }
        advertised
    }

    /// What is wrong, by object, with the nodes that say so.
    fn problems(&self) -> BTreeMap<&str, BTreeMap<&ProblemStatus, Vec<&str>>> {
        let mut problems: BTreeMap<&str, BTreeMap<&ProblemStatus, Vec<&str>>> = BTreeMap::new();
        for (node, heard) in &self.nodes {
            for problem in &heard.digest.problems {
                let nodes = problems.entry(&problem.object).or_default();
                nodes.entry(problem).or_default().push(node);
            }
        }
        problems
    }
}

/// Whether the object is in force, and if not, what to do about it.
fn accepted(problems: &BTreeMap<&ProblemStatus, Vec<&str>>, all_nodes: usize) -> Condition {
    let mut reasons: Vec<_> = problems.iter().collect();
    // What is not applied comes first, then what concerns most nodes.
    reasons.sort_by_key(|(problem, nodes)| (problem.effect == Effect::Advice, usize::MAX - nodes.len()));
    let worst = reasons.iter().map(|(problem, _)| problem.effect).min();
    let concerned = reasons
        .iter()
        .filter(|(problem, _)| problem.effect != Effect::Advice)
        .map(|(_, nodes)| nodes.len())
        .max()
        .unwrap_or(0);
    let mut message: Vec<_> =
        reasons.iter().take(REASONS).map(|(problem, nodes)| in_words(problem, nodes, all_nodes)).collect();
    if reasons.len() > REASONS {
        message.push(format!("and {} more", reasons.len() - REASONS));
    }
    let mut message = message.join("\n");
    message.truncate(message.floor_char_boundary(LONGEST));
    match worst {
        None => condition("Accepted", true, "Accepted", "nothing is wrong with it".to_owned()),
        Some(Effect::Advice) => condition("Accepted", true, "AcceptedWithAdvice", message),
        Some(Effect::LastGoodKept) => condition("Accepted", false, "LastGoodKept", message),
        Some(Effect::Refused) if concerned < all_nodes => {
            condition("Accepted", false, "RefusedInPart", message)
        }
        Some(Effect::Refused) => condition("Accepted", false, "Refused", message),
    }
}

fn in_words(problem: &ProblemStatus, nodes: &[&str], all_nodes: usize) -> String {
    let mut words = String::new();
    if nodes.len() < all_nodes {
        let more = match nodes.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        words = format!("on {}{more}: ", nodes[..nodes.len().min(NAMED)].join(", "));
    }
    if !problem.field.is_empty() {
        words = format!("{words}{}: ", problem.field);
    }
    let remedy = if problem.remedy.is_empty() { "" } else { "; " };
    format!("{words}{}{remedy}{} ({})", problem.message, problem.remedy, problem.effect)
}

fn established(sessions: &Sessions) -> Condition {
    let Sessions { established, unknown, all, ref down, .. } = *sessions;
    match (established, all) {
        (_, 0) => {
            let message = "no node has this peer; see the condition Accepted and `nodeSelector`".to_owned();
            condition("Established", false, "NoSession", message)
        }
        (established, all) if established == all => {
            condition("Established", true, "AllEstablished", format!("all {all} sessions are established"))
        }
        (established, all) if established + unknown == all => {
            let message = format!("{unknown} of {all} sessions are not known\n{}", down.join("\n"));
            let known = condition("Established", false, "AgentSilent", message);
            Condition { status: "Unknown".to_owned(), ..known }
        }
        (established, all) => {
            let missing = all - established;
            let more = match missing.saturating_sub(down.len()) {
                0 => String::new(),
                more => format!("\nand {more} more"),
            };
            let reason = if established == 0 { "NoneEstablished" } else { "SomeDown" };
            let mut message = format!("{missing} of {all} sessions are down\n{}{more}", down.join("\n"));
            message.truncate(message.floor_char_boundary(LONGEST));
            condition("Established", false, reason, message)
        }
    }
}

#[cfg(test)]
mod tests;
