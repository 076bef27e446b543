//! The lab: a whole cluster network of namespaces on one machine, proven with real packets.
//!
//! Nodes run the real agent, pods are added by the real CNI plugin, and the external router is `muslin speaker`, BIRD
//! or FRR. The lab waits on events until the kernels have all routes, then sends packets of its own every way that must
//! work, looks at what receivers and wires saw, takes BGP away and shows that nothing passes any more.
//!
//! [`run`] is the `muslin lab` command. [`Lab`] is the same for tests.
//!
//! ```no_run
//! use muslin_lab::{AfterProof, Lab, LabOptions, Progress, RouterKind};
//!
//! # fn main() -> Result<(), muslin_lab::LabError> {
//! // As root in namespaces of one's own, see `muslin_netns::become_root_in_user_namespace`.
//! let options = LabOptions { router: RouterKind::Bird, ..LabOptions::default() };
//! let report = Lab::start(options, Progress::Silent)?.prove(AfterProof::Leave)?;
//! assert!(report.holds);
//! # Ok(())
//! # }
//! ```
//!
//! This crate must never touch the network of the machine it runs on, and never leave anything behind.

mod addresses;
mod agent;
mod args;
mod blueprint;
pub mod capture;
mod command;
pub mod containerlab;
pub mod daemon;
mod error;
pub mod fabric;
mod kernel_routes;
mod lab;
mod manifests;
mod options;
mod pod;
pub mod probe;
pub mod progress;
mod prove;
mod report;
mod router;
mod signals;
pub mod standing;
mod tamper;
mod topology;
mod watch;

pub use addresses::{Dual, DualNet, Family};
pub use args::{KubernetesRequest, KubernetesTopology, LabArgs, Output, ProxyMode};
pub use command::{complain, run};
pub use error::LabError;
pub use lab::{AfterProof, Lab};
pub use options::{Families, LabOptions, RouterKind, Tamper, Topology};
pub use progress::Progress;
pub use report::{Convergence, NodeReport, PodReport, Proof, ProofId, Report, Tally, Terminal};
