//! Cluster state: Muslin's resources and Kubernetes objects, from the API or from a folder of the same manifests.
//!
//! A source — a [`FolderSource`] here — reads manifests as `kubectl get -o yaml` prints them and publishes one
//! typed [`ClusterState`]. What cannot be read becomes a [`Problem`] that names file, line, field and remedy,
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

mod folder;
pub mod kubernetes;
mod manifest;
mod problem;
pub mod resources;
mod state;

pub use folder::{FolderError, FolderSource, load_folder};
pub use manifest::nearest;
pub use problem::{Effect, Origin, Problem};
pub use state::{ClusterState, Kind, Object, ObjectRef, Objects};

/// The API group and version of Muslin's resources.
pub const API_VERSION: &str = "muslin.dev/v1alpha1";

/// The namespace in which a resource's Secret is looked for unless it names one.
pub const DEFAULT_NAMESPACE: &str = "muslin-system";
