//! Why something is in a plan, or not.

use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_speaker::config::Cause;
use muslin_cluster::{ClusterState, Effect, Kind, Object, ObjectRef, Problem};
use serde::Serialize;

/// A value and the object and field that it follows from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Caused<T> {
    /// What is planned.
    pub value: T,
    /// Why (`Node n1 .spec.podCIDRs[0]`).
    pub cause: Cause,
}

impl<T> Caused<T> {
    /// A value that follows from `cause`.
    pub fn new(value: T, cause: impl Into<Cause>) -> Self {
        Self { value, cause: cause.into() }
    }
}

/// A prefix that this node does not announce although an object asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Withheld {
    /// The prefix.
    pub prefix: IpNet,
    /// The object and field that ask for it.
    pub cause: Cause,
    /// Why it is not announced.
    pub reason: Arc<str>,
}

/// An object with its name, ready to be named as a cause and to have problems.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a, T> {
    pub(crate) reference: ObjectRef,
    pub(crate) object: &'a Object<T>,
}

impl<'a, T> Subject<'a, T> {
    pub(crate) fn new(kind: Kind, name: &Arc<str>, object: &'a Object<T>) -> Self {
        Self { reference: ObjectRef::new(kind, name.clone()), object }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.reference.name
    }

    /// The field as a cause.
    pub(crate) fn cause(&self, field: impl fmt::Display) -> Cause {
        format!("{} {field}", self.reference).into()
    }

    /// A problem of the field: it has no effect.
    pub(crate) fn refused(
        &self,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        ClusterState::problem(&self.reference, &self.object.origin, field, message, remedy, Effect::Refused)
    }

    /// A problem of the field that does not hinder it.
    pub(crate) fn advice(
        &self,
        field: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        ClusterState::problem(&self.reference, &self.object.origin, field, message, remedy, Effect::Advice)
    }
}

/// Whether two ranges have an address in common.
pub(crate) fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// The range that consists of one address.
pub(crate) fn host(address: std::net::IpAddr) -> IpNet {
    IpNet::from(address)
}
