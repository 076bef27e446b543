//! The Kubernetes API as the source of cluster state.
//!
//! ```text
//!   watch of Nodes ────────┐                              ┌──▶ watch<Arc<ClusterState>> ──▶ planner
//!   watch of Services ─────┤                              │            │
//!   …one a kind…           ├─▶ channel of 256 ──▶ Index ──┤            └──▶ last good state on disk
//!   watch of each Secret ──┘   (typed, trimmed)           └──▶ which Secrets to watch
//! ```
//!
//! The channel is bounded: when it is full the watches wait, and TCP slows the API server down. All that waits in
//! it is taken together, so a burst costs one new state. A watch that breaks goes on where it was; one whose place
//! the server has forgotten (410) lists anew. Until every kind was listed once nothing is published, unless the
//! last good state of an earlier process is there: then the node goes on with that.
//!
//! A node watches no more than its plan needs: Nodes, Services, their endpoints and Muslin's resources, each
//! trimmed to what is read of it, and of Secrets only those that its own peers name.

mod backoff;
mod board;
mod election;
mod heartbeat;
mod index;
mod last_good;
mod objects;
mod report;
mod sent;
mod snapshot;
mod token;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::{mpsc, watch as latest};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use self::index::{Index, Told, Watched};
use crate::state::{ClusterState, Kind};

pub use self::board::peer_of_cause;
pub use self::heartbeat::heartbeat;
pub use self::last_good::LastGoodError;
pub use self::objects::report_objects;
pub use self::report::{
    NodeEvent, NodeNetwork, NodeReporter, STARTUP_TAINT, TellError, carry_over, condition,
};
pub use self::snapshot::{Snapshot, connect_as_user};

/// The kinds that are watched whole. Nothing that a plan decides depends on Pods: the node knows its own.
const KINDS: [Kind; 7] = [
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::BgpConfiguration,
    Kind::BgpPeer,
    Kind::BgpFilter,
    Kind::RouteAdvertisement,
];

/// What watches have to tell and was not looked at yet, at most.
const QUEUE: usize = 256;

/// Longest wait for a connection to the API server; a watch that is under way may be silent for longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two writings of the last good state, which every change would otherwise cause.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file cannot be used.
    #[error("{}: {problem}; name another one with --kubeconfig FILE or KUBECONFIG", .file.display())]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// Why. It tells its own cause, so it is none that is told again.
        problem: kube::config::KubeconfigError,
    },
    /// Not in a cluster.
    #[error(
        "this process is not in a pod with a service account ({0}): give it --kubeconfig FILE, or --state DIR to run without Kubernetes"
    )]
    NotInCluster(kube::config::InClusterError),
    /// The client cannot be made, e.g. because of a certificate.
    #[error("the client of the API server cannot be made: {0}")]
    Client(kube::Error),
}

/// The way to the API server; cheap to clone.
#[derive(Clone)]
pub struct ApiClient(Client);

/// A client that somebody has made in a way of their own.
impl From<Client> for ApiClient {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

impl std::fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiClient")
    }
}

/// A client of the API server: by `kubeconfig` if there is one, else by the pod's service account. Nothing is
/// sent yet.
///
/// # Errors
///
/// If neither says where the API server is and who we are.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<ApiClient, ConnectError> {
    let mut config = match kubeconfig {
        Some(file) => {
            let unusable = |problem| ConnectError::Kubeconfig { file: file.to_owned(), problem };
            let kubeconfig = Kubeconfig::read_from(file).map_err(unusable)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(unusable)?
        }
        None => Config::incluster().map_err(ConnectError::NotInCluster)?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let token = config.auth_info.token_file.take().filter(|_| config.auth_info.token.is_none());
    let client = ClientBuilder::try_from(config).map_err(ConnectError::Client)?;
    Ok(ApiClient(match token {
        Some(file) => client.with_layer(&token::of_file(file.into())).build(),
        None => client.build(),
    }))
}

/// The cluster as the API server tells it; dropping it ends the watches.
#[derive(Debug)]
pub struct ApiSource {
    state: latest::Receiver<Arc<ClusterState>>,
    task: JoinHandle<()>,
    saver: Option<JoinHandle<()>>,
}

impl Drop for ApiSource {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(saver) = &self.saver {
            saver.abort();
        }
    }
}

impl ApiSource {
    /// Follows what `node` needs of the cluster from now on. `last_good` is the folder where the state is kept
    /// for a start without the API server; what is there is published at once.
    ///
    /// Must be called within a tokio runtime.
    pub fn watch(client: &ApiClient, node: &str, last_good: Option<PathBuf>) -> Self {
        let mut index = Index::new(node, KINDS);
        if let Some(folder) = &last_good {
            match last_good::load(folder) {
                Ok(Some(state)) => {
                    info!(folder = %folder.display(), nodes = state.nodes.len(), services = state.services.len(),
                          "going on with the last good state until the API server answers");
                    index.restore(state);
                }
                Ok(None) => {}
                Err(error) => warn!("{error}; the state will come from the API server alone"),
            }
        }
        let first = index.take_state().unwrap_or_default();
        let (publish, state) = latest::channel(Arc::new(first));
        let saver = last_good.map(|folder| tokio::spawn(save(folder, state.clone())));
        let task = tokio::spawn(follow(client.0.clone(), index, publish));
        Self { state, task, saver }
    }

    /// The state, now and as it changes; without objects until enough is known.
    pub fn state(&self) -> latest::Receiver<Arc<ClusterState>> {
        self.state.clone()
    }
}

/// Aborts its task when it is dropped.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn follow(client: Client, mut index: Index, publish: latest::Sender<Arc<ClusterState>>) {
    let (tell, mut told) = mpsc::channel::<(Watched, Told)>(QUEUE);
    let mut watches: BTreeMap<Watched, Running> = BTreeMap::new();
    loop {
        let wanted = index.wanted();
        watches.retain(|watched, _| wanted.contains(watched));
        for watched in wanted {
            let task = || watch::run(client.clone(), watched.clone(), tell.clone());
            watches.entry(watched.clone()).or_insert_with(|| Running(tokio::spawn(task())));
        }
        if let Some(state) = index.take_state() {
            publish.send_if_modified(|published| {
                let changed = **published != state;
                if changed {
                    *published = Arc::new(state);
                }
                changed
            });
        }
        let due = async {
            match index.poll_timeout() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            first = told.recv() => {
                let Some((watched, first)) = first else { return };
                index.handle(Instant::now(), &watched, first);
                // Everything that has happened by now makes one new state.
                while let Ok((watched, next)) = told.try_recv() {
                    index.handle(Instant::now(), &watched, next);
                }
            }
            () = due => {
                index.handle_timeout(Instant::now());
                if !index.is_complete() {
                    for problem in index.problems() {
                        warn!("nothing is known of the cluster yet: {problem}");
                    }
                }
            }
        }
    }
}

/// Keeps the state on disk, the newest one each time.
async fn save(folder: PathBuf, mut state: latest::Receiver<Arc<ClusterState>>) {
    let mut complaint = String::new();
    while state.changed().await.is_ok() {
        let newest = state.borrow_and_update().clone();
        let folder = folder.clone();
        let saved = tokio::task::spawn_blocking(move || last_good::save(&folder, &newest)).await;
        match saved {
            Ok(Err(error)) if error.to_string() != complaint => {
                complaint = error.to_string();
                warn!("{complaint}; a start without the API server would go on with an older state");
            }
            Ok(Ok(())) => complaint.clear(),
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(SAVE_EVERY).await;
    }
}
