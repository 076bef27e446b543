//! Kubernetes' own objects: of each what Muslin reads and nothing else, for a cluster has tens of thousands of them
//! and every node keeps them all.
//!
//! An object is read as it is written (`Written`), then kept with its addresses understood. What is read is written again
//! for the last good state, as a manifest that Kubernetes' own tools understand.
//!
//! Kubernetes keeps addresses as text. Sources refuse objects whose text is no address; commands that look once
//! leave such an address out.

mod endpoint_slice;
mod field;
mod labels;
mod node;
mod pod;
mod service;
mod written;

pub use endpoint_slice::{AddressType, Conditions, Endpoint, EndpointSlice};
pub use field::{Field, FieldPath};
pub use labels::Labels;
pub use node::{DRAIN_TAINT, Leaving, Node};
pub use pod::Pod;
pub use service::{Service, ServiceType, TrafficPolicy};

pub(crate) use endpoint_slice::WrittenEndpointSlice;
pub(crate) use node::WrittenNode;
pub(crate) use pod::WrittenPod;
pub(crate) use service::WrittenService;
pub(crate) use written::Written;

#[cfg(test)]
mod tests;
