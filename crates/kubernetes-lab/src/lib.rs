//! The lab with a real Kubernetes control plane: etcd, API server, controller manager and scheduler, and nodes in
//! namespaces of their own, each with containerd, kubelet and kube-proxy, behind one top-of-rack router or on one link.
//!
//! Each node has a link to the router, or to all others and the router, and nothing else; only BGP tells the router and
//! the nodes where pods are.
//!
//! [`run`] is the `muslin lab --kubernetes` command. [`KubernetesLab`] is the same for tests. Both need real root, for
//! the control groups that kubelets work with. [`run_node`] is what a node runs as its process 1.
//!
//! This crate must never touch the network or the control groups of the machine it runs on, and never leave anything
//! behind but the programs in the cache folder.

mod cgroup;
mod command;
mod configuration;
mod control_plane;
mod e2e;
mod image;
mod install;
mod kubectl;
mod lab;
mod node;
mod pki;
pub mod pod;
pub mod poll;
mod programs;
mod scenario;
mod shape;

pub use command::run;
pub use configuration::STATIC_PODS;
pub use e2e::{SpecResult, Specs};
pub use image::{AGNHOST, INGRESS, OTHER_BUILD};
pub use install::{NAMESPACE, RELEASE, chart};
pub use kubectl::Kubectl;
pub use lab::{KubernetesLab, KubernetesOptions, Times};
pub use muslin_lab::Progress;
pub use node::Node;
pub use node::init::{NodeArgs, run_node};
pub use programs::{KUBERNETES, Programs};
pub use shape::ClusterShape;
