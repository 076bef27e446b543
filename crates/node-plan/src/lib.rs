//! The plan of a node: what it peers with, announces, accepts, and does with its pods' packets.
//!
//! [`plan()`] is a pure function of the cluster's state, the kernel's facts and the node's name. It has no I/O, no
//! clock and no memory, and the order in which objects arrive does not matter. Every item of a plan carries its
//! cause, the object and field that it follows from, and what was left out carries its reason.
//!
//! Nothing that we put into the kernel ourselves or learned from a peer is an input: a plan never follows from
//! its own effects.
//!
//! ```
//! use muslin_cluster::ClusterState;
//! use muslin_node_plan::{KernelFacts, plan};
//!
//! let state = ClusterState::from_manifest("n1.yaml", "
//! apiVersion: v1
//! kind: Node
//! metadata: {name: n1}
//! spec: {podCIDRs: [10.244.1.0/24]}
//! ");
//! let plan = plan(&state, &KernelFacts::default(), "n1");
//! assert_eq!(plan.speaker.originated[0].prefix.to_string(), "10.244.1.0/24");
//! assert_eq!(&*plan.speaker.originated[0].cause, "Node n1 .spec.podCIDRs[0]");
//! ```

mod advertisement;
mod blocks;
mod bmp;
mod causes;
mod drain;
mod endpoints;
mod facts;
mod firewall;
mod guard;
mod handover;
mod inquiry;
mod lingering;
mod mesh;
mod peers;
mod plan;
mod policy;
mod reflectors;
mod router;
mod services;
mod settings;
mod speaker;
mod view;

pub use advertisement::advertised;
pub use causes::{Caused, Withheld};
pub use drain::{DrainPhase, draining};
pub use facts::{ConnectedPrefix, DefaultGateway, Interface, KernelFacts, LocalAddress, Neighbour};
pub use handover::Handover;
pub use inquiry::{AddressOf, EndpointOf, Inquired, find, objects_at};
pub use lingering::Lingering;
pub use peers::{AwaitedPeer, Discovery};
pub use plan::{Announced, NodePlan, announced, plan, plan_holding};
pub use router::{
    Members, NodeGroup, PrefixRange, RouterError, RouterPlan, RouterRequest, RouterSession, Secrets,
    router_plan,
};
pub use speaker::{SpeakerPlan, speaker_plan};
pub use view::{GuardView, PeerView, PlanView, PolicyView, RouteView};

#[cfg(test)]
mod tests;
