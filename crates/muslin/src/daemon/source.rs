//! Where the cluster's state comes from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use muslin_cluster::{ApiClient, ApiSource, ClusterState, FolderSource, connect};
use tokio::sync::watch;

use super::Role;

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A folder of manifests.
    Folder(PathBuf),
    /// The Kubernetes API.
    Api {
        /// How to reach it; by the pod's service account without.
        kubeconfig: Option<PathBuf>,
        /// Where the last good state is kept.
        last_good: PathBuf,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Api { kubeconfig: Some(file), .. } => write!(f, "the Kubernetes API of {}", file.display()),
            Self::Api { kubeconfig: None, .. } => f.write_str("the Kubernetes API of this cluster"),
        }
    }
}

/// A source that is followed; dropping it ends that.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A folder of manifests.
    Folder(FolderSource),
    /// The Kubernetes API, and the way to it.
    Api(ApiSource, ApiClient),
}

impl Source {
    /// Begins to follow it.
    pub(crate) async fn open(self, role: &Role) -> anyhow::Result<Opened> {
        Ok(match (self, role) {
            (Self::Folder(folder), _) => Opened::Folder(FolderSource::watch(&folder).context("--state")?),
            (Self::Api { kubeconfig, last_good }, Role::Node(node)) => {
                let client = connect(kubeconfig.as_deref()).await?;
                Opened::Api(ApiSource::watch(&client, &node.name, Some(last_good)), client)
            }
            (Self::Api { .. }, Role::Speaker(_)) => {
                anyhow::bail!("a stand-alone speaker takes its state from a folder: --state DIR")
            }
        })
    }
}

impl Opened {
    /// The state, now and as it changes.
    pub(crate) fn state(&self) -> watch::Receiver<Arc<ClusterState>> {
        match self {
            Self::Folder(source) => source.state(),
            Self::Api(source, _) => source.state(),
        }
    }

    /// The way to the API server, if there is one to be told of this node.
    pub(crate) fn client(&self) -> Option<&ApiClient> {
        match self {
            Self::Folder(_) => None,
            Self::Api(_, client) => Some(client),
        }
    }
}
