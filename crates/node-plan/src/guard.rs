//! What is never learned, whatever a filter says.

use ipnet::IpNet;
use muslin_bgp_speaker::config::{GuardRange, ImportGuard, OwnedBlock};
use muslin_cluster::kubernetes::{self, SERVICE_NAME};
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
    let own_address =
        state.nodes.get(node).map(|object| kubernetes::internal_ips(object)).unwrap_or_default();
    let mut protected = local_ranges(facts);
    protected.extend(own_address.iter().filter(|address| !facts.is_local(address.value)).map(|address| {
        guard_range(host(address.value), format!("own address, Node {node} {}", address.path))
    }));
    protected.extend(links(facts));
    protected.extend(api_server(state));

    let (own, others): (Vec<_>, Vec<_>) =
        ownership.blocks.iter().partition(|(_, block)| &*block.owner == node);
    let owned_blocks = others
        .iter()
        .map(|(range, block)| {
            let owner_asn = Settings::of(state, Some(&block.owner)).asn;
            let owner = state.nodes.get(&*block.owner);
            let addresses = owner.map(|owner| kubernetes::internal_ips(owner)).unwrap_or_default();
            OwnedBlock {
                block: **range,
                owner: block.owner.clone(),
                // An AS that nodes share says nothing about the owner, and fabrics rewrite it.
                origin_as: (owner_asn != settings.asn).then_some(owner_asn),
                addresses: addresses.into_iter().map(|address| address.value).collect(),
                cause: block.cause.clone(),
            }
        })
        .collect();
    let mut allowed: Vec<_> =
        others.iter().map(|(range, block)| guard_range(**range, block.cause.to_string())).collect();
    allowed.extend(import_ranges(settings));
    if allowed.is_empty() {
        // An empty list would allow everything; our own address is protected besides, so this allows nothing.
        allowed.extend(protected.first().map(|own| GuardRange {
            range: own.range,
            cause: "nothing: no other node has a pod CIDR".into(),
        }));
    }
    ImportGuard {
        allowed,
        protected,
        own_blocks: own.iter().map(|(range, block)| guard_range(**range, block.cause.to_string())).collect(),
        owned_blocks,
        allow_default: settings.default_route.is_some(),
    }
}

/// The guard of a stand-alone speaker. It is a router: what covers its addresses is as good as any route, so
/// only its addresses themselves are kept.
pub(crate) fn speaker_guard(facts: &KernelFacts, settings: &Settings) -> ImportGuard {
    ImportGuard {
        allowed: import_ranges(settings).collect(),
        protected: Vec::new(),
        own_blocks: local_ranges(facts),
        owned_blocks: Vec::new(),
        allow_default: settings.default_route.is_some(),
    }
}

fn import_ranges(settings: &Settings) -> impl Iterator<Item = GuardRange> {
    settings.import.iter().map(|range| guard_range(range.value, range.cause.to_string()))
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
        let labels = slice.metadata.labels.as_ref();
        let service = labels.and_then(|labels| labels.get(SERVICE_NAME)).map(String::as_str);
        if service != Some("kubernetes") || slice.metadata.namespace.as_deref() != Some("default") {
            continue;
        }
        let subject = Subject::new(Kind::EndpointSlice, name, slice);
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
            let cause = subject.cause(&format!(".endpoints[{index}]"));
            ranges
                .extend(addresses.map(|address| guard_range(host(address), format!("API server, {cause}"))));
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
