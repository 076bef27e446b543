//! The cluster at one moment, for commands that look once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kube::Config;
use kube::api::{Api, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::report::{TellError, answered, resource};
use super::sent::{Sent, resource_of, sent};
use super::watch::{name, typed};
use super::{ApiClient, CONNECT_TIMEOUT, ConnectError};
use crate::kubernetes::{Pod, Written, WrittenEndpointSlice, WrittenNode, WrittenPod, WrittenService};
use crate::problem::Origin;
use crate::resources::{NodeNetworkStatusStatus, ObjectStatus};
use crate::state::{AnyObject, ClusterState, Kind, ObjectRef};

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
    pub objects: BTreeMap<ObjectRef, ObjectStatus>,
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
    let unusable = |problem| ConnectError::Kubeconfig { file: file(), problem };
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
        for (name, node) in self.kept::<WrittenNode>(Kind::Node, "nodes").await? {
            state.put(name, AnyObject::Node(node.into()));
        }
        for (name, service) in self.kept::<WrittenService>(Kind::Service, "services").await? {
            state.put(name, AnyObject::Service(service.into()));
        }
        for (name, slice) in self.kept::<WrittenEndpointSlice>(Kind::EndpointSlice, "endpointslices").await? {
            state.put(name, AnyObject::EndpointSlice(slice.into()));
        }
        for kind in [Kind::BgpConfiguration, Kind::BgpPeer, Kind::BgpFilter, Kind::RouteAdvertisement] {
            let api: Api<DynamicObject> = Api::all_with(self.0.clone(), &resource_of(kind));
            for object in self.all(api, kind.name()).await? {
                let of = ObjectRef::new(kind, name(&object));
                let told = object.data.get("status").cloned().unwrap_or_default();
                snapshot.objects.insert(of.clone(), ObjectStatus::read(kind, told));
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
            let told = node.data.get("status").cloned().unwrap_or_default();
            // What an agent of another version says is nothing.
            snapshot.nodes.insert(name(&node), serde_json::from_value(told).unwrap_or_default());
        }
        Ok(snapshot)
    }

    /// A Pod.
    ///
    /// # Errors
    ///
    /// If the API server does not answer, or may not tell.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, TellError> {
        let api: Api<Sent<WrittenPod>> =
            Api::namespaced_with(self.0.clone(), namespace, &resource_of(Kind::Pod));
        let pod = answered("the Pod", api.get_opt(name)).await?;
        Ok(pod.map(|Sent(pod)| pod.kept(&mut Vec::new())))
    }

    /// All objects of one of Kubernetes' own kinds, but for what of them cannot be understood.
    async fn kept<W>(&self, kind: Kind, what: &'static str) -> Result<Vec<(Arc<str>, W::Kept)>, TellError>
    where
        W: Written + Clone + std::fmt::Debug,
    {
        let objects = self.all(sent::<W>(self.0.clone(), kind), what).await?;
        Ok(objects.into_iter().map(|object| (name(&object), object.0.kept(&mut Vec::new()))).collect())
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
