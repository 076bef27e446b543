//! The merge of what watches tell into one state. No client, no clock: whoever has them feeds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::problem::{Effect, Fault, Origin, Problem};
use crate::resources::{LabelSelector, PasswordSource, SecretKeyRef};
use crate::state::{AnyObject, ClusterState, Kind, ObjectRef};
use crate::{DEFAULT_NAMESPACE, plural};

/// How long objects stay that a suspicious list lacks.
const HOLD: Duration = Duration::from_mins(10);

/// How long a watch may fail before it is called a problem: API servers restart.
const PATIENCE: Duration = Duration::from_secs(10);

/// From so many objects on, a list without more than half of them is suspicious whatever else is known.
const MANY: usize = 4;

/// What a watch follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    /// All objects of a kind.
    All(Kind),
    /// One object.
    One(ObjectRef),
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All(kind) => f.write_str(&plural(kind.name())),
            Self::One(of) => of.fmt(f),
        }
    }
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// All there is will be listed.
    ListBegins,
    /// It is there.
    Listed(Item),
    /// Whatever was not listed is not there.
    ListEnds,
    /// It is new or has changed.
    Applied(Item),
    /// It was deleted.
    Deleted(Arc<str>),
    /// The watch broke; it will be tried again.
    Failed(Failure),
}

/// An object, or what is wrong with it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) name: Arc<str>,
    pub(super) object: Result<AnyObject, Vec<Fault>>,
}

/// Why a watch broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server has no such kind.
    NotServed,
    /// We may not watch it.
    Forbidden,
    /// Anything else, in words.
    Broken(String),
}

/// How far a watch is.
#[derive(Debug, Default)]
struct Progress {
    /// Whether it was listed, or has told that it never will be.
    known: bool,
    /// Since when what was told before may not hold any more: it broke, or has to list anew.
    doubt: Option<Instant>,
    /// What the list that is under way has named.
    listing: Option<BTreeSet<Arc<str>>>,
    /// What a suspicious list lacked.
    held: Option<Held>,
    /// Since when it fails, and why.
    failing: Option<(Instant, Failure)>,
}

/// What a suspicious list lacked.
#[derive(Debug)]
struct Held {
    /// When it goes all the same.
    until: Instant,
    names: BTreeSet<Arc<str>>,
    /// Whether it goes as soon as the server proves its memory.
    few: bool,
}

/// What is known of the cluster.
#[derive(Debug)]
pub(super) struct Index {
    node: String,
    state: ClusterState,
    watches: BTreeMap<Watched, Progress>,
    /// Faults of objects that cannot be read.
    faulty: BTreeMap<ObjectRef, Vec<Fault>>,
    /// Secrets that were there and are not; their last state stays.
    gone: BTreeSet<ObjectRef>,
    /// Whether everything is known from an earlier process.
    restored: bool,
    /// When the API server last showed our own Node, the same as ever.
    proof: Option<Instant>,
    /// The time until which failures have been looked at.
    looked: Option<Instant>,
    changed: bool,
}

impl Index {
    /// Nothing is known yet; `kinds` are watched for `node`.
    pub(super) fn new(node: &str, kinds: impl IntoIterator<Item = Kind>) -> Self {
        let watches = kinds.into_iter().map(|kind| (Watched::All(kind), Progress::default()));
        Self {
            node: node.to_owned(),
            state: ClusterState::default(),
            watches: watches.collect(),
            faulty: BTreeMap::new(),
            gone: BTreeSet::new(),
            restored: false,
            proof: None,
            looked: None,
            changed: false,
        }
    }

    /// Begins with what an earlier process knew last.
    pub(super) fn restore(&mut self, state: ClusterState) {
        self.state = state;
        self.restored = true;
        self.change();
    }

    /// What is to be watched now.
    pub(super) fn wanted(&self) -> BTreeSet<Watched> {
        self.watches.keys().cloned().collect()
    }

    /// Takes in what a watch tells.
    pub(super) fn handle(&mut self, now: Instant, watched: &Watched, told: Told) {
        let Some(progress) = self.watches.get_mut(watched) else { return };
        if !matches!(told, Told::Failed(_) | Told::ListBegins) && progress.failing.take().is_some() {
            self.changed = true;
        }
        if matches!(told, Told::Failed(_) | Told::ListBegins) {
            progress.doubt.get_or_insert(now);
        }
        match told {
            Told::ListBegins => progress.listing = Some(BTreeSet::new()),
            Told::Listed(item) => {
                if let Some(listing) = &mut progress.listing {
                    listing.insert(item.name.clone());
                }
                self.apply(now, watched, item);
            }
            Told::ListEnds => {
                let listed = progress.listing.take().unwrap_or_default();
                self.compare(now, watched, &listed);
                self.change();
            }
            Told::Applied(item) => self.apply(now, watched, item),
            Told::Deleted(name) => self.delete(watched, name),
            Told::Failed(failure) => {
                progress.listing = None;
                // Nobody can have said anything in a kind that is not served. One Secret must not hold up the rest:
                // its peer waits for it. Whatever else cannot be seen may say that what we do is wrong.
                let certain = failure == Failure::NotServed || matches!(watched, Watched::One(_));
                if certain && !progress.known {
                    progress.known = true;
                    self.changed = true;
                }
                let since = progress.failing.take().map_or(now, |(since, _)| since);
                progress.failing = Some((since, failure));
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let holds = self.watches.values().filter_map(|progress| Some(progress.held.as_ref()?.until));
        let failing = self.watches.values().filter_map(|progress| Some(progress.failing.as_ref()?.0));
        // A failure that was looked at needs no second look.
        let unsaid = failing.map(|since| since + PATIENCE);
        let unsaid = unsaid.filter(|due| self.looked.is_none_or(|looked| *due > looked));
        holds.chain(unsaid).min()
    }

    /// Time has passed: what was held too long goes, what has been failing too long is said.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.looked = Some(now);
        self.let_go(|held| held.until <= now);
        self.change();
    }

    /// Whether enough is known to act on.
    pub(super) fn is_complete(&self) -> bool {
        self.restored || self.watches.values().all(|progress| progress.known)
    }

    /// The state, if it is complete and has changed.
    pub(super) fn take_state(&mut self) -> Option<ClusterState> {
        if !(self.is_complete() && std::mem::take(&mut self.changed)) {
            return None;
        }
        let mut state = self.state.clone();
        state.problems = self.problems();
        Some(state)
    }

    /// Takes out what was held, where `due` says so.
    fn let_go(&mut self, due: impl Fn(&Held) -> bool) {
        let mut gone = Vec::new();
        for (watched, progress) in &mut self.watches {
            if let (Watched::All(kind), Some(held)) = (watched, progress.held.take_if(|held| due(held))) {
                gone.extend(held.names.into_iter().map(|name| ObjectRef::new(*kind, name)));
            }
        }
        if gone.iter().filter(|of| self.state.remove(of)).count() > 0 {
            self.change();
        }
    }

    /// Our own Node, and no new one of its name, is there: the API server knows what it knew.
    fn proves_memory(&self, name: &str, object: &AnyObject) -> bool {
        let AnyObject::Node(node) = object else { return false };
        let known = self.state.nodes.get(self.node.as_str());
        *self.node == *name && known.is_some_and(|known| known.uid == node.uid)
    }

    fn apply(&mut self, now: Instant, watched: &Watched, Item { name, object }: Item) {
        let of = match watched {
            Watched::All(kind) => ObjectRef::new(*kind, name.clone()),
            Watched::One(of) => of.clone(),
        };
        if let Some(held) = self.watches.get_mut(watched).and_then(|progress| progress.held.as_mut()) {
            held.names.remove(&name);
        }
        if object.as_ref().is_ok_and(|object| self.proves_memory(&name, object)) {
            self.proof = Some(now);
            self.let_go(|held| held.few);
        }
        let news = match object {
            Ok(object) => {
                self.faulty.remove(&of).is_some() | self.gone.remove(&of) | self.state.put(name, object)
            }
            // Its last good state stays.
            Err(faults) => self.faulty.insert(of, faults.clone()).as_ref() != Some(&faults),
        };
        if news {
            self.change();
        }
    }

    fn delete(&mut self, watched: &Watched, name: Arc<str>) {
        match watched {
            Watched::All(kind) => {
                let of = ObjectRef::new(*kind, name);
                self.faulty.remove(&of);
                self.state.remove(&of);
            }
            // Whoever wants to end a session takes the peer away; see `problems`.
            Watched::One(of) => {
                self.gone.insert(of.clone());
            }
        }
        self.change();
    }

    /// A list has ended: what it lacks is gone, unless that cannot be believed: most of many objects do not vanish
    /// while nobody looks, nor do the last of few where the API server may have lost its memory.
    fn compare(&mut self, now: Instant, watched: &Watched, listed: &BTreeSet<Arc<str>>) {
        let kind = match watched {
            Watched::All(kind) => *kind,
            Watched::One(of) => {
                if listed.is_empty() {
                    self.gone.insert(of.clone());
                } else {
                    self.gone.remove(of);
                }
                if let Some(progress) = self.watches.get_mut(watched) {
                    progress.known = true;
                }
                return;
            }
        };
        self.faulty.retain(|of, _| of.kind != kind || listed.contains(&of.name));
        let known = self.state.names(kind);
        let missing: BTreeSet<_> = known.difference(listed).cloned().collect();
        if kind == Kind::Node && !listed.contains(self.node.as_str()) {
            self.proof = None;
        }
        let Some(progress) = self.watches.get_mut(watched) else { return };
        // A sight of our Node from before the doubt proves nothing; on the first list any will do.
        let doubt = progress.doubt.take().filter(|_| progress.known);
        let proven = self.proof.is_some_and(|proof| doubt.is_none_or(|doubt| proof >= doubt));
        progress.known = true;
        let few = known.len() < MANY;
        let suspicious =
            if few { missing.len() == known.len() && !proven } else { missing.len() * 2 > known.len() };
        if suspicious && !missing.is_empty() {
            let until = progress.held.take().map_or(now + HOLD, |held| held.until);
            progress.held = Some(Held { until, names: missing, few });
            return;
        }
        progress.held = None;
        for name in missing {
            self.state.remove(&ObjectRef::new(kind, name));
        }
    }

    /// Something of the state is new: other Secrets may be wanted now.
    fn change(&mut self) {
        self.changed = true;
        let wanted = secrets(&self.state, &self.node);
        for name in self.state.names(Kind::Secret) {
            let of = ObjectRef::new(Kind::Secret, name);
            if !wanted.contains(&of) {
                self.state.remove(&of);
            }
        }
        self.gone.retain(|of| wanted.contains(of));
        self.watches.retain(|watched, _| match watched {
            Watched::All(_) => true,
            Watched::One(of) => wanted.contains(of),
        });
        for of in wanted {
            self.watches.entry(Watched::One(of)).or_default();
        }
    }

    /// What is wrong: with objects, with lists, with watches.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (of, faults) in &self.faulty {
            let known = self.state.find(of).is_some();
            let effect = if known { Effect::LastGoodKept } else { Effect::Refused };
            problems.extend(faults.iter().map(|fault| {
                let (message, remedy) = (fault.message.clone(), fault.remedy.clone());
                ClusterState::problem(of, &Origin::default(), &fault.field, message, remedy, effect)
            }));
        }
        for of in self.gone.iter().filter(|of| self.state.find(of).is_some()) {
            let remedy = "make it again, or take the password out of the peer";
            let message = "it is gone; its last password stays in use";
            let effect = Effect::LastGoodKept;
            problems.push(ClusterState::problem(of, &Origin::default(), "", message, remedy, effect));
        }
        for (watched, progress) in &self.watches {
            if let Some(held) = progress.held.as_ref().filter(|held| !held.names.is_empty()) {
                problems.push(lacking(watched, &held.names));
            }
        }
        problems.extend(self.failures());
        problems
    }

    /// Watches that have been failing for long, those with the same reason together.
    fn failures(&self) -> Vec<Problem> {
        let long = |since: Instant| self.looked.is_some_and(|looked| since + PATIENCE <= looked);
        let mut alike: BTreeMap<(&str, &str), Vec<&Watched>> = BTreeMap::new();
        for (watched, progress) in &self.watches {
            let Some((_, failure)) = progress.failing.as_ref().filter(|(since, _)| long(*since)) else {
                continue;
            };
            let key = match failure {
                Failure::NotServed => (
                    "the API server does not have this kind",
                    "install Muslin's resource definitions: `kubectl apply -f deploy/crds`",
                ),
                Failure::Forbidden if matches!(watched, Watched::One(_)) => (
                    "the agent may not read it",
                    "name it in the chart's `rbac.secrets`, or give the agent a Role with list and watch for it",
                ),
                Failure::Forbidden => (
                    "the agent may not watch them",
                    "give the agent's ClusterRole the verbs get, list and watch for them",
                ),
                Failure::Broken(reason) => (reason.as_str(), "see to the API server and the way to it"),
            };
            alike.entry(key).or_default().push(watched);
        }
        alike
            .into_iter()
            .map(|((message, remedy), watched)| {
                let watched: Vec<_> = watched.into_iter().map(ToString::to_string).collect();
                about(format!("the watch of {}", watched.join(", ")), message.to_owned(), remedy.to_owned())
            })
            .collect()
    }
}

fn lacking(watched: &Watched, missing: &BTreeSet<Arc<str>>) -> Problem {
    const NAMED: usize = 5;
    let names: Vec<_> = missing.iter().take(NAMED).map(|name| &**name).collect();
    let more = if missing.len() > NAMED { ", …" } else { "" };
    about(
        watched.to_string(),
        format!("the API server's list suddenly lacks {}: {}{more}", count(missing.len()), names.join(", ")),
        format!(
            "if they were deleted, nothing: they go {} minutes after the list; if not, restore them",
            HOLD.as_secs() / 60
        ),
    )
}

fn count(objects: usize) -> String {
    if objects == 1 { "an object".to_owned() } else { format!("{objects} objects") }
}

fn about(object: String, message: String, remedy: String) -> Problem {
    Problem {
        object,
        file: Arc::default(),
        line: 0,
        field: String::new(),
        message,
        remedy,
        effect: Effect::LastGoodKept,
    }
}

/// The Secrets that `node`'s own peers name.
fn secrets(state: &ClusterState, node: &str) -> BTreeSet<ObjectRef> {
    let labels = state.nodes.get(node).map(|node| &node.labels);
    let selects = |selector: &Option<LabelSelector>| {
        selector.as_ref().is_none_or(|selector| selector.matches(|key| labels?.get(key)))
    };
    let peers = state.bgp_peers.values().filter(|peer| selects(&peer.spec.node_selector));
    let of_peers = peers.flat_map(|peer| {
        let password = peer.spec.password.as_ref().map(|source| &source.secret_key_ref);
        let key = peer.spec.tcp_ao.as_ref().map(|key| &key.secret_key_ref);
        password.into_iter().chain(key)
    });
    let names = ["default".to_owned(), format!("node.{node}")];
    let configurations = names.iter().filter_map(|name| state.bgp_configurations.get(name.as_str()));
    let of_mesh = configurations.filter_map(|configuration| {
        let password: &PasswordSource = configuration.spec.node_mesh.as_ref()?.password.as_ref()?;
        Some(&password.secret_key_ref)
    });
    of_peers.chain(of_mesh).map(secret).collect()
}

fn secret(reference: &SecretKeyRef) -> ObjectRef {
    let namespace = reference.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    ObjectRef::new(Kind::Secret, format!("{namespace}/{}", reference.name))
}

#[cfg(test)]
mod tests;
