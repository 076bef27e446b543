//! Tells how the objects that belong to no node are doing: `BGPPeer`s and the other resources of ours.
//!
//! ```text
//!   Lease ──▶ Election ──ours?──┐
//!                               ▼
//!   watch of NodeNetworkStatuses ──┐
//!   watch of each kind of ours ────┴─▶ Board ──differs?──▶ status of the object (one pass a second at most)
//!                                                 └─────▶ Event, where `Accepted` says something new
//! ```
//!
//! One agent does it for all, the one that holds the Lease; the others do not even watch. What is written is
//! derived from what the nodes tell of themselves, and written where it differs, so that a new holder goes on where
//! the last one ended. A burst of changes costs one writing an object and pass; in a larger cluster passes are rarer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{Stream, StreamExt, select_all};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, Event as Watched};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch::Receiver;
use tracing::{info, warn};

use super::ApiClient;
use super::board::{Asked, Board, Seen, Verdict};
use super::election::{DURATION, Election, Record, Step};
use super::report::{LONGEST_NOTE, MANAGER, TRIES, TellError, answered, resource, unless_changed};
use super::sent::resource_of;
use crate::resources::{NodeNetworkStatusStatus, ObjectStatus};
use crate::state::{ClusterState, Kind, ObjectRef};

/// The kinds whose objects belong to no node.
const KINDS: [Kind; 4] = [Kind::BgpConfiguration, Kind::BgpPeer, Kind::BgpFilter, Kind::RouteAdvertisement];

/// Name of the Lease, in the agent's own namespace.
const LEASE: &str = "muslin-status";

/// Pause between two passes, and how much longer it is for each node.
const PASS: Duration = Duration::from_millis(500);
const PASS_OF_NODE: Duration = Duration::from_millis(2);

/// Most writings of one pass: what is left comes with the next.
const WRITINGS: usize = 50;

/// Tells of the objects whenever it falls to `node`'s agent, for ever. `state` is read for the names of the nodes.
pub async fn report_objects(client: ApiClient, node: String, state: Receiver<Arc<ClusterState>>) {
    let mut teller = Teller {
        leases: Api::default_namespaced(client.0.clone()),
        client: client.0.clone(),
        node: node.clone(),
        election: Election::new(&node),
        board: Board::default(),
        complaint: String::new(),
    };
    loop {
        teller.stand(&state).await;
        if teller.election.holds(Instant::now()) {
            info!("this agent tells how the resources are doing");
            teller.lead(&state).await;
            teller.board.clear();
            info!("another agent tells how the resources are doing");
        } else {
            tokio::time::sleep(teller.pause(&state)).await;
        }
    }
}

struct Teller {
    client: Client,
    leases: Api<Lease>,
    node: String,
    election: Election,
    board: Board,
    complaint: String,
}

/// How a look at the Lease ended.
enum Stood {
    /// It was written, or left to another.
    Done,
    /// Somebody wrote it after we had looked.
    Overtaken,
}

/// What one of the watches tells.
enum Told {
    Node(Watched<DynamicObject>),
    Object(Kind, Watched<DynamicObject>),
    Broken(watcher::Error),
}

impl Teller {
    /// Pause until the Lease is looked at again.
    fn pause(&self, state: &Receiver<Arc<ClusterState>>) -> Duration {
        let before = state.borrow().nodes.keys().take_while(|name| ***name < *self.node).count();
        let pause = self.election.pause(Instant::now(), before);
        pause.mul_f64(f64::midpoint(1.0, rand::random()))
    }

    /// Looks at the Lease, and takes it if it is ours or free.
    async fn stand(&mut self, state: &Receiver<Arc<ClusterState>>) {
        // Whoever knows of no cluster has nothing to say about it.
        if !state.borrow().nodes.contains_key(self.node.as_str()) {
            return;
        }
        for _ in 0..TRIES {
            match self.try_stand().await {
                // Somebody else wrote meanwhile: maybe a note on it, maybe the name of another holder.
                Ok(Stood::Overtaken) => {}
                Ok(Stood::Done) => return,
                Err(error) => return self.complain(&error),
            }
        }
    }

    async fn try_stand(&mut self) -> Result<Stood, TellError> {
        const WHAT: &str = "the Lease muslin-status";
        let asked = Instant::now();
        let found = answered(WHAT, self.leases.get_opt(LEASE)).await?;
        let record = found.as_ref().map(|lease| Record {
            holder: lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            version: lease.resource_version().unwrap_or_default(),
        });
        if self.election.looked(asked, record) == Step::Leave {
            return Ok(Stood::Done);
        }
        let now = MicroTime(Timestamp::now());
        let before = found.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let mine = before.holder_identity.as_deref() == Some(&self.node);
        let transitions = before.lease_transitions.unwrap_or(0) + i32::from(!mine);
        let exists = found.is_some();
        // With its resource version: two who find it free do not both get it.
        let mut lease = found.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
            ..Lease::default()
        });
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.node.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: before.acquire_time.filter(|_| mine).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..before
        });
        let write = PostParams::default();
        let written = if exists {
            answered(WHAT, unless_changed(self.leases.replace(LEASE, &write, &lease))).await?
        } else {
            answered(WHAT, unless_changed(self.leases.create(&write, &lease))).await?
        };
        if written.is_none() {
            return Ok(Stood::Overtaken);
        }
        self.election.taken(asked);
        self.complaint.clear();
        Ok(Stood::Done)
    }

    /// Watches and tells until somebody else does.
    async fn lead(&mut self, state: &Receiver<Arc<ClusterState>>) {
        let reporter =
            Reporter { controller: "muslin.dev/agent".to_owned(), instance: Some(self.node.clone()) };
        let mut events = Recorder::new(self.client.clone(), reporter);
        let mut watches = self.watches();
        let mut renewal = Instant::now() + self.pause(state);
        let mut pass = Some(Instant::now() + PASS);
        loop {
            if !self.election.holds(Instant::now()) {
                return;
            }
            let pass_due = async {
                match pass {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(renewal.into()) => {
                    self.stand(state).await;
                    renewal = Instant::now() + self.pause(state);
                }
                () = pass_due => {
                    let more = self.pass(&mut events).await;
                    let now = Instant::now();
                    pass = if more { Some(now + self.pass_pause()) } else { self.board.poll_timeout(now) };
                }
                told = watches.next() => {
                    let Some(told) = told else { return };
                    if self.take(told) {
                        // The next one may be due only when a node would have been silent for long.
                        let soon = Instant::now() + self.pass_pause();
                        pass = Some(pass.map_or(soon, |due| due.min(soon)));
                    }
                }
            }
        }
    }

    fn pass_pause(&self) -> Duration {
        PASS + PASS_OF_NODE * u32::try_from(self.board.nodes()).unwrap_or(u32::MAX)
    }

    fn watches(&self) -> impl Stream<Item = Told> + use<> {
        type Watch = Pin<Box<dyn Stream<Item = Told> + Send>>;
        let follow = |of, told: fn(Kind, Watched<DynamicObject>) -> Told, kind| {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &of);
            let watch = watcher::watcher(api, watcher::Config::default()).default_backoff();
            watch.map(move |event| event.map_or_else(Told::Broken, |event| told(kind, event))).boxed()
        };
        let mut watches: Vec<Watch> = Vec::new();
        watches.push(follow(resource("NodeNetworkStatus"), |_, event| Told::Node(event), Kind::Node));
        watches.extend(KINDS.map(|kind| follow(resource_of(kind), Told::Object, kind)));
        select_all(watches)
    }

    /// Whether it may lead to something to tell.
    fn take(&mut self, told: Told) -> bool {
        let now = Instant::now();
        match told {
            Told::Node(Watched::Apply(node) | Watched::InitApply(node)) => {
                let status = node.data.get("status").cloned().unwrap_or_default();
                let status: NodeNetworkStatusStatus = serde_json::from_value(status).unwrap_or_default();
                self.board.node(now, node.name_any().into(), &status)
            }
            Told::Node(Watched::Delete(node)) => self.board.without_node(&node.name_any()),
            Told::Object(kind, Watched::Apply(object) | Watched::InitApply(object)) => {
                let status = object.data.get("status").cloned().unwrap_or_default();
                let seen = Seen {
                    uid: object.uid().unwrap_or_default(),
                    version: object.resource_version().unwrap_or_default(),
                    generation: object.metadata.generation,
                    asked: Asked::of(&object.data["spec"]),
                    status: ObjectStatus::read(kind, status),
                };
                self.board.object(now, ObjectRef::new(kind, object.name_any()), seen);
                true
            }
            Told::Object(kind, Watched::Delete(object)) => {
                self.board.without_object(&ObjectRef::new(kind, object.name_any()));
                false
            }
            Told::Node(Watched::Init | Watched::InitDone)
            | Told::Object(_, Watched::Init | Watched::InitDone) => false,
            Told::Broken(error) => {
                let reason = crate::chain(&error);
                self.complain(&TellError { what: "a watch", reason });
                false
            }
        }
    }

    /// Writes what differs; whether something is left.
    async fn pass(&mut self, events: &mut Recorder) -> bool {
        let verdicts = self.board.verdicts(Instant::now());
        let more = verdicts.len() > WRITINGS;
        for verdict in verdicts.into_iter().take(WRITINGS) {
            if !self.election.holds(Instant::now()) {
                return true;
            }
            let written = match self.tell(&verdict).await {
                Ok(written) => written,
                Err(error) => {
                    self.complain(&error);
                    return true;
                }
            };
            // Of an object that is gone, or that another one has taken the place of, there is nothing to say.
            if written && let Err(error) = tell_news(events, &verdict).await {
                self.complain(&error);
            }
        }
        more
    }

    /// Writes a status; whether the object that it is about was still there.
    async fn tell(&mut self, verdict: &Verdict) -> Result<bool, TellError> {
        let Verdict { of, version, status, .. } = verdict;
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource_of(of.kind));
        // Of an object that has changed meanwhile, or was made anew under its name, something else may be true: the watch
        // tells. Its uid alone would be no condition, the API server looks at none where a status is written.
        let object = json!({
            "apiVersion": of.kind.api_version(),
            "kind": of.kind.name(),
            "metadata": {"name": &*of.name, "resourceVersion": version},
            "status": status,
        });
        let patch = Patch::Apply(&object);
        let write = PatchParams::apply(MANAGER).force();
        let written = async {
            match unless_changed(api.patch_status(&of.name, &write, &patch)).await {
                Err(kube::Error::Api(refused)) if refused.code == 404 => Ok(None),
                answer => answer,
            }
        };
        let written = answered("the status of a resource", written).await?;
        let Some(written) = written else { return Ok(false) };
        // The watch says it too, but maybe not before the next pass.
        self.take(Told::Object(of.kind, Watched::Apply(written)));
        Ok(true)
    }

    /// Once for each reason.
    fn complain(&mut self, error: &TellError) {
        let words = error.to_string();
        if words != self.complaint {
            warn!("the API server was not told how the resources are doing: {words}");
            self.complaint = words;
        }
    }
}

async fn tell_news(events: &mut Recorder, verdict: &Verdict) -> Result<(), TellError> {
    let Some(news) = &verdict.news else { return Ok(()) };
    let refused = news.status == "False";
    let mut note = news.message.clone();
    note.truncate(note.floor_char_boundary(LONGEST_NOTE));
    let event = Event {
        type_: if refused { EventType::Warning } else { EventType::Normal },
        reason: news.reason.clone(),
        note: Some(note),
        action: "Check".to_owned(),
        secondary: None,
    };
    let regarding = ObjectReference {
        api_version: Some(verdict.of.kind.api_version().to_owned()),
        kind: Some(verdict.of.kind.name().to_owned()),
        name: Some(verdict.of.name.to_string()),
        uid: Some(verdict.uid.clone()),
        ..ObjectReference::default()
    };
    answered("an event", events.publish(&event, &regarding)).await
}
