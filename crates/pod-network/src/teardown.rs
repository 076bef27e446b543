//! What is left of the pod network when a node gives it up.

use crate::interface::{self, InterfaceError};

/// Why interfaces of pods are still there.
#[derive(Debug, thiserror::Error)]
#[error("interfaces of pods: {0}")]
pub struct TeardownError(#[source] InterfaceError);

/// Removes the interfaces of all pods of this node, with their routes, and returns how many there were. Their pods
/// have no network from then on.
pub fn remove_pod_interfaces() -> Result<usize, TeardownError> {
    let remove = || {
        let interfaces = interface::inventory()?;
        for interface in &interfaces {
            interface::condemn(&interface.name)?;
        }
        interface::reap()?;
        Ok(interfaces.len())
    };
    remove().map_err(TeardownError)
}
