//! Which pods' interfaces the kernel has, and whose they are.

use std::net::IpAddr;

use super::message;
use super::{HOST_INTERFACE_PREFIX, InterfaceError, POD_ROUTE_PROTOCOL, parse_alias};
use crate::ipam::{Attached, Attachment};
use crate::netlink::Socket;

/// The node's side of a pod's interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostInterface {
    pub(crate) name: String,
    /// `None` if the making of it was cut short.
    pub(crate) attachment: Option<Attachment>,
    pub(crate) addresses: Vec<IpAddr>,
}

/// All interfaces of pods on this node.
pub(crate) fn inventory() -> Result<Vec<HostInterface>, InterfaceError> {
    let mut socket = Socket::route()?;
    let routes = message::routes(&mut socket, Some(POD_ROUTE_PROTOCOL))?;
    let links = message::links(&mut socket)?.into_iter();
    let interfaces = links.filter(|link| link.name.starts_with(HOST_INTERFACE_PREFIX)).map(|link| {
        let own = routes.iter().filter(|route| route.index == link.index);
        HostInterface {
            addresses: own.map(|route| route.destination.addr()).collect(),
            attachment: link.alias.as_deref().and_then(parse_alias),
            name: link.name,
        }
    });
    Ok(interfaces.collect())
}

/// The attachments that the kernel has.
pub(crate) fn attached() -> Result<Vec<Attached>, InterfaceError> {
    let known = inventory()?.into_iter().filter_map(|interface| {
        Some(Attached { attachment: interface.attachment?, addresses: interface.addresses })
    });
    // A condemned interface has no routes any more and holds nothing.
    Ok(known.filter(|attached| !attached.addresses.is_empty()).collect())
}
