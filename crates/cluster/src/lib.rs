//! Cluster state: Muslin's resources and Kubernetes objects, from the API or from a folder of the same manifests.
//!
//! A source — the Kubernetes API ([`ApiSource`]), or a folder of the manifests that `kubectl get -o yaml` prints
//! ([`FolderSource`]) — publishes one typed [`ClusterState`]. What cannot be read becomes a [`Problem`] that names file, line, field and remedy,
//! while the last good state of that object stays in force.
//!
//! No decision is made here: what follows from the state is the node plan's matter. Nothing here writes to the
//! folder, and a folder that disappears never withdraws anything.
//!
//! ```
//! use muslin_cluster::ClusterState;
//!
//! let state = ClusterState::from_manifest("tor.yaml", "
//! apiVersion: muslin.dev/v1alpha1
//! kind: BGPPeer
//! metadata:
//!   name: tor
//! spec:
//!   peerAddress: 172.30.1.1
//!   peerASN: 65000
//!   holdTimer: 9s
//! ");
//! assert_eq!(
//!     state.problems[0].to_string(),
//!     "tor.yaml:9: BGPPeer tor .spec.holdTimer: there is no such field; did you mean `holdTime`?",
//! );
//! ```

mod api;
mod crds;
mod folder;
pub mod kubernetes;
mod manifest;
mod problem;
pub mod resources;
mod state;
mod trim;

pub use api::{
    ApiClient, ApiSource, ConnectError, LastGoodError, NodeEvent, NodeNetwork, NodeReporter, STARTUP_TAINT,
    Snapshot, TellError, carry_over, condition, connect, connect_as_user, heartbeat, peer_of_cause,
    report_objects,
};
pub use crds::{Crd, crds};
pub use folder::{FolderError, FolderSource, load_folder};
pub use manifest::nearest;
pub use problem::{Effect, Origin, Problem};
pub use state::{ClusterState, Kind, Object, ObjectRef, Objects};

/// The API group and version of Muslin's resources.
pub const API_VERSION: &str = "muslin.dev/v1alpha1";

/// The namespace in which a resource's Secret is looked for unless it names one.
pub const DEFAULT_NAMESPACE: &str = "muslin-system";

/// The name of a kind's objects in paths and on `kubectl`'s command line.
pub(crate) fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    if kind.ends_with('s') { format!("{kind}es") } else { format!("{kind}s") }
}

/// An error with all its causes, none of them twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !line.contains(&words) {
            line = format!("{line}: {words}");
        }
        next = cause.source();
    }
    line
}
