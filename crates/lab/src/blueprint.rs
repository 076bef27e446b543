//! What a lab consists of, before anything exists: hosts, links, addresses, and what must come true of them.
//!
//! ```text
//! tor        every node on a link of its own to one router        172.30.N.0/24, fd30:0:0:N::/64
//! dual-tor   every node on two links, to two routers              and 172.31.N.0/24, fd31:0:0:N::/64
//! mesh       all nodes and the router on one link                 172.30.0.0/24, fd30::/64
//! reflector  the same link, with two route reflectors on it       .2 and .3
//! unnumbered as dual-tor, the links without addresses             fe80::N:1R, fe80::N:R at the router
//! ```
//! Behind the routers is the outside host. Pods of node N live in 10.244.N.0/24 and `fd44:0:0:N::/64`.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::addresses::{Dual, DualNet, Family};
use crate::options::{Families, LabOptions, Topology};

/// The AS of all nodes.
pub(crate) const CLUSTER_ASN: u32 = 64512;
/// Two reflectors, one cluster: neither needs what the other one reflects.
pub(crate) const REFLECTION_CLUSTER: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
/// The AS of the routers.
pub(crate) const ROUTER_ASN: u32 = 65000;
/// Hops of an ordinary packet when it leaves its host.
pub(crate) const FIRST_TTL: u8 = 64;

/// One link of a node towards a router.
#[derive(Clone, Debug)]
pub(crate) struct Uplink {
    /// Which router, by its place in [`Blueprint::routers`].
    pub(crate) router: usize,
    /// The node's own end.
    pub(crate) link: String,
    pub(crate) address: Dual,
    pub(crate) router_address: Dual,
}

/// What routes lead over on a link: its address of the family, or the link-local one for both families.
fn gateway(topology: Topology, address: Dual, family: Family) -> IpAddr {
    match topology {
        Topology::Unnumbered => address.v6.into(),
        Topology::Tor | Topology::DualTor | Topology::Mesh | Topology::Reflector => address.get(family),
    }
}

#[derive(Clone, Debug)]
pub(crate) struct NodePart {
    pub(crate) name: String,
    pub(crate) uplinks: Vec<Uplink>,
    /// Its address where its links have none.
    pub(crate) loopback: Option<Dual>,
    pub(crate) block: DualNet,
    /// Names of its pods.
    pub(crate) pods: Vec<String>,
}

impl NodePart {
    /// The `InternalIP`s that Kubernetes would know.
    pub(crate) fn address(&self) -> Dual {
        self.loopback.unwrap_or(self.uplinks[0].address)
    }

    /// Addresses from which its packets may come.
    pub(crate) fn addresses(&self) -> Vec<Dual> {
        match self.loopback {
            Some(loopback) => vec![loopback],
            None => self.uplinks.iter().map(|uplink| uplink.address).collect(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RouterPart {
    pub(crate) name: String,
    pub(crate) id: Ipv4Addr,
    pub(crate) outside_address: Dual,
}

/// A route reflector: on the link of the nodes, not on the way of their packets.
#[derive(Clone, Debug)]
pub(crate) struct ReflectorPart {
    pub(crate) name: String,
    pub(crate) address: Dual,
}

/// A route that must come into the main table of a host's kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) prefix: IpNet,
    pub(crate) gateways: BTreeSet<IpAddr>,
    /// What it leads to, for people.
    pub(crate) subject: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) topology: Topology,
    pub(crate) families: Families,
    pub(crate) nodes: Vec<NodePart>,
    pub(crate) routers: Vec<RouterPart>,
    pub(crate) reflectors: Vec<ReflectorPart>,
}

/// Where pod addresses come from.
pub(crate) const POD_RANGE: DualNet =
    DualNet { v4: net4([10, 244, 0, 0], 16), v6: net6([0xfd44, 0, 0, 0, 0, 0, 0, 0], 32) };
/// Where addresses of nodes come from whose links have none.
pub(crate) const NODE_RANGE: DualNet =
    DualNet { v4: net4([10, 255, 0, 0], 24), v6: net6([0xfd30, 0, 0, 0xff, 0, 0, 0, 0], 64) };
/// Where cluster IPs come from.
pub(crate) const SERVICE_RANGE: DualNet =
    DualNet { v4: net4([10, 96, 0, 0], 16), v6: net6([0xfd96, 0, 0, 0, 0, 0, 0, 0], 112) };
/// Where external IPs of Services come from.
pub(crate) const EXTERNAL_RANGE: DualNet =
    DualNet { v4: net4([198, 51, 100, 0], 24), v6: net6([0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0], 64) };
/// Where load-balancer IPs of Services come from.
pub(crate) const LOAD_BALANCER_RANGE: DualNet =
    DualNet { v4: net4([192, 0, 2, 0], 24), v6: net6([0x2001, 0xdb8, 0x2, 0, 0, 0, 0, 0], 64) };

/// The Service `web`: traffic policy `Local`, endpoints on the first two nodes.
pub(crate) struct Web;

impl Web {
    pub(crate) const CLUSTER_IP: Dual = host(SERVICE_RANGE);
    pub(crate) const EXTERNAL_IP: Dual = host(EXTERNAL_RANGE);
    pub(crate) const LOAD_BALANCER_IP: Dual = host(LOAD_BALANCER_RANGE);
    /// How many nodes have an endpoint.
    pub(crate) const NODES: usize = 2;
}

/// The host behind the routers.
pub(crate) const OUTSIDE: Dual =
    Dual { v4: Ipv4Addr::new(203, 0, 113, 2), v6: Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 2) };

const fn net4(address: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from_octets(address), length)
}

const fn net6(address: [u16; 8], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_segments(address), length)
}

/// The address of a range that is written with 10 at the end.
const fn host(range: DualNet) -> Dual {
    Dual {
        v4: Ipv4Addr::from_bits(range.v4.addr().to_bits() + 10),
        v6: Ipv6Addr::from_bits(range.v6.addr().to_bits() + 0x10),
    }
}

impl Blueprint {
    pub(crate) fn new(options: &LabOptions) -> Self {
        let routers = match options.topology {
            Topology::Tor => vec!["tor"],
            Topology::DualTor | Topology::Unnumbered => vec!["tor1", "tor2"],
            Topology::Mesh | Topology::Reflector => vec!["gateway"],
        };
        let part = |(index, name): (usize, &&str)| {
            // .1, and .3 for a second one: .2 is the outside host.
            let host = 1 + 2 * u8::try_from(index).unwrap_or(0);
            RouterPart {
                name: (*name).to_owned(),
                id: Ipv4Addr::new(203, 0, 113, host),
                outside_address: Dual {
                    v4: Ipv4Addr::new(203, 0, 113, host),
                    v6: Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, host.into()),
                },
            }
        };
        Self {
            topology: options.topology,
            families: options.families,
            nodes: (1..=options.nodes).map(|number| node(options, number)).collect(),
            routers: routers.iter().enumerate().map(part).collect(),
            reflectors: match options.topology {
                Topology::Reflector => (1..=2).map(reflector).collect(),
                Topology::Tor | Topology::DualTor | Topology::Mesh | Topology::Unnumbered => Vec::new(),
            },
        }
    }

    /// Routers and nodes that a packet passes, each taking one from its TTL.
    pub(crate) fn hops(&self, from: Place, to: Place) -> u8 {
        match (from, to) {
            (Place::Node(a), Place::Node(b)) if a == b => 1,
            (Place::Node(_), Place::Node(_)) => match self.topology {
                Topology::Mesh | Topology::Reflector => 2,
                Topology::Tor | Topology::DualTor | Topology::Unnumbered => 3,
            },
            (Place::Node(_), Place::Outside) | (Place::Outside, Place::Node(_)) => 2,
            (Place::Outside, Place::Outside) => 0,
        }
    }

    /// Routes that a node must learn.
    pub(crate) fn expected_on_node(&self, index: usize) -> Vec<Expected> {
        let own = &self.nodes[index];
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != index);
        let routes = others.flat_map(|(_, other)| {
            Family::BOTH.map(|family| Expected {
                prefix: other.block.get(family),
                gateways: match self.topology {
                    Topology::Mesh | Topology::Reflector => [other.address().get(family)].into(),
                    Topology::Tor | Topology::DualTor | Topology::Unnumbered => {
                        let ends = own.uplinks.iter().map(|uplink| uplink.router_address);
                        ends.map(|end| gateway(self.topology, end, family)).collect()
                    }
                },
                subject: format!("pods of {}", other.name),
            })
        });
        routes.collect()
    }

    /// Routes that a router must learn as soon as the nodes speak.
    pub(crate) fn expected_on_router(&self, router: usize) -> Vec<Expected> {
        let pods = self.nodes.iter().flat_map(|node| {
            Family::BOTH.map(|family| Expected {
                prefix: node.block.get(family),
                gateways: self.towards(router, [node], family),
                subject: format!("pods of {}", node.name),
            })
        });
        let services = Family::BOTH.map(|family| Expected {
            prefix: SERVICE_RANGE.get(family),
            gateways: self.towards(router, &self.nodes, family),
            subject: "cluster IPs of Services".to_owned(),
        });
        pods.chain(services).collect()
    }

    /// Routes that a router must learn once the Service has its endpoints.
    pub(crate) fn expected_for_service(&self, router: usize) -> Vec<Expected> {
        let addresses = [("external IP", Web::EXTERNAL_IP), ("load-balancer IP", Web::LOAD_BALANCER_IP)];
        let routes = addresses.into_iter().flat_map(|(kind, address)| {
            Family::BOTH.map(|family| Expected {
                prefix: address.get(family).into(),
                gateways: self.towards(router, &self.nodes[..Web::NODES], family),
                subject: format!("{kind} of Service web"),
            })
        });
        routes.collect()
    }

    /// The addresses by which a router reaches these nodes.
    fn towards<'a>(
        &self,
        router: usize,
        nodes: impl IntoIterator<Item = &'a NodePart>,
        family: Family,
    ) -> BTreeSet<IpAddr> {
        let uplinks = nodes.into_iter().flat_map(|node| &node.uplinks);
        uplinks
            .filter(|uplink| uplink.router == router)
            .map(|uplink| gateway(self.topology, uplink.address, family))
            .collect()
    }
}

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A pod on this node.
    Node(usize),
    /// Behind the routers.
    Outside,
}

/// An address on the link that all nodes share.
fn on_one_link(host: u8) -> Dual {
    Dual { v4: Ipv4Addr::new(172, 30, 0, host), v6: Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, host.into()) }
}

fn reflector(number: u8) -> ReflectorPart {
    ReflectorPart { name: format!("rr{number}"), address: on_one_link(1 + number) }
}

/// The node with this number, from 1, as all of a lab with these options are.
pub(crate) fn node(options: &LabOptions, number: u8) -> NodePart {
    let name = format!("n{number}");
    let group = u16::from(number);
    let point_to_point = |router: u8| {
        let (second, first) = (30 + router, 0xfd30 + u16::from(router));
        let side = |host: u8| Dual {
            v4: Ipv4Addr::new(172, second, number, host),
            v6: Ipv6Addr::new(first, 0, 0, group, 0, 0, 0, host.into()),
        };
        Uplink {
            router: router.into(),
            link: format!("eth{router}"),
            address: side(2),
            router_address: side(1),
        }
    };
    let unnumbered = |router: u8| {
        let host = 1 + u16::from(router);
        // The IPv4 address of an end is nobody's.
        let side = |host: u16| Dual {
            v4: Ipv4Addr::UNSPECIFIED,
            v6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, group, host),
        };
        let link = format!("eth{router}");
        Uplink { router: router.into(), link, address: side(0x10 + host), router_address: side(host) }
    };
    let uplinks = match options.topology {
        Topology::Tor => vec![point_to_point(0)],
        Topology::DualTor => vec![point_to_point(0), point_to_point(1)],
        Topology::Unnumbered => vec![unnumbered(0), unnumbered(1)],
        Topology::Mesh | Topology::Reflector => {
            vec![Uplink {
                router: 0,
                link: "eth0".to_owned(),
                address: on_one_link(10 + number),
                router_address: on_one_link(1),
            }]
        }
    };
    let loopback = Dual {
        v4: Ipv4Addr::from_bits(NODE_RANGE.v4.addr().to_bits() + u32::from(number)),
        v6: Ipv6Addr::from_bits(NODE_RANGE.v6.addr().to_bits() + u128::from(number)),
    };
    NodePart {
        uplinks,
        loopback: (options.topology == Topology::Unnumbered).then_some(loopback),
        block: DualNet {
            v4: net4([10, 244, number, 0], 24),
            v6: net6([0xfd44, 0, 0, group, 0, 0, 0, 0], 64),
        },
        pods: (1..=options.pods).map(|pod| format!("{name}-pod{pod}")).collect(),
        name,
    }
}
