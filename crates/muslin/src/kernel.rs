//! Between the kernel's terms and those of the plan and the speaker.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_speaker::rib::{FibChange, NextHopResolver, Resolution};
use muslin_node_plan::{
    Caused, ConnectedPrefix, DefaultGateway, Interface, KernelFacts, LocalAddress, Neighbour,
};
use muslin_pod_network::{HOST_INTERFACE_PREFIX, POD_ROUTE_PROTOCOL};
use muslin_route_programmer::{
    DefaultGateway as DefaultRoute, DesiredRoute, ForeignKind, KernelView, Link, NextHop, RouteChange,
};
use muslin_router_discovery::{Found, Interface as DiscoveredOn};
use tokio::sync::watch;

/// What a plan depends on, out of the whole view. Link-local addresses and pods' interfaces are left out, so
/// that a plan does not change with every pod.
pub(crate) fn facts(view: &KernelView, found: &Found) -> KernelFacts {
    let name = |index| view.link(index).map(|link| Arc::<str>::from(link.name.as_str()));
    let mut facts = KernelFacts {
        host: host_name(),
        tcp_ao: Some(has_tcp_ao()),
        uplink_mtu: view.uplink_mtu(),
        ..KernelFacts::default()
    };
    for local in view.local_addresses().filter(|local| is_routable(local.address.addr())) {
        let Some(interface) = name(local.interface) else { continue };
        facts.addresses.push(LocalAddress { address: local.address.addr(), interface: interface.clone() });
        if local.address.prefix_len() < local.address.max_prefix_len() {
            facts.connected.push(ConnectedPrefix { prefix: local.address.trunc(), interface });
        }
    }
    for default in view.default_gateways() {
        if let Some(interface) = name(default.interface) {
            let DefaultRoute { gateway: address, metric, .. } = default;
            facts.default_gateways.push(DefaultGateway { address, interface, metric });
        }
    }
    let links = view.links().filter(|link| !link.loopback && !link.name.starts_with(HOST_INTERFACE_PREFIX));
    facts.interfaces.extend(links.map(|link| Interface {
        name: link.name.as_str().into(),
        mtu: link.mtu,
        ready: can_advertise(view, link),
        fault: found.faults.get(link.name.as_str()).cloned(),
    }));
    let neighbours = found.neighbours.iter();
    facts.neighbours.extend(
        neighbours.map(|(interface, address)| Neighbour { interface: interface.clone(), address: *address }),
    );
    facts.interfaces.sort_unstable();
    facts.addresses.sort_unstable();
    facts.connected.sort_unstable();
    facts.connected.dedup();
    facts
}

/// Whether router advertisements can leave a link: it is there, and has a link-local address that nobody else has.
fn can_advertise(view: &KernelView, link: &Link) -> bool {
    let mut own = view.local_addresses().filter(|local| local.interface == link.index && !local.tentative);
    link.is_usable()
        && own.any(|local| match local.address.addr() {
            IpAddr::V6(address) => address.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        })
}

/// The interfaces of these names, for router discovery.
pub(crate) fn discovered_on(view: &KernelView, names: &[Caused<Arc<str>>]) -> BTreeSet<DiscoveredOn> {
    let links = names.iter().filter_map(|name| Some((&name.value, view.link_named(&name.value)?)));
    links
        .map(|(name, link)| DiscoveredOn {
            name: name.clone(),
            index: link.index,
            hardware: link.hardware_address,
            ready: can_advertise(view, link),
        })
        .collect()
}

fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

fn host_name() -> Option<Arc<str>> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().into()).filter(|name: &Arc<str>| !name.is_empty())
}

/// Whether the kernel has TCP-AO; it is asked once.
fn has_tcp_ao() -> bool {
    static KERNEL: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *KERNEL.get_or_init(muslin_bgp_speaker::net::has_tcp_ao)
}

/// Resolves the speaker's next hops in the latest view of the kernel, which holds none of our own routes.
pub(crate) struct ViewResolver(pub watch::Receiver<Arc<KernelView>>);

impl NextHopResolver for ViewResolver {
    fn resolve(&self, next_hop: IpAddr, interface: Option<u32>) -> Option<Resolution> {
        let view = self.0.borrow();
        let route = match interface {
            Some(interface) if !is_routable(next_hop) => view.route_on_link(next_hop, interface)?,
            _ => view.route_to(next_hop)?,
        };
        // A pod is no router: nobody may draw a neighbour's traffic through it.
        if leads_to_a_pod(&view, next_hop) {
            return None;
        }
        Some(Resolution {
            gateway: route.gateway.unwrap_or(next_hop),
            interface: route.interface,
            metric: route.metric,
            direct: route.gateway.is_none(),
        })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.0.borrow().is_local(address)
    }

    fn addresses_of(&self, interface: u32) -> Vec<IpAddr> {
        let view = self.0.borrow();
        let own = view.local_addresses().filter(|local| local.interface == interface && !local.tentative);
        own.map(|local| local.address.addr()).collect()
    }

    fn interface_named(&self, name: &str) -> Option<u32> {
        self.0.borrow().link_named(name).map(|link| link.index)
    }

    fn interface_name(&self, interface: u32) -> Option<Arc<str>> {
        self.0.borrow().link(interface).map(|link| link.name.as_str().into())
    }
}

fn leads_to_a_pod(view: &KernelView, address: IpAddr) -> bool {
    let routes = view.foreign_routes_for(IpNet::from(address));
    routes.iter().any(|route| route.protocol == POD_ROUTE_PROTOCOL && route.kind == ForeignKind::Unicast)
}

/// A change of the speaker's best paths as a change of the kernel's routes.
pub(crate) fn route_change(change: FibChange) -> RouteChange {
    let route = change.route.map(|route| {
        let metric = route.priority.map(std::num::NonZeroU32::get);
        let desired = DesiredRoute::over(route.next_hops.into_iter().map(|hop| NextHop {
            gateway: Some(hop.gateway),
            interface: hop.interface,
            weight: hop.weight,
            onlink: false,
        }));
        DesiredRoute { metric, ..desired }
    });
    RouteChange { prefix: change.prefix, route }
}
