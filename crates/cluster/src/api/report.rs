//! What a node tells the API server: how it is doing, never what is wanted.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::ApiClient;
use crate::resources::{Condition, NodeNetworkStatusStatus};
use crate::{API_VERSION, chain, plural};

/// Who owns the fields that we write.
pub(super) const MANAGER: &str = "muslin-agent";

/// The taint that keeps pods from a node whose routes are not there yet: whoever registers nodes may give it to
/// them, and the agent takes it away.
pub const STARTUP_TAINT: &str = "muslin.dev/agent-not-ready";

/// The condition of a Node that the scheduler heeds.
const NETWORK_UNAVAILABLE: &str = "NetworkUnavailable";

/// Longest wait for an answer; whoever tells tries again with newer news.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest note of an event (`events.k8s.io/v1`), in octets.
pub(super) const LONGEST_NOTE: usize = 1024;

/// The API server did not take what it was told.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct TellError {
    /// What was told.
    pub what: &'static str,
    /// Why it was not taken.
    pub reason: String,
}

/// Whether pods can be reached on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNetwork {
    /// They can.
    pub available: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// What happened, in one word: `SessionUp`.
    pub reason: &'static str,
    /// To whom: the peer. Events of one peer and reason are counted together.
    pub about: String,
    /// What happened, for people.
    pub note: String,
    /// The `BGPPeer` that it concerns; the Node if there is none.
    pub peer: Option<String>,
    /// The uid of that object, by which `kubectl describe` finds the event.
    pub uid: Option<String>,
}

/// Tells of one node.
pub struct NodeReporter {
    client: Client,
    node: String,
    /// The Node's uid, by which its status goes when it does.
    uid: Option<String>,
    events: Recorder,
}

impl std::fmt::Debug for NodeReporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeReporter").field("node", &self.node).finish_non_exhaustive()
    }
}

/// A condition that begins now; see [`carry_over`] for one that goes on.
pub fn condition(kind: &str, holds: bool, reason: &str, message: String) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: Time(Timestamp::now()),
        observed_generation: None,
    }
}

/// Keeps the time of transition of conditions whose status has not changed.
pub fn carry_over(before: &[Condition], now: &mut [Condition]) {
    for condition in now {
        let same = |old: &&Condition| old.kind == condition.kind && old.status == condition.status;
        if let Some(old) = before.iter().find(same) {
            condition.last_transition_time = old.last_transition_time.clone();
        }
    }
}

pub(super) fn resource(kind: &str) -> ApiResource {
    let (group, version) = API_VERSION.split_once('/').unwrap_or(("", API_VERSION));
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural(kind))
}

/// How often a write is tried in a row, each time with what is there by then: somebody else was faster each time.
pub(super) const TRIES: usize = 5;

/// The answer; none if somebody else has made, changed or replaced the object since it was looked at (409).
pub(super) async fn unless_changed<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<Option<T>, kube::Error> {
    match request.await {
        Err(kube::Error::Api(refused)) if refused.code == 409 => Ok(None),
        answer => answer.map(Some),
    }
}

/// The answer, within bounded time.
pub(super) async fn answered<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, TellError> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(TellError { what, reason: status.message.clone() }),
        Ok(Err(error)) => Err(TellError { what, reason: chain(&error) }),
        Err(_) => Err(TellError { what, reason: "no answer in time".to_owned() }),
    }
}

impl NodeReporter {
    /// Tells of `node`. Nothing is sent yet.
    pub fn new(client: &ApiClient, node: &str) -> Self {
        let reporter =
            Reporter { controller: "muslin.dev/agent".to_owned(), instance: Some(node.to_owned()) };
        let client = client.0.clone();
        let events = Recorder::new(client.clone(), reporter);
        Self { client, node: node.to_owned(), uid: None, events }
    }

    /// Writes the node's `NodeNetworkStatus`; makes the object if there is none.
    ///
    /// # Errors
    ///
    /// If the API server does not take it.
    pub async fn tell_status(&mut self, status: &NodeNetworkStatusStatus) -> Result<(), TellError> {
        const WHAT: &str = "the NodeNetworkStatus";
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource("NodeNetworkStatus"));
        let object = json!({
            "apiVersion": API_VERSION,
            "kind": "NodeNetworkStatus",
            "metadata": {"name": self.node},
            "status": status,
        });
        let name = self.node.clone();
        let write = || async {
            let patch = Patch::Apply(&object);
            api.patch_status(&name, &PatchParams::apply(MANAGER).force(), &patch).await
        };
        match tokio::time::timeout(ANSWER, write()).await {
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(answer) => return answered(WHAT, async { answer }).await.map(drop),
            Err(_) => return Err(TellError { what: WHAT, reason: "no answer in time".to_owned() }),
        }
        let uid = self.uid().await?;
        let new = json!({
            "apiVersion": API_VERSION,
            "kind": "NodeNetworkStatus",
            "metadata": {
                "name": self.node,
                // It goes with its node.
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid}],
            },
        });
        let new: DynamicObject = serde_json::from_value(new)
            .map_err(|error| TellError { what: WHAT, reason: error.to_string() })?;
        // Whoever has made it meanwhile has made the same.
        answered(WHAT, unless_changed(api.create(&PostParams::default(), &new))).await?;
        answered(WHAT, write()).await.map(drop)
    }

    async fn uid(&mut self) -> Result<String, TellError> {
        if let Some(uid) = &self.uid {
            return Ok(uid.clone());
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node = answered("the Node", nodes.get_metadata(&self.node)).await?;
        let uid = node.uid().unwrap_or_default();
        self.uid = Some(uid.clone());
        Ok(uid)
    }

    /// Says in the Node's conditions whether its network is there, and takes the startup taint away when it is.
    ///
    /// # Errors
    ///
    /// If the API server does not take it.
    pub async fn tell_network(&self, network: &NodeNetwork) -> Result<(), TellError> {
        const WHAT: &str = "the Node's condition NetworkUnavailable";
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut node = answered(WHAT, nodes.get(&self.node)).await?;
        let known = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let known = known.into_iter().find(|condition| condition.type_ == NETWORK_UNAVAILABLE);
        let status = if network.available { "False" } else { "True" };
        if known.is_none_or(|known| known.status != status || known.reason.as_deref() != Some(network.reason))
        {
            let now = Time(Timestamp::now());
            let since = known
                .filter(|known| known.status == status)
                .and_then(|known| known.last_transition_time.clone());
            let condition = json!({
                "type": NETWORK_UNAVAILABLE,
                "status": status,
                "reason": network.reason,
                "message": network.message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since.unwrap_or(now.clone()),
            });
            let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
            // The taint is taken from the Node as this leaves it: the patch below holds for no older one.
            node = answered(WHAT, nodes.patch_status(&self.node, &PatchParams::default(), &patch)).await?;
        }
        if network.available {
            self.take_taint(&nodes, node).await?;
        }
        Ok(())
    }

    async fn take_taint(&self, nodes: &Api<Node>, mut node: Node) -> Result<(), TellError> {
        const WHAT: &str = "the startup taint";
        for _ in 0..TRIES {
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
            if !taints.iter().any(|taint| taint.key == STARTUP_TAINT) {
                return Ok(());
            }
            // Taints of others that came meanwhile must not be lost: the patch holds only for what was seen.
            let others: Vec<_> = taints.iter().filter(|taint| taint.key != STARTUP_TAINT).collect();
            let seen = node.resource_version();
            let patch =
                Patch::Merge(json!({"metadata": {"resourceVersion": seen}, "spec": {"taints": others}}));
            let write = PatchParams::default();
            if answered(WHAT, unless_changed(nodes.patch(&self.node, &write, &patch))).await?.is_some() {
                return Ok(());
            }
            // A new Node changes often, and its pods wait for this.
            node = answered(WHAT, nodes.get(&self.node)).await?;
        }
        Err(TellError { what: WHAT, reason: format!("the Node changed {TRIES} times while it was written") })
    }

    /// Tells an event.
    ///
    /// # Errors
    ///
    /// If the API server does not take it.
    pub async fn tell_event(&mut self, event: &NodeEvent) -> Result<(), TellError> {
        let regarding = match &event.peer {
            Some(peer) => ObjectReference {
                api_version: Some(API_VERSION.to_owned()),
                kind: Some("BGPPeer".to_owned()),
                name: Some(peer.clone()),
                uid: event.uid.clone(),
                ..ObjectReference::default()
            },
            None => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(self.node.clone()),
                uid: Some(self.uid().await?),
                ..ObjectReference::default()
            },
        };
        let mut note = format!("{}: {}", self.node, event.note);
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let event = Event {
            type_: if event.warning { EventType::Warning } else { EventType::Normal },
            reason: event.reason.to_owned(),
            note: Some(note),
            action: event.about.clone(),
            secondary: None,
        };
        answered("an event", self.events.publish(&event, &regarding)).await
    }
}
