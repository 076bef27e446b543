//! Making a pod's interface: two batches of requests on the node, one in the pod.

use std::net::IpAddr;

use ipnet::IpNet;

use super::message::{
    CREATE, Link, RouteRequest, add_address, add_permanent_neighbour, add_route, link_header, set_up,
};
use super::remove::remove;
use super::usable::await_local;
use super::{
    GATEWAY_MAC, GATEWAY_V4, GATEWAY_V6, InterfaceError, Mac, Netns, POD_ROUTE_PROTOCOL, alias, host_name,
};
use crate::fail_point;
use crate::ipam::Attachment;
use crate::netlink::{Attributes, Batch, Socket};

/// `IFALIASZ` of `linux/if.h`, with the terminating zero.
const ALIAS_MAX: usize = 256;
/// `VETH_INFO_PEER` of `linux/veth.h`.
const VETH_INFO_PEER: u16 = 1;

/// What is to be made.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) attachment: &'a Attachment,
    /// At most one of a family.
    pub(crate) addresses: &'a [IpAddr],
    /// The pod's side; the node's is always [`GATEWAY_MAC`].
    pub(crate) mac: Mac,
    /// Of both sides, in octets.
    pub(crate) mtu: u32,
}

impl Plan<'_> {
    fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(IpAddr::is_ipv6)
    }
}

/// Makes the interface, or nothing at all.
pub(crate) fn create(plan: &Plan<'_>, netns: &Netns) -> Result<(), InterfaceError> {
    let host_name = host_name(plan.attachment);
    // A socket stays in the namespace that it was opened in: this one is the node's also inside the pod.
    let mut node = Socket::route()?;
    let link = netns.run(|| {
        let link = create_pair(&mut node, plan, netns, &host_name)?;
        fail_point::reached("after-pair");
        if let Err(error) = set_up_both(&mut node, plan, &link) {
            // Both ends and whatever was added to them go with the pair.
            remove(&mut node, &host_name)?;
            return Err(error);
        }
        Ok(link)
    })?;
    // What the pod answers to the node's questions is sent to this address.
    if plan.has_ipv6()
        && let Err(error) = await_local(&mut node, GATEWAY_V6, link.index)
    {
        remove(&mut node, &host_name)?;
        return Err(error.into());
    }
    Ok(())
}

fn set_up_both(node: &mut Socket, plan: &Plan<'_>, link: &Link) -> Result<(), InterfaceError> {
    set_up_host(node, plan, link)?;
    fail_point::reached("after-host");
    let (mut pod, index) = set_up_pod(plan, link)?;
    await_carrier(node, link)?;
    fail_point::reached("after-pod");
    for &address in plan.addresses.iter().filter(|address| address.is_ipv6()) {
        await_local(&mut pod, address, index)?;
    }
    Ok(())
}

/// The pair appears with one end inside the pod: it never exists there under another name, and if the name is
/// taken nothing has happened.
fn create_pair(
    socket: &mut Socket,
    plan: &Plan<'_>,
    netns: &Netns,
    host_name: &str,
) -> Result<Link, InterfaceError> {
    let pod_name = &plan.attachment.interface;
    let peer = |m: &mut Attributes<'_>| {
        m.string(libc::IFLA_IFNAME, pod_name);
        m.bytes(libc::IFLA_ADDRESS, &plan.mac.0);
        m.u32(libc::IFLA_MTU, plan.mtu);
        m.u32(libc::IFLA_NET_NS_FD, netns.number());
    };
    let mut batch = Batch::default();
    let purpose = format!("create the pair {host_name} and {pod_name}");
    batch.push(purpose, (libc::RTM_NEWLINK, CREATE), &link_header(0, 0), |m| {
        m.string(libc::IFLA_IFNAME, host_name);
        m.bytes(libc::IFLA_ADDRESS, &GATEWAY_MAC.0);
        m.u32(libc::IFLA_MTU, plan.mtu);
        m.nest(libc::IFLA_LINKINFO, |m| {
            m.string(libc::IFLA_INFO_KIND, "veth");
            m.nest(libc::IFLA_INFO_DATA, |m| m.nest_with_fixed(VETH_INFO_PEER, &link_header(0, 0), peer));
        });
    });
    get_link(&mut batch, host_name);
    match socket.execute(batch) {
        Ok(answers) => {
            let link = answers.iter().find_map(Link::read);
            link.ok_or_else(|| InterfaceError::Invisible(host_name.to_owned()))
        }
        Err(error) if error.errno() == Some(libc::EEXIST) => {
            let mut look = Batch::default();
            get_link(&mut look, host_name);
            Err(match socket.execute(look) {
                Ok(_) => InterfaceError::HostExists(host_name.to_owned()),
                Err(_) => InterfaceError::Exists(pod_name.clone()),
            })
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn get_link(batch: &mut Batch, name: &str) {
    let purpose = format!("look at interface {name}");
    batch.push(purpose, (libc::RTM_GETLINK, 0), &link_header(0, 0), |m| m.string(libc::IFLA_IFNAME, name));
}

/// Runs inside the pod; returns a socket there and the interface's index.
fn set_up_pod(plan: &Plan<'_>, link: &Link) -> Result<(Socket, u32), InterfaceError> {
    let index = link.peer.ok_or_else(|| InterfaceError::Invisible(plan.attachment.interface.clone()))?;
    if plan.has_ipv6() {
        // No router advertises itself on a pod's link, and no other station can have the pod's addresses.
        for (name, value) in [("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_dad", "0")] {
            let path = format!("/proc/sys/net/ipv6/conf/{}/{name}", plan.attachment.interface);
            std::fs::write(&path, value).map_err(|source| InterfaceError::Sysctl { path, source })?;
        }
    }
    let mut batch = Batch::default();
    set_up(&mut batch, format!("switch on {} in the pod", plan.attachment.interface), index);
    for &address in plan.addresses {
        let (gateway, all) = match address {
            IpAddr::V4(_) => (GATEWAY_V4, IpAddr::from([0; 4])),
            IpAddr::V6(_) => (GATEWAY_V6, IpAddr::from([0; 16])),
        };
        let route = |destination, gateway| RouteRequest {
            destination,
            gateway,
            index,
            protocol: libc::RTPROT_STATIC,
        };
        add_address(&mut batch, IpNet::from(address), index);
        if gateway.is_ipv4() {
            add_route(&mut batch, &route(IpNet::from(gateway), None));
        }
        add_route(&mut batch, &route(IpNet::new_assert(all, 0), Some(gateway)));
        add_permanent_neighbour(&mut batch, gateway, GATEWAY_MAC, index);
    }
    let mut socket = Socket::route()?;
    socket.execute(batch)?;
    Ok((socket, index))
}

fn set_up_host(socket: &mut Socket, plan: &Plan<'_>, link: &Link) -> Result<(), InterfaceError> {
    let mut batch = Batch::default();
    let purpose = format!("configure {}", link.name);
    batch.push(purpose, (libc::RTM_NEWLINK, 0), &link_header(link.index, 0), |m| {
        let alias = alias(plan.attachment);
        // Longer ones the kernel refuses; then only the ledger knows whose interface it is.
        if alias.len() < ALIAS_MAX {
            m.string(libc::IFLA_IFALIAS, &alias);
        }
        m.nest(libc::IFLA_AF_SPEC, |m| {
            m.nest(libc::AF_INET as u16, |m| m.nest(IFLA_INET_CONF, ipv4_settings));
            if plan.has_ipv6() {
                // The gateway's address is added below; the kernel is not to make up another.
                m.nest(libc::AF_INET6 as u16, |m| m.bytes(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]));
            }
        });
    });
    set_up(&mut batch, format!("switch on {}", link.name), link.index);
    if plan.has_ipv6() {
        add_address(&mut batch, IpNet::new_assert(GATEWAY_V6, 64), link.index);
    }
    for &address in plan.addresses {
        let destination = IpNet::from(address);
        let route =
            RouteRequest { destination, gateway: None, index: link.index, protocol: POD_ROUTE_PROTOCOL };
        add_route(&mut batch, &route);
    }
    socket.execute(batch)?;
    Ok(())
}

/// The side that was switched on first sends nothing until the kernel's link watch has seen that the other one is
/// there, which may take it a second. Looking at the link makes it see (since Linux 6.8).
fn await_carrier(socket: &mut Socket, link: &Link) -> Result<(), InterfaceError> {
    let mut batch = Batch::default();
    get_link(&mut batch, &link.name);
    socket.execute(batch)?;
    Ok(())
}

/// Attributes of `IFLA_AF_SPEC` and values (`linux/if_link.h`, `linux/ip.h`).
const IFLA_INET_CONF: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
const IPV4_DEVCONF_FORWARDING: u16 = 1;
const IPV4_DEVCONF_PROXY_ARP: u16 = 3;
const IPV4_DEVCONF_RP_FILTER: u16 = 8;

/// Sysctls of the node's side, set by netlink: no file system has to be mounted for it.
fn ipv4_settings(m: &mut Attributes<'_>) {
    m.u32(IPV4_DEVCONF_FORWARDING, 1);
    // Pods have a permanent entry for the gateway; this is for virtual machines in pods, which ask.
    m.u32(IPV4_DEVCONF_PROXY_ARP, 1);
    // Strict, unless the host is loose on all interfaces; the nftables table drops spoofed sources anyway.
    m.u32(IPV4_DEVCONF_RP_FILTER, 1);
}
