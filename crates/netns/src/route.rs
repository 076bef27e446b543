use std::net::IpAddr;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, RouteNextHopBuilder};

use crate::{Namespace, NetnsError};

/// A route as the kernel shows it, next-hop objects already resolved by the kernel into next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination; the default route is `0.0.0.0/0` or `::/0`.
    pub prefix: IpNet,
    /// Routing table, 254 is main.
    pub table: u32,
    /// Who installed it: 2 kernel, 3 boot, 4 static, 11 zebra, 12 BIRD, 186 BGP (`/etc/iproute2/rt_protos`).
    pub protocol: u8,
    /// Metric, 0 where the kernel shows none.
    pub metric: u32,
    /// What happens to a packet.
    pub kind: RouteKind,
    /// Where it goes, sorted; empty for a blackhole.
    pub next_hops: Vec<NextHop>,
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    /// Forwards it to a next hop, or delivers it on the link.
    Unicast,
    /// Drops it silently.
    Blackhole,
    /// Everything else: local, broadcast, multicast, unreachable, prohibit.
    Other,
}

/// One way out of a [`Route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NextHop {
    /// The next router; `None` where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Index of the outgoing interface.
    pub interface: u32,
    /// Weight in a multipath route, from 1.
    pub weight: u16,
}

impl Namespace {
    /// Adds a static route to the main table.
    ///
    /// # Errors
    /// [`NetnsError::Netlink`] if it exists already or the gateway is not on a link.
    pub fn add_route(&self, prefix: IpNet, gateway: IpAddr) -> Result<(), NetnsError> {
        self.add_multipath_route(prefix, &[gateway])
    }

    /// Adds a static route over several gateways of equal weight to the main table.
    ///
    /// # Errors
    /// [`NetnsError::Netlink`] if it exists already or a gateway is not on a link.
    pub fn add_multipath_route(&self, prefix: IpNet, gateways: &[IpAddr]) -> Result<(), NetnsError> {
        let action = format!("add a route to {prefix}");
        let builder = self.route_to(prefix, &action)?.protocol(RouteProtocol::Static);
        let builder = if let [gateway] = *gateways {
            builder.gateway(gateway).map_err(|error| self.invalid(&action, error))?
        } else {
            let family = if prefix.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let hop = |gateway: &IpAddr| RouteNextHopBuilder::new(family).via(*gateway);
            let hops: Result<Vec<_>, _> = gateways.iter().map(hop).collect();
            let hops = hops.map_err(|error| self.invalid(&action, error))?;
            builder.multipath(hops.into_iter().map(RouteNextHopBuilder::build).collect())
        };
        self.netlink(|netlink| async move {
            let added = netlink.route().add(builder.build()).execute().await;
            added.map_err(|error| NetnsError::netlink(self.name(), action, &error))
        })
    }

    /// Adds a static route over neighbours named with their links, as link-local ones must be; they may be of the
    /// other family (RFC 8950).
    ///
    /// # Errors
    /// [`NetnsError::Netlink`] if it exists already or there is no such link.
    pub fn add_route_over(&self, prefix: IpNet, hops: &[(IpAddr, &str)]) -> Result<(), NetnsError> {
        let action = format!("add a route to {prefix}");
        let links = self.links()?;
        let family = if prefix.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let hop = |(gateway, name): &(IpAddr, &str)| {
            // The kernel refuses a link of number zero.
            let index = links.iter().find(|link| link.name == *name).map_or(0, |link| link.index);
            let hop = RouteNextHopBuilder::new(family).via(*gateway);
            hop.map(|hop| hop.interface(index).build())
        };
        let hops: Result<Vec<_>, _> = hops.iter().map(hop).collect();
        let hops = hops.map_err(|error| self.invalid(&action, error))?;
        let builder = self.route_to(prefix, &action)?.protocol(RouteProtocol::Static).multipath(hops);
        self.netlink(|netlink| async move {
            let added = netlink.route().add(builder.build()).execute().await;
            added.map_err(|error| NetnsError::netlink(self.name(), action, &error))
        })
    }

    /// Removes a route to `prefix` from the main table, whoever installed it.
    ///
    /// # Errors
    /// [`NetnsError::Netlink`] if there is none.
    pub fn remove_route(&self, prefix: IpNet) -> Result<(), NetnsError> {
        let action = format!("remove the route to {prefix}");
        let mut message = self.route_to(prefix, &action)?.build();
        // In a deletion these match whatever the route has.
        message.header.protocol = RouteProtocol::Unspec;
        message.header.kind = RouteType::Unspec;
        message.header.scope = RouteScope::NoWhere;
        self.netlink(|netlink| async move {
            let removed = netlink.route().del(message).execute().await;
            removed.map_err(|error| NetnsError::netlink(self.name(), action, &error))
        })
    }

    /// The routes of every table, both families, the kernel's own for local and multicast addresses included.
    ///
    /// # Errors
    /// [`NetnsError::Netlink`].
    pub fn routes(&self) -> Result<Vec<Route>, NetnsError> {
        self.netlink(|netlink| async move { self.list_routes(&netlink).await })
    }

    /// Waits until `holds` is true of the namespace's routes: asked once at the start and again after every change.
    /// Returns whether it came true within `patience`.
    ///
    /// # Errors
    /// [`NetnsError::Netlink`].
    pub fn await_routes(
        &self,
        patience: Duration,
        mut holds: impl FnMut(&[Route]) -> bool + Send,
    ) -> Result<bool, NetnsError> {
        let groups = [MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route, MulticastGroup::Link];
        let failed = |source| NetnsError::Netlink {
            namespace: self.name().to_owned(),
            action: "listen to route changes".to_owned(),
            source,
        };
        let waiting = async {
            // Listen first, then look: a change between the two is seen twice instead of never.
            let (listener, _listening, mut changes) =
                rtnetlink::new_multicast_connection(&groups).map_err(failed)?;
            let (connection, netlink, _) = rtnetlink::new_connection().map_err(failed)?;
            tokio::spawn(listener);
            tokio::spawn(connection);
            loop {
                if holds(&self.list_routes(&netlink).await?) {
                    return Ok(true);
                }
                if changes.next().await.is_none() {
                    return Ok(false);
                }
                while changes.try_recv().is_ok() {}
            }
        };
        let waited = self.block_on(async { tokio::time::timeout(patience, waiting).await })?;
        waited.unwrap_or(Ok(false))
    }

    async fn list_routes(&self, netlink: &Handle) -> Result<Vec<Route>, NetnsError> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            let messages: Vec<RouteMessage> = netlink
                .route()
                .get(question)
                .execute()
                .try_collect()
                .await
                .map_err(|error| NetnsError::netlink(self.name(), "list routes", &error))?;
            routes.extend(messages.iter().filter_map(read_route));
        }
        Ok(routes)
    }

    fn route_to(&self, prefix: IpNet, action: &str) -> Result<RouteMessageBuilder<IpAddr>, NetnsError> {
        RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(prefix.network(), prefix.prefix_len())
            .map_err(|error| self.invalid(action, error))
    }

    fn invalid(&self, action: &str, error: impl std::error::Error + Send + Sync + 'static) -> NetnsError {
        NetnsError::Netlink {
            namespace: self.name().to_owned(),
            action: action.to_owned(),
            source: std::io::Error::other(error),
        }
    }
}

fn read_route(message: &RouteMessage) -> Option<Route> {
    let unspecified = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0u8; 4]),
        AddressFamily::Inet6 => IpAddr::from([0u8; 16]),
        _ => return None,
    };
    let mut destination = unspecified;
    let mut table = u32::from(message.header.table);
    let (mut metric, mut multipath) = (0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = read_address(address)?,
            RouteAttribute::Table(id) => table = *id,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::MultiPath(hops) => multipath = Some(hops),
            _ => {}
        }
    }
    let kind = match message.header.kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        _ => RouteKind::Other,
    };
    let mut next_hops: Vec<NextHop> = match (kind, multipath) {
        (RouteKind::Blackhole, _) => Vec::new(),
        (_, Some(hops)) => hops.iter().map(read_multipath).collect(),
        (_, None) => read_single(&message.attributes).into_iter().collect(),
    };
    next_hops.sort_unstable();
    Some(Route {
        prefix: IpNet::new(destination, message.header.destination_prefix_length).ok()?,
        table,
        protocol: message.header.protocol.into(),
        metric,
        kind,
        next_hops,
    })
}

fn read_single(attributes: &[RouteAttribute]) -> Option<NextHop> {
    let interface = attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })?;
    Some(NextHop { gateway: read_gateway(attributes), interface, weight: 1 })
}

fn read_multipath(hop: &RouteNextHop) -> NextHop {
    NextHop {
        gateway: read_gateway(&hop.attributes),
        interface: hop.interface_index,
        weight: u16::from(hop.hops) + 1,
    }
}

fn read_gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => read_address(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        // RFC 8950: an IPv4 route by way of an IPv6 neighbour.
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

fn read_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
