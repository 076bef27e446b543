//! What is to be told of each of our objects, from what every node tells of itself. No client, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::heartbeat::silence;
use super::report::{carry_over, condition};
use crate::problem::Effect;
use crate::resources::{BgpPeerStatus, Condition, NodeNetworkStatusStatus, ProblemStatus};
use crate::state::{Kind, ObjectRef};

/// How long nodes are given to look at an object that has changed, before anything is said of it.
const SETTLE: Duration = Duration::from_secs(2);

/// Most nodes that a message names, and most reasons that it gives.
const NAMED: usize = 3;
const REASONS: usize = 5;

/// Why nothing is known of a node's sessions.
const SILENT: &str =
    "its agent tells nothing any more; look at its pod and whether it reaches the API server";

/// Longest message, in octets.
const LONGEST: usize = 4096;

/// An object of ours as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) generation: Option<i64>,
    pub(super) status: BgpPeerStatus,
}

/// What is to be written, and to be told as an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) of: ObjectRef,
    pub(super) uid: String,
    pub(super) status: BgpPeerStatus,
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
    problems: Vec<ProblemStatus>,
}

/// The sessions of one peer.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sessions {
    established: usize,
    /// Those of nodes whose agents tell nothing.
    unknown: usize,
    all: usize,
    /// Why some are down.
    down: Vec<String>,
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
            if session.state == "Established" {
                sessions.established += 1;
            } else if sessions.down.len() < NAMED {
                let place =
                    session.address.map_or_else(|| session.peer.clone(), |address| address.to_string());
                let why = session.last_error.as_deref().unwrap_or("no attempt has failed yet");
                sessions.down.push(format!("{place} is in {}: {why}", session.state));
            }
        }
        Self { peers, problems: status.problems.clone() }
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
    pub(super) fn object(&mut self, now: Instant, of: ObjectRef, seen: Seen) {
        let observed = seen.status.conditions.iter().find_map(|condition| condition.observed_generation);
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
        let mut sessions: BTreeMap<&str, (Sessions, Vec<String>)> = BTreeMap::new();
        let mut problems: BTreeMap<&str, BTreeMap<&ProblemStatus, Vec<&str>>> = BTreeMap::new();
        for (node, heard @ Heard { digest, .. }) in &self.nodes {
            let silent = heard.falls_silent(self.nodes.len()).is_some_and(|silent| silent <= now);
            for (peer, of_node) in &digest.peers {
                let (all, down) = sessions.entry(peer).or_default();
                all.all += of_node.all;
                if silent {
                    all.unknown += of_node.all;
                    down.push(format!("{node}: {SILENT}"));
                    down.truncate(NAMED);
                    continue;
                }
                all.established += of_node.established;
                down.extend(of_node.down.iter().take(NAMED).map(|why| format!("{node}: {why}")));
                down.truncate(NAMED);
            }
            for problem in &digest.problems {
                let nodes = problems.entry(&problem.object).or_default();
                nodes.entry(problem).or_default().push(node);
            }
        }
        let none = BTreeMap::new();
        let settled = self.objects.iter().filter(|(_, (_, settled))| *settled <= now);
        let verdicts = settled.filter_map(|(of, (seen, _))| {
            let problems = problems.get(of.to_string().as_str()).unwrap_or(&none);
            let mut status = BgpPeerStatus {
                conditions: vec![accepted(problems, self.nodes.len())],
                ..BgpPeerStatus::default()
            };
            if of.kind == Kind::BgpPeer {
                let (sessions, down) = sessions.get(&*of.name).cloned().unwrap_or_default();
                status.sessions = Some(format!("{}/{}", sessions.established, sessions.all));
                status.conditions.push(established(&sessions, &down));
            }
            for condition in &mut status.conditions {
                condition.observed_generation = seen.generation;
            }
            carry_over(&seen.status.conditions, &mut status.conditions);
            let is_news = |now: &&Condition| {
                let before = seen.status.conditions.iter().find(|before| before.kind == now.kind);
                before.map_or(now.status == "False", |before| {
                    before.status != now.status || before.message != now.message && now.status == "False"
                })
            };
            let news = status.conditions.first().filter(is_news).cloned();
            let uid = seen.uid.clone();
            (status != seen.status).then(|| Verdict { of: of.clone(), uid, status, news })
        });
        verdicts.collect()
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

fn established(sessions: &Sessions, down: &[String]) -> Condition {
    let Sessions { established, unknown, all, .. } = *sessions;
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
