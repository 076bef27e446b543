//! The cluster at one moment, for commands that look once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Config;
use kube::api::{Api, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::report::{TellError, answered, resource};
use super::watch::{name, resource_of, typed};
use super::{ApiClient, CONNECT_TIMEOUT, ConnectError};
use crate::problem::Origin;
use crate::resources::{BgpPeerStatus, NodeNetworkStatusStatus};
use crate::state::{AnyObject, ClusterState, Kind, ObjectRef};
use crate::trim;

/// Objects of one answer.
const PAGE: u32 = 500;

/// The cluster, and what is told of it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What is wanted.
    pub state: ClusterState,
    /// What each node tells of itself.
    pub nodes: BTreeMap<Arc<str>, NodeNetworkStatusStatus>,
    /// What is told of resources that belong to no node.
    pub objects: BTreeMap<ObjectRef, BgpPeerStatus>,
}

/// A client as `kubectl` has it: by the file that is named, else by `KUBECONFIG`, else by `~/.kube/config`, else by
/// the pod's service account.
///
/// # Errors
///
/// If none of them says where the API server is and who we are.
pub async fn connect_as_user(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<ApiClient, ConnectError> {
    let file = || kubeconfig.map_or_else(|| "the kubeconfig".into(), Path::to_owned);
    let unusable = |source| ConnectError::Kubeconfig { file: file(), source };
    let options =
        KubeConfigOptions { context: context.map(ToOwned::to_owned), ..KubeConfigOptions::default() };
    let mut config = match kubeconfig {
        Some(file) => {
            let kubeconfig = Kubeconfig::read_from(file).map_err(unusable)?;
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?
        }
        None => match Config::from_kubeconfig(&options).await {
            Ok(config) => config,
            Err(error) if context.is_some() => return Err(unusable(error)),
            Err(error) => Config::incluster().map_err(|_| unusable(error))?,
        },
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    Client::try_from(config).map(ApiClient).map_err(ConnectError::Client)
}

impl ApiClient {
    /// The namespace that the kubeconfig's context names.
    pub fn namespace(&self) -> &str {
        self.0.default_namespace()
    }

    /// The cluster now.
    ///
    /// # Errors
    ///
    /// If the API server does not answer, or may not tell.
    pub async fn snapshot(&self) -> Result<Snapshot, TellError> {
        let mut snapshot = Snapshot::default();
        let state = &mut snapshot.state;
        for node in self.all(Api::<Node>::all(self.0.clone()), "nodes").await? {
            state.put(name(&node), AnyObject::Node(trim::node(node).into()));
        }
        for service in self.all(Api::<Service>::all(self.0.clone()), "services").await? {
            state.put(name(&service), AnyObject::Service(trim::service(service).into()));
        }
        for slice in self.all(Api::<EndpointSlice>::all(self.0.clone()), "endpointslices").await? {
            state.put(name(&slice), AnyObject::EndpointSlice(trim::endpoint_slice(slice).into()));
        }
        for kind in [Kind::BgpConfiguration, Kind::BgpPeer, Kind::BgpFilter, Kind::RouteAdvertisement] {
            let api: Api<DynamicObject> = Api::all_with(self.0.clone(), &resource_of(kind));
            for object in self.all(api, kind.name()).await? {
                let of = ObjectRef::new(kind, name(&object));
                snapshot.objects.insert(of.clone(), status(&object));
                match typed(kind, object) {
                    Ok(object) => _ = snapshot.state.put(of.name, object),
                    Err(faults) => snapshot.state.problems.extend(faults.into_iter().map(|fault| {
                        let effect = crate::Effect::Refused;
                        let origin = Origin::default();
                        ClusterState::problem(&of, &origin, &fault.field, fault.message, fault.remedy, effect)
                    })),
                }
            }
        }
        let api: Api<DynamicObject> = Api::all_with(self.0.clone(), &resource("NodeNetworkStatus"));
        for node in self.all(api, "nodenetworkstatuses").await? {
            snapshot.nodes.insert(name(&node), status(&node));
        }
        Ok(snapshot)
    }

    /// A Pod.
    ///
    /// # Errors
    ///
    /// If the API server does not answer, or may not tell.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, TellError> {
        let api: Api<Pod> = Api::namespaced(self.0.clone(), namespace);
        answered("the Pod", api.get_opt(name)).await
    }

    async fn all<K>(&self, api: Api<K>, what: &'static str) -> Result<Vec<K>, TellError>
    where
        K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut objects = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let list = answered(what, api.list(&page)).await?;
            page.continue_token = list.metadata.continue_.filter(|token| !token.is_empty());
            objects.extend(list.items);
            if page.continue_token.is_none() {
                return Ok(objects);
            }
        }
    }
}

/// What is told of an object; nothing, if it is of another version.
fn status<T: DeserializeOwned + Default>(object: &DynamicObject) -> T {
    let status = object.data.get("status").cloned().unwrap_or_default();
    serde_json::from_value(status).unwrap_or_default()
}
