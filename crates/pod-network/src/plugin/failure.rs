//! What each failure is in the protocol's codes.

use crate::cni::{Code, Error};
use crate::interface::InterfaceError;
use crate::ipam::{AllocateError, StoreError};
use crate::network_file::ReadError;

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let code = match error {
            ReadError::NotYet(_) => Code::TryAgainLater,
            ReadError::Io { .. } | ReadError::Malformed { .. } | ReadError::Newer { .. } => Code::Io,
        };
        Self::new(code, "the node's network state is not usable").with_details(error.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Contended { .. } => Code::TryAgainLater,
            StoreError::Io { .. } | StoreError::Newer { .. } | StoreError::Unrecoverable { .. } => Code::Io,
        };
        Self::new(code, "the address ledger is not usable").with_details(error.to_string())
    }
}

impl From<AllocateError> for Error {
    fn from(error: AllocateError) -> Self {
        let code = match error {
            AllocateError::Exhausted { .. } => Code::Exhausted,
            AllocateError::Resting { .. } | AllocateError::TakenByRest { .. } => Code::TryAgainLater,
            AllocateError::Taken { .. } => Code::Occupied,
            AllocateError::Unusable { .. } | AllocateError::TwoOfOneFamily { .. } => Code::InvalidConfig,
        };
        Self::new(code, "no address for the pod").with_details(error.to_string())
    }
}

impl From<InterfaceError> for Error {
    fn from(error: InterfaceError) -> Self {
        let code = match error {
            InterfaceError::Exists(_) | InterfaceError::HostExists(_) => Code::Occupied,
            InterfaceError::Netns(_) => Code::InvalidNetns,
            InterfaceError::Netlink(_) | InterfaceError::Sysctl { .. } | InterfaceError::Invisible(_) => {
                Code::Kernel
            }
        };
        Self::new(code, "the pod's interface").with_details(error.to_string())
    }
}
