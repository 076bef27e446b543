//! CHECK: is everything still as ADD left it?

use std::net::IpAddr;

use ipnet::IpNet;

use super::message::{self, Link, LinkAddress, Route};
use super::{InterfaceError, Netns, POD_ROUTE_PROTOCOL, host_name};
use crate::ipam::Attachment;
use crate::netlink::Socket;

/// What ADD's result says of our interface.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) attachment: &'a Attachment,
    /// The addresses of the pod's side.
    pub(crate) addresses: Vec<IpNet>,
    /// Routes in the pod; others may be there too.
    pub(crate) routes: Vec<(IpNet, Option<IpAddr>)>,
    /// The pod's hardware address, if the result names one.
    pub(crate) mac: Option<String>,
}

/// What is missing or changed, in words; empty if all is well.
pub(crate) fn check(expected: &Expected<'_>, netns: &Netns) -> Result<Vec<String>, InterfaceError> {
    let mut faults = netns.run(|| check_pod(expected))?;
    faults.extend(check_host(expected)?);
    Ok(faults)
}

/// What one namespace has, of routes perhaps only those of one protocol.
struct Seen {
    links: Vec<Link>,
    addresses: Vec<LinkAddress>,
    routes: Vec<Route>,
}

impl Seen {
    fn here(protocol: Option<u8>) -> Result<Self, InterfaceError> {
        let mut socket = Socket::route()?;
        Ok(Self {
            links: message::links(&mut socket)?,
            addresses: message::addresses(&mut socket)?,
            routes: message::routes(&mut socket, protocol)?,
        })
    }

    /// The link called `name`, or what is wrong with it.
    fn link(&self, side: &str, name: &str) -> Result<&Link, String> {
        match self.links.iter().find(|link| link.name == name) {
            None => Err(format!("{side}: interface {name} is missing")),
            Some(link) if !link.is_up => Err(format!("{side}: interface {name} is switched off")),
            Some(link) => Ok(link),
        }
    }
}

fn check_pod(expected: &Expected<'_>) -> Result<Vec<String>, InterfaceError> {
    let seen = Seen::here(None)?;
    let link = match seen.link("pod", &expected.attachment.interface) {
        Ok(link) => link,
        Err(fault) => return Ok(vec![fault]),
    };
    let mut faults = Vec::new();
    if let (Some(wanted), Some(found)) = (&expected.mac, link.mac)
        && !wanted.eq_ignore_ascii_case(&found.to_string())
    {
        faults.push(format!("pod: interface {} has hardware address {found}, not {wanted}", link.name));
    }
    for &address in &expected.addresses {
        if !seen.addresses.contains(&LinkAddress { index: link.index, address }) {
            faults.push(format!("pod: interface {} does not have address {address}", link.name));
        }
    }
    for (destination, gateway) in &expected.routes {
        let is_it = |route: &&Route| {
            route.destination == *destination && route.index == link.index && route.gateway == *gateway
        };
        if !seen.routes.iter().any(|route| is_it(&route)) {
            faults.push(format!("pod: route to {destination} is missing or leads elsewhere"));
        }
    }
    Ok(faults)
}

fn check_host(expected: &Expected<'_>) -> Result<Vec<String>, InterfaceError> {
    let seen = Seen::here(Some(POD_ROUTE_PROTOCOL))?;
    let link = match seen.link("node", &host_name(expected.attachment)) {
        Ok(link) => link,
        Err(fault) => return Ok(vec![fault]),
    };
    let is_routed = |destination: &IpNet| {
        seen.routes.iter().any(|route| route.destination == *destination && route.index == link.index)
    };
    let lost = expected.addresses.iter().map(|address| IpNet::from(address.addr()));
    let lost = lost.filter(|destination| !is_routed(destination));
    Ok(lost.map(|destination| format!("node: route to {destination} by {} is missing", link.name)).collect())
}
