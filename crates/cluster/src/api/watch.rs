//! One watch: from the API server's events to what the index is told.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DynamicObject};
use kube::core::Status;
use kube::runtime::watcher::{self, Event};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tracing::debug;

use super::backoff::Backoff;
use super::index::{Failure, Item, Told, Watched};
use super::sent::{Sent, resource_of, sent};
use crate::kubernetes::{Written, WrittenEndpointSlice, WrittenNode, WrittenService};
use crate::manifest;
use crate::problem::Fault;
use crate::state::{AnyObject, Kind, Object};
use crate::trim;

/// Follows one kind, or one object, until nobody listens.
pub(super) async fn run(client: Client, watched: Watched, tell: Sender<(Watched, Told)>) {
    let to = To { watched: watched.clone(), tell };
    match watched {
        Watched::One(of) => {
            let (namespace, name) = of.name.split_once('/').unwrap_or(("default", &of.name));
            let api: Api<Secret> = Api::namespaced(client, namespace);
            let one = format!("metadata.name={name}");
            to.follow(api, Some(&one), |secret| Ok(AnyObject::Secret(trim::secret(secret).into()))).await;
        }
        Watched::All(Kind::Node) => {
            let api = sent::<WrittenNode>(client, Kind::Node);
            to.follow(api, None, |node| kept(node).map(AnyObject::Node)).await;
        }
        Watched::All(Kind::Service) => {
            let api = sent::<WrittenService>(client, Kind::Service);
            to.follow(api, None, |service| kept(service).map(AnyObject::Service)).await;
        }
        Watched::All(Kind::EndpointSlice) => {
            let api = sent::<WrittenEndpointSlice>(client, Kind::EndpointSlice);
            to.follow(api, None, |slice| kept(slice).map(AnyObject::EndpointSlice)).await;
        }
        Watched::All(kind) => {
            let resource = resource_of(kind);
            let api: Api<DynamicObject> = Api::all_with(client, &resource);
            to.follow(api, None, move |object| typed(kind, object)).await;
        }
    }
}

fn kept<W: Written>(Sent(written): Sent<W>) -> Result<Object<W::Kept>, Vec<Fault>> {
    let mut faults = Vec::new();
    let kept = written.kept(&mut faults);
    if faults.is_empty() { Ok(kept.into()) } else { Err(faults) }
}

pub(super) fn typed(kind: Kind, mut object: DynamicObject) -> Result<AnyObject, Vec<Fault>> {
    trim::metadata(&mut object.metadata);
    if let Some(fields) = object.data.as_object_mut() {
        fields.remove("status");
    }
    let unreadable = |error: serde_json::Error| vec![Fault::new("", error.to_string(), "")];
    let mut value = serde_json::to_value(object).map_err(unreadable)?;
    if let Some(fields) = value.as_object_mut() {
        // Items of a list come without.
        fields.insert("apiVersion".to_owned(), kind.api_version().into());
        fields.insert("kind".to_owned(), kind.name().into());
    }
    manifest::object(kind, value)
}

struct To {
    watched: Watched,
    tell: Sender<(Watched, Told)>,
}

impl To {
    async fn follow<K>(
        &self,
        api: Api<K>,
        fields: Option<&str>,
        read: impl Fn(K) -> Result<AnyObject, Vec<Fault>>,
    ) where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut config = watcher::Config::default();
        if let Some(fields) = fields {
            config = config.fields(fields);
        }
        let mut backoff = Backoff::default();
        let mut broken_since = None;
        let item = |object: K| Item { name: name(&object), object: read(object) };
        loop {
            let mut events = pin!(watcher::watcher(api.clone(), config.clone()));
            while let Some(event) = events.next().await {
                // A list that merely began is no success: it may fail at once, over and over.
                if !matches!(event, Ok(Event::Init) | Err(_)) {
                    backoff.reset();
                    broken_since = None;
                }
                let mut pauses = None;
                let (told, after) = match event {
                    Ok(Event::Init) => (Told::ListBegins, After::GoOn),
                    Ok(Event::InitApply(object)) => (Told::Listed(item(object)), After::GoOn),
                    Ok(Event::InitDone) => (Told::ListEnds, After::GoOn),
                    Ok(Event::Apply(object)) => (Told::Applied(item(object)), After::GoOn),
                    Ok(Event::Delete(object)) => (Told::Deleted(name(&object)), After::GoOn),
                    Err(error) => {
                        debug!(watched = %self.watched, error = crate::chain(&error), "a watch broke");
                        let since = *broken_since.get_or_insert_with(Instant::now);
                        let pause = backoff.next(rand::random());
                        // What counts is how long it will have been at the next attempt.
                        let after = after(&error, since.elapsed() + pause);
                        pauses = Some(pause);
                        (Told::Failed(failure(&error)), after)
                    }
                };
                // That the server forgot where we were is no failure: the list that follows is the answer.
                if after != After::Forgotten && self.tell.send((self.watched.clone(), told)).await.is_err() {
                    return;
                }
                if let Some(pause) = pauses {
                    tokio::time::sleep(pause).await;
                }
                if after != After::GoOn {
                    break;
                }
            }
        }
    }
}

/// For how long a broken watch is taken up where it was. After a longer outage the API server may be another one,
/// restored from a backup: a watch from beyond its history would be silent for good.
const RESUME_WITHIN: Duration = Duration::from_secs(10);

/// What follows an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    GoOn,
    ListAnew,
    /// The server has forgotten our place in its history.
    Forgotten,
}

/// 410 is what the API says when it has forgotten a resource version, 504 when it has not yet come to it: either
/// way only a list tells what there is.
fn after(error: &watcher::Error, broken_for: Duration) -> After {
    match status(error) {
        Some(status) if matches!(status.code, 410 | 504) => After::Forgotten,
        _ if broken_for > RESUME_WITHIN => After::ListAnew,
        _ => After::GoOn,
    }
}

/// The key in the state: `name`, or `namespace/name`.
pub(super) fn name<K: Resource>(object: &K) -> Arc<str> {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()).into(),
        None => object.name_any().into(),
    }
}

/// What a broken watch means.
fn failure(error: &watcher::Error) -> Failure {
    match status(error) {
        Some(status) if status.code == 404 => Failure::NotServed,
        Some(status) if status.code == 403 => Failure::Forbidden,
        Some(status) => Failure::Broken(status.message.clone()),
        None => Failure::Broken(crate::chain(error)),
    }
}

/// What the API server itself said.
fn status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::WatchError(status)
        | watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16) -> watcher::Error {
        watcher::Error::WatchError(Status { code, ..Status::failure("gone", "Expired") }.boxed())
    }

    #[test]
    fn a_watch_goes_on_where_it_was_unless_its_place_is_lost_or_the_outage_was_long() {
        assert_eq!(after(&told(500), Duration::ZERO), After::GoOn);
        assert_eq!(after(&told(500), RESUME_WITHIN + Duration::from_secs(1)), After::ListAnew);
        assert_eq!(after(&told(410), Duration::ZERO), After::Forgotten);
        assert_eq!(after(&told(504), Duration::ZERO), After::Forgotten);
    }
}
