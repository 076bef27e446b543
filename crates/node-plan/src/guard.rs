//! What is never learned, whatever a filter says.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_packet::Asn;
use muslin_bgp_speaker::config::{Allowed, GuardRange, ImportGuard, OwnedBlock};
use muslin_cluster::{ClusterState, Kind};

use crate::blocks::Ownership;
use crate::causes::{Subject, host};
use crate::facts::{KernelFacts, is_routable};
use crate::settings::Settings;

/// The guard of a node.
pub(crate) fn node_guard(
    state: &ClusterState,
    facts: &KernelFacts,
    settings: &Settings,
    ownership: &Ownership,
    node: &str,
) -> ImportGuard {
    let own_address = state.nodes.get(node).map(|object| object.internal_ips()).unwrap_or_default();
    let mut own_addresses = local_ranges(facts);
    own_addresses.extend(own_address.iter().filter(|address| !facts.is_local(address.value)).map(
        |address| guard_range(host(address.value), format!("own address, Node {node} {}", address.path)),
    ));
    let mut protected = own_addresses.clone();
    protected.extend(links(facts));
    protected.extend(api_server(state));

    let (own, others): (Vec<_>, Vec<_>) =
        ownership.blocks.iter().partition(|(_, block)| &*block.owner == node);
    let asns: BTreeMap<&str, Asn> =
        state.nodes.keys().map(|name| (&**name, Settings::of(state, Some(name)).asn)).collect();
    let owned_blocks = others
        .iter()
        .map(|(range, block)| {
            let owner_asn = asns.get(&*block.owner).copied().unwrap_or(settings.asn);
            let owner = state.nodes.get(&*block.owner);
            let addresses = owner.map(|owner| owner.internal_ips()).unwrap_or_default();
            OwnedBlock {
                block: **range,
                owner: block.owner.clone(),
                // An AS that nodes share says nothing about the owner, and fabrics rewrite it.
                origin_as: (owner_asn != settings.asn).then_some(owner_asn),
                shares_as: asns.iter().any(|(name, asn)| **name != *block.owner && *asn == owner_asn),
                addresses: addresses.iter().map(|address| address.value).collect(),
                cause: block.cause.clone(),
            }
        })
        .collect();
    ImportGuard {
        allowed: Allowed::Within(import_ranges(settings)),
        allow_default: settings.default_route.is_some(),
        own_addresses,
        own_blocks: own.iter().map(|(range, block)| guard_range(**range, block.cause.to_string())).collect(),
        protected,
        service_ranges: services(state, settings),
        owned_blocks,
    }
}

/// The guard of a stand-alone speaker. It is a router: what covers its addresses is as good as any route, so
/// only its addresses themselves are kept, and without `import.cidrs` its filters alone decide.
pub(crate) fn speaker_guard(facts: &KernelFacts, settings: &Settings) -> ImportGuard {
    let allowed = match &settings.import {
        Some(_) => Allowed::Within(import_ranges(settings)),
        None => Allowed::Anything,
    };
    ImportGuard {
        allowed,
        allow_default: settings.default_route.is_some(),
        own_addresses: local_ranges(facts),
        ..ImportGuard::closed()
    }
}

fn import_ranges(settings: &Settings) -> Vec<GuardRange> {
    let ranges = settings.import.iter().flatten();
    ranges.map(|range| guard_range(range.value, range.cause.to_string())).collect()
}

/// The ranges that Services have addresses from, and those addresses outside of them that `import.cidrs` lets in.
fn services(state: &ClusterState, settings: &Settings) -> Vec<GuardRange> {
    let configured =
        [&settings.service_cluster_ips, &settings.service_external_ips, &settings.service_load_balancer_ips];
    let mut ranges: Vec<_> = configured
        .into_iter()
        .flatten()
        .map(|range| guard_range(range.value, format!("Services, {}", range.cause)))
        .collect();
    let known: Vec<IpNet> = ranges.iter().map(|range| range.range).collect();
    let learnable: Vec<IpNet> = settings.import.iter().flatten().map(|range| range.value).collect();
    for (name, service) in &state.services {
        let subject = Subject::new(Kind::Service, name, service);
        for address in service.addresses() {
            let is_in = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address.value));
            if is_in(&learnable) && !is_in(&known) {
                ranges.push(guard_range(host(address.value), subject.cause(address.path).to_string()));
            }
        }
    }
    ranges
}

fn local_ranges(facts: &KernelFacts) -> Vec<GuardRange> {
    let addresses = facts.addresses.iter().filter(|local| is_routable(local.address));
    let mut ranges: Vec<_> = addresses
        .map(|local| {
            guard_range(host(local.address), format!("own address {} of {}", local.address, local.interface))
        })
        .collect();
    sort(&mut ranges);
    ranges
}

fn links(facts: &KernelFacts) -> Vec<GuardRange> {
    let links = facts.connected.iter().filter(|link| is_routable(link.prefix.network()));
    let mut ranges: Vec<_> =
        links.map(|link| guard_range(link.prefix, format!("connected on {}", link.interface))).collect();
    sort(&mut ranges);
    ranges
}

/// The API server's addresses, as its own Service names them.
fn api_server(state: &ClusterState) -> Vec<GuardRange> {
    let mut ranges = Vec::new();
    for (name, slice) in &state.endpoint_slices {
        if slice.service.as_deref() != Some("default/kubernetes") {
            continue;
        }
        let subject = Subject::new(Kind::EndpointSlice, name, slice);
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            let cause = subject.cause(format_args!(".endpoints[{index}]"));
            let of = |address: &IpAddr| guard_range(host(*address), format!("API server, {cause}"));
            ranges.extend(endpoint.addresses.iter().map(of));
        }
    }
    ranges
}

fn guard_range(range: IpNet, cause: String) -> GuardRange {
    GuardRange { range, cause: cause.into() }
}

fn sort(ranges: &mut Vec<GuardRange>) {
    ranges.sort_by(|a, b| (a.range, &a.cause).cmp(&(b.range, &b.cause)));
    ranges.dedup();
}
