//! Items of objects, each with the field that it stands in.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::problem::Fault;

/// An item of an object together with the field that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<T> {
    /// Path from the object's root; `.spec.podCIDRs[0]` in words.
    pub path: FieldPath,
    /// What stands there.
    pub value: T,
}

/// A field that holds an address or a range of them, with its place where there may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FieldPath {
    /// A Node's only range.
    PodCidr,
    /// One of a Node's ranges.
    PodCidrs(u16),
    /// A Node's address.
    NodeAddress(u16),
    /// A Service's only cluster IP.
    ClusterIp,
    /// One of a Service's cluster IPs.
    ClusterIps(u16),
    /// A Service's external IP.
    ExternalIps(u16),
    /// What a load balancer gave a Service.
    Ingress(u16),
    /// A Pod's address.
    PodIps(u16),
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PodCidr => f.write_str(".spec.podCIDR"),
            Self::PodCidrs(index) => write!(f, ".spec.podCIDRs[{index}]"),
            Self::NodeAddress(index) => write!(f, ".status.addresses[{index}].address"),
            Self::ClusterIp => f.write_str(".spec.clusterIP"),
            Self::ClusterIps(index) => write!(f, ".spec.clusterIPs[{index}]"),
            Self::ExternalIps(index) => write!(f, ".spec.externalIPs[{index}]"),
            Self::Ingress(index) => write!(f, ".status.loadBalancer.ingress[{index}].ip"),
            Self::PodIps(index) => write!(f, ".status.podIPs[{index}]"),
        }
    }
}

impl FieldPath {
    /// The place in its list; zero where there is none.
    pub(super) fn index(self) -> usize {
        match self {
            Self::PodCidr | Self::ClusterIp => 0,
            Self::PodCidrs(index)
            | Self::NodeAddress(index)
            | Self::ClusterIps(index)
            | Self::ExternalIps(index)
            | Self::Ingress(index)
            | Self::PodIps(index) => index.into(),
        }
    }
}

/// A text with the field that it stands in.
pub(super) type Text<'a> = (FieldPath, &'a str);

/// The texts of a list, each with its place; beyond what `u16` counts all have the last one.
pub(super) fn numbered<'a>(
    path: fn(u16) -> FieldPath,
    texts: impl IntoIterator<Item = &'a String>,
) -> impl Iterator<Item = Text<'a>> {
    texts.into_iter().enumerate().map(move |(index, text)| (path(place(index)), text.as_str()))
}

/// A place in a list as it is kept.
pub(super) fn place(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}

/// The addresses that `texts` are; those that are none become faults.
pub(super) fn addresses<'a>(
    texts: impl IntoIterator<Item = Text<'a>>,
    faults: &mut Vec<Fault>,
) -> Box<[Field<IpAddr>]> {
    parsed(texts, address, "write an IPv4 or IPv6 address", faults)
}

/// The ranges that `texts` are; those that are none become faults.
pub(super) fn ranges<'a>(
    texts: impl IntoIterator<Item = Text<'a>>,
    faults: &mut Vec<Fault>,
) -> Box<[Field<IpNet>]> {
    let range = |text: &str| text.parse::<IpNet>().ok().filter(|range| range.trunc() == *range);
    parsed(texts, range, "write an address range without host bits, as 10.244.1.0/24", faults)
}

pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

pub(super) fn no_address(path: impl Into<String>, text: &str) -> Fault {
    Fault::new(path, format!("found {text:?}"), "write an IPv4 or IPv6 address")
}

fn parsed<'a, T>(
    texts: impl IntoIterator<Item = Text<'a>>,
    parse: impl Fn(&str) -> Option<T>,
    remedy: &str,
    faults: &mut Vec<Fault>,
) -> Box<[Field<T>]> {
    let mut items = Vec::new();
    for (path, text) in texts {
        match parse(text) {
            Some(value) => items.push(Field { path, value }),
            None => faults.push(Fault::new(path.to_string(), format!("found {text:?}"), remedy)),
        }
    }
    items.into_boxed_slice()
}
