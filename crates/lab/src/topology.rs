//! The blueprint made real: namespaces, links, addresses and the static routes that an administrator would set.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use muslin_netns::{Link, LinkState, Namespace, connect};

use crate::LabError;
use crate::addresses::{Dual, Family};
use crate::blueprint::{Blueprint, NODE_RANGE, NodePart, OUTSIDE, POD_RANGE, RouterPart, Uplink};
use crate::kernel_routes::LinkLocals;
use crate::options::{Families, Topology};
use crate::probe::Host;

/// Name of a router's link to the outside host.
pub(crate) const OUTSIDE_LINK: &str = "outside";

/// All namespaces of a lab but those of the pods.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) nodes: Vec<Namespace>,
    pub(crate) routers: Vec<Namespace>,
    pub(crate) reflectors: Vec<Namespace>,
    /// The link that all nodes share, if there is one.
    pub(crate) switch: Option<Namespace>,
    pub(crate) outside: Host,
    pub(crate) link_locals: Arc<LinkLocals>,
}

impl Network {
    pub(crate) fn build(lab: &Blueprint) -> Result<Self, LabError> {
        let mut network = Self {
            // That a node forwards is for its agent to see to.
            nodes: lab.nodes.iter().map(|node| Namespace::new(&node.name)).collect::<Result<_, _>>()?,
            routers: lab.routers.iter().map(|part| router(&part.name)).collect::<Result<_, _>>()?,
            // They forward nothing.
            reflectors: lab
                .reflectors
                .iter()
                .map(|part| Namespace::new(&part.name))
                .collect::<Result<_, _>>()?,
            switch: lab.topology.is_one_link().then(|| segment("switch")).transpose()?,
            outside: Host { name: "outside".to_owned(), namespace: segment("outside")?, addresses: OUTSIDE },
            link_locals: Arc::default(),
        };
        network.wire_nodes(lab)?;
        network.wire_outside(lab)?;
        network.link_locals = Arc::new(network.note_link_locals(lab)?);
        Ok(network)
    }

    /// Where packets between nodes can be seen: namespaces whose links are named for the nodes.
    pub(crate) fn wires(&self) -> &[Namespace] {
        self.switch.as_ref().map_or(&self.routers, std::slice::from_ref)
    }

    /// Every namespace, for a look at all links.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Namespace> {
        let speakers = self.nodes.iter().chain(&self.routers).chain(&self.reflectors);
        speakers.chain(&self.switch).chain([&self.outside.namespace])
    }

    fn wire_nodes(&self, lab: &Blueprint) -> Result<(), LabError> {
        for (part, node) in lab.nodes.iter().zip(&self.nodes) {
            self.wire(part, node, lab)?;
            if let Some(loopback) = part.loopback {
                for family in Family::BOTH {
                    node.add_address("lo", loopback.get(family).into())?;
                }
            }
        }
        if let Some(switch) = &self.switch {
            for (part, router) in lab.routers.iter().zip(&self.routers) {
                connect(router, LAN_LINK, switch, &part.name)?;
                switch.attach(BRIDGE, &part.name)?;
                add_addresses(router, LAN_LINK, lab.nodes[0].uplinks[0].router_address, lab.families)?;
            }
            for (part, reflector) in lab.reflectors.iter().zip(&self.reflectors) {
                connect(reflector, LAN_LINK, switch, &part.name)?;
                switch.attach(BRIDGE, &part.name)?;
                add_addresses(reflector, LAN_LINK, part.address, lab.families)?;
            }
        }
        for (part, node) in lab.nodes.iter().zip(&self.nodes) {
            match part.loopback {
                None => default_routes(part, node, lab.families)?,
                Some(loopback) => self.routes_over_link_locals(part, node, loopback)?,
            }
        }
        Ok(())
    }

    /// Gives a node its links, with addresses at both ends.
    fn wire(&self, part: &NodePart, node: &Namespace, lab: &Blueprint) -> Result<(), LabError> {
        for uplink in &part.uplinks {
            let router = &self.routers[uplink.router];
            if let Some(switch) = &self.switch {
                connect(node, &uplink.link, switch, &part.name)?;
                switch.attach(BRIDGE, &part.name)?;
                add_addresses(node, &uplink.link, uplink.address, lab.families)?;
            } else if part.loopback.is_some() {
                // The kernel would make link-local addresses of its own, other ones in each lab.
                for host in [node, router] {
                    host.sysctl("net/ipv6/conf/default/addr_gen_mode", "1")?;
                }
                connect(node, &uplink.link, router, &part.name)?;
                add_link_local(router, &part.name, uplink.router_address)?;
                add_link_local(node, &uplink.link, uplink.address)?;
            } else {
                connect(node, &uplink.link, router, &part.name)?;
                add_addresses(router, &part.name, uplink.router_address, lab.families)?;
                add_addresses(node, &uplink.link, uplink.address, lab.families)?;
            }
        }
        Ok(())
    }

    /// Out of the node by all its links, and back to its address by each router.
    fn routes_over_link_locals(
        &self,
        part: &NodePart,
        node: &Namespace,
        loopback: Dual,
    ) -> Result<(), LabError> {
        let hop = |uplink: &'_ Uplink| IpAddr::from(uplink.router_address.v6);
        let hops: Vec<_> = part.uplinks.iter().map(|uplink| (hop(uplink), &*uplink.link)).collect();
        for family in Family::BOTH {
            node.add_route_over(everywhere(family), &hops)?;
            for uplink in &part.uplinks {
                let back = [(IpAddr::from(uplink.address.v6), &*part.name)];
                self.routers[uplink.router].add_route_over(loopback.get(family).into(), &back)?;
            }
        }
        Ok(())
    }

    fn note_link_locals(&self, lab: &Blueprint) -> Result<LinkLocals, LabError> {
        let mut noted = LinkLocals::default();
        if lab.topology == Topology::Unnumbered {
            // They stand in the blueprint.
            return Ok(noted);
        }
        for (part, node) in lab.nodes.iter().zip(&self.nodes) {
            for uplink in &part.uplinks {
                noted.note(node, &uplink.link, uplink.address.v6.into())?;
                let link = if self.switch.is_some() { LAN_LINK } else { &part.name };
                noted.note(&self.routers[uplink.router], link, uplink.router_address.v6.into())?;
            }
        }
        Ok(noted)
    }

    fn wire_outside(&self, lab: &Blueprint) -> Result<(), LabError> {
        let outside = &self.outside.namespace;
        for (part, router) in lab.routers.iter().zip(&self.routers) {
            connect(router, OUTSIDE_LINK, outside, &part.name)?;
            outside.attach(BRIDGE, &part.name)?;
            add_addresses(router, OUTSIDE_LINK, part.outside_address, lab.families)?;
        }
        add_addresses(outside, BRIDGE, OUTSIDE, lab.families)?;
        for &family in lab.families.all() {
            let gateway = |router: &RouterPart| router.outside_address.get(family);
            let all: Vec<IpAddr> = lab.routers.iter().map(gateway).collect();
            outside.add_multipath_route(POD_RANGE.get(family), &all)?;
            outside.add_multipath_route(crate::blueprint::SERVICE_RANGE.get(family), &all)?;
            if lab.topology == Topology::Unnumbered {
                outside.add_multipath_route(NODE_RANGE.get(family), &all)?;
            }
        }
        if lab.topology == Topology::Unnumbered { Ok(()) } else { self.lead_outside_to(&lab.nodes, lab) }
    }

    /// A node's own addresses are behind the router that it shares a link with.
    fn lead_outside_to(&self, nodes: &[NodePart], lab: &Blueprint) -> Result<(), LabError> {
        for (link, router) in links(nodes, lab.families) {
            let gateway = lab.routers[router].outside_address.get(Family::of(link.addr()));
            self.outside.namespace.add_route(link, gateway)?;
        }
        Ok(())
    }

    /// Wires a node that comes behind the others; of topologies whose links have addresses.
    pub(crate) fn add_node(&mut self, part: &NodePart, lab: &Blueprint) -> Result<(), LabError> {
        let node = Namespace::new(&part.name)?;
        self.wire(part, &node, lab)?;
        default_routes(part, &node, lab.families)?;
        // To a link that all nodes share, outside is led already.
        if self.switch.is_none() {
            self.lead_outside_to(std::slice::from_ref(part), lab)?;
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Takes the last node away, with its links.
    pub(crate) fn remove_node(&mut self, part: &NodePart, families: Families) -> Result<(), LabError> {
        if let Some(switch) = &self.switch {
            switch.remove_link(&part.name)?;
        } else {
            for (link, _) in links(std::slice::from_ref(part), families) {
                self.outside.namespace.remove_route(link)?;
            }
            for uplink in &part.uplinks {
                self.routers[uplink.router].remove_link(&part.name)?;
            }
        }
        self.nodes.pop();
        Ok(())
    }

    /// Gives a machine beside the nodes a link: to the one that they share, or else to the first router alone.
    pub(crate) fn join(&self, machine: &Namespace, place: &Uplink, lab: &Blueprint) -> Result<(), LabError> {
        let (router, name) = (&self.routers[place.router], machine.name());
        if let Some(switch) = &self.switch {
            connect(machine, &place.link, switch, name)?;
            switch.attach(BRIDGE, name)?;
        } else {
            connect(machine, &place.link, router, name)?;
            add_addresses(router, name, place.router_address, lab.families)?;
        }
        add_addresses(machine, &place.link, place.address, lab.families)?;
        for &family in lab.families.all() {
            machine.add_route(everywhere(family), place.router_address.get(family))?;
        }
        Ok(())
    }
}

/// The networks of nodes' links, and the router that each is behind.
fn links(nodes: &[NodePart], families: Families) -> BTreeSet<(IpNet, usize)> {
    let uplinks = nodes.iter().flat_map(|node| &node.uplinks);
    let links = uplinks.flat_map(|uplink| {
        families.all().iter().map(|family| (uplink.address.on_link(*family).trunc(), uplink.router))
    });
    links.collect()
}

/// Name of a router's or reflector's link to nodes that share one.
const LAN_LINK: &str = "lan";
const BRIDGE: &str = "br0";

/// A namespace that forwards.
fn router(name: &str) -> Result<Namespace, LabError> {
    let namespace = Namespace::new(name)?;
    namespace.sysctl("net/ipv4/ip_forward", "1")?;
    namespace.sysctl("net/ipv6/conf/all/forwarding", "1")?;
    Ok(namespace)
}

/// A namespace with a bridge.
fn segment(name: &str) -> Result<Namespace, LabError> {
    let namespace = Namespace::new(name)?;
    namespace.bridge(BRIDGE)?;
    Ok(namespace)
}

pub(crate) fn add_addresses(
    namespace: &Namespace,
    link: &str,
    addresses: Dual,
    families: Families,
) -> Result<(), LabError> {
    for family in families.all() {
        namespace.add_address(link, addresses.on_link(*family))?;
    }
    Ok(())
}

fn add_link_local(namespace: &Namespace, link: &str, address: Dual) -> Result<(), LabError> {
    Ok(namespace.add_address(link, Ipv6Net::new_assert(address.v6, 64).into())?)
}

fn everywhere(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::V6(Ipv6Net::default()),
    }
}

/// What an administrator's files make of a node's links when it boots; the router has its ends already.
///
/// Of the topologies whose links have addresses.
pub(crate) fn boot(part: &NodePart, node: &Namespace, families: Families) -> Result<(), LabError> {
    for uplink in &part.uplinks {
        node.set_link(&uplink.link, LinkState::Up)?;
        add_addresses(node, &uplink.link, uplink.address, families)?;
    }
    default_routes(part, node, families)
}

fn default_routes(part: &NodePart, node: &Namespace, families: Families) -> Result<(), LabError> {
    for &family in families.all() {
        let gateways: Vec<IpAddr> =
            part.uplinks.iter().map(|uplink| uplink.router_address.get(family)).collect();
        node.add_multipath_route(everywhere(family), &gateways)?;
    }
    Ok(())
}

/// Links that are neither there from the start nor of a kind that carries packets as they are.
///
/// Some kernels give every new namespace tunnel devices that nobody uses; those are down and are passed over.
pub(crate) fn tunnels(namespace: &Namespace) -> Result<Vec<Link>, LabError> {
    let plain = |link: &Link| match link.kind.as_deref() {
        Some("veth" | "bridge") => true,
        Some(_) => !link.up,
        None => link.name == "lo",
    };
    Ok(namespace.links()?.into_iter().filter(|link| !plain(link)).collect())
}
