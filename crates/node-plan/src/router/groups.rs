//! Nodes whose sessions are alike, and how the router meets them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Members, NodeEnd, NodeGroup, RouterError, RouterRequest};

/// The least prefix limit of a node: one that grows has room.
const LEAST_LIMIT: u32 = 100;
/// How many times what a node announces today its limit is.
const HEADROOM: u32 = 4;

/// Ends that are alike, together.
pub(super) fn of(ends: &[NodeEnd], request: &RouterRequest) -> Result<Vec<NodeGroup>, RouterError> {
    let transport = |end: &NodeEnd| end.address.map(|address| address.is_ipv4());
    let mut alike: Vec<Vec<&NodeEnd>> = Vec::new();
    for end in ends {
        let like = |group: &&mut Vec<&NodeEnd>| {
            group.iter().all(|one| one.session == end.session && transport(one) == transport(end))
        };
        match alike.iter_mut().find(like) {
            Some(group) => group.push(end),
            None => alike.push(vec![end]),
        }
    }
    let mut groups = Vec::new();
    for ends in &alike {
        let members = members(ends, request)?;
        let place = match (&members, transport(ends[0])) {
            (Members::Links, _) | (_, None) => "links",
            (_, Some(true)) => "ipv4",
            (_, Some(false)) => "ipv6",
        };
        let same = |group: &&NodeGroup| group.name.starts_with(&format!("nodes_{place}"));
        let name = match groups.iter().filter(same).count() {
            0 => format!("nodes_{place}"),
            before => format!("nodes_{place}_{}", before + 1),
        };
        let most = ends.iter().map(|end| end.announced).max().unwrap_or_default();
        let limit = request.max_prefixes.unwrap_or_else(|| most.saturating_mul(HEADROOM).max(LEAST_LIMIT));
        let session = ends[0].session.clone();
        let nodes = ends.iter().map(|end| (end.node.clone(), end.address)).collect();
        groups.push(NodeGroup { name, members, nodes, session, max_prefixes: limit });
    }
    by_name_where_ranges_overlap(&mut groups);
    Ok(groups)
}

fn members(ends: &[&NodeEnd], request: &RouterRequest) -> Result<Members, RouterError> {
    let placed: Vec<_> = ends.iter().filter_map(|end| Some((&end.node, end.address?))).collect();
    if placed.is_empty() {
        return Ok(Members::Links);
    }
    if request.exact || ends.iter().any(|end| end.session.active) {
        return Ok(each(ends));
    }
    if request.listen.is_empty() {
        let links = placed.iter().map(|(_, address)| link_of(*address)).collect();
        return Ok(Members::Ranges(IpNet::aggregate(&links)));
    }
    let mut used = BTreeSet::new();
    for (node, address) in placed {
        let Some(range) = request.listen.iter().find(|range| range.contains(&address)) else {
            let ranges: Vec<_> = request.listen.iter().map(ToString::to_string).collect();
            return Err(RouterError::Outside { node: node.clone(), address, ranges: ranges.join(", ") });
        };
        used.insert(range.trunc());
    }
    Ok(Members::Ranges(used.into_iter().collect()))
}

fn each(ends: &[&NodeEnd]) -> Members {
    Members::Each(ends.iter().filter_map(|end| Some((end.node.clone(), end.address?))).collect())
}

/// The link that a node is likely on: the state does not say how long its prefix is.
fn link_of(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { 24 } else { 64 };
    IpNet::new(address, length).unwrap_or_else(|_| address.into()).trunc()
}

/// A range can only mean nodes of one kind.
fn by_name_where_ranges_overlap(groups: &mut [NodeGroup]) {
    let ranges = |group: &NodeGroup| match &group.members {
        Members::Ranges(ranges) => ranges.clone(),
        Members::Each(_) | Members::Links => Vec::new(),
    };
    let all: Vec<Vec<IpNet>> = groups.iter().map(ranges).collect();
    for (index, group) in groups.iter_mut().enumerate() {
        let others =
            all.iter().enumerate().filter(|(other, _)| *other != index).flat_map(|(_, ranges)| ranges);
        let overlap = |other: &IpNet| all[index].iter().any(|own| own.contains(other) || other.contains(own));
        if others.into_iter().any(overlap) {
            group.members = group.by_name();
        }
    }
}
