//! Which node owns which pod addresses.
//!
//! The same state gives every node the same answer: nodes are asked in the order of their creation, then of
//! their names, and a block that collides with one that is taken is refused. So no two nodes own an address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use muslin_bgp_speaker::config::Cause;
use muslin_cluster::kubernetes::{Field, Node};
use muslin_cluster::{ClusterState, Kind, Problem};

use crate::causes::{Subject, overlap};
use crate::settings::Settings;

/// A block and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) owner: Arc<str>,
    pub(crate) cause: Cause,
}

/// All blocks of the cluster; no two overlap.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    pub(crate) blocks: BTreeMap<IpNet, Block>,
    /// What is wrong, with the node that it concerns.
    pub(crate) problems: Vec<(Arc<str>, Problem)>,
}

impl Ownership {
    /// Decides the owners of all blocks.
    pub(crate) fn of(state: &ClusterState, settings: &Settings) -> Self {
        let mut ownership = Self::default();
        let addresses = NodeAddresses::of(state);
        let mut nodes: Vec<_> = state.nodes.iter().collect();
        // A node without a creation time is written by hand, and comes after those that Kubernetes made.
        nodes.sort_by_key(|(name, node)| (node.created.is_none(), node.created, (*name).clone()));
        for (name, node) in nodes {
            let node = Subject::new(Kind::Node, name, node);
            for cidr in node.object.pod_cidrs() {
                ownership.claim(&node, cidr, settings, &addresses, state);
            }
        }
        ownership
    }

    /// The blocks of one node, with their causes.
    pub(crate) fn blocks_of<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (IpNet, &'a Cause)> {
        self.blocks
            .iter()
            .filter(move |(_, block)| &*block.owner == node)
            .map(|(range, block)| (*range, &block.cause))
    }

    fn claim(
        &mut self,
        node: &Subject<'_, Node>,
        cidr: &Field<IpNet>,
        settings: &Settings,
        addresses: &NodeAddresses<'_>,
        state: &ClusterState,
    ) {
        let range = cidr.value;
        let refuse = |message: String, remedy: &str| {
            let message = format!("{range} {message}");
            (node.name().clone(), node.refused(&cidr.path.to_string(), message, remedy))
        };
        if let Some((taken, block)) = self.overlapping(range) {
            if block.owner == *node.name() && *taken == range {
                return;
            }
            let remedy = "give the node a pod CIDR of its own";
            let refusal = refuse(format!("overlaps {taken} of {}", block.cause), remedy);
            if block.owner != *node.name()
                && let Some((name, owner)) = state.nodes.get_key_value(&*block.owner)
            {
                let owner = Subject::new(Kind::Node, name, owner);
                let field = block.cause.rsplit(' ').next().unwrap_or_default();
                let message = format!("{taken} is claimed by {} too, as {range}", node.reference);
                let advice = owner.advice(field, message, "correct the other node: this one was first");
                self.problems.push((name.clone(), advice));
            }
            self.problems.push(refusal);
            return;
        }
        let outside = |ranges: &[_]| !ranges.is_empty() && !within_any(range, ranges);
        if outside(&settings.cluster_cidrs) {
            let remedy = "add its range there, or give the node another pod CIDR";
            let cause = &settings.cluster_cidrs[0].cause;
            let list = cause.split_once('[').map_or(&**cause, |(list, _)| list);
            return self.problems.push(refuse(format!("is outside all ranges of {list}"), remedy));
        }
        if let Some(service) =
            settings.service_cluster_ips.iter().find(|service| overlap(service.value, range))
        {
            let message = format!("overlaps the Service range {} of {}", service.value, service.cause);
            return self.problems.push(refuse(message, "give pods and Services different ranges"));
        }
        if let Some((address, owner)) = addresses.within(range) {
            let message = format!("contains {address}, the address of Node {owner}");
            return self.problems.push(refuse(message, "give pods a range that no node has an address in"));
        }
        let block = Block { owner: node.name().clone(), cause: node.cause(cidr.path) };
        self.blocks.insert(range, block);
    }

    /// A block that has an address in common with `range`. Since blocks do not overlap each other, it is the
    /// nearest before it in order, or the first after it.
    pub(crate) fn overlapping(&self, range: IpNet) -> Option<(&IpNet, &Block)> {
        let before = self.blocks.range(..=range).next_back();
        let after = self.blocks.range(range..).next();
        before.into_iter().chain(after).find(|(taken, _)| overlap(**taken, range))
    }
}

fn within_any(range: IpNet, ranges: &[crate::causes::Caused<IpNet>]) -> bool {
    ranges.iter().any(|outer| outer.value.contains(&range))
}

/// All nodes' addresses in order.
struct NodeAddresses<'a>(BTreeMap<IpAddr, &'a Arc<str>>);

impl<'a> NodeAddresses<'a> {
    fn of(state: &'a ClusterState) -> Self {
        let addresses = state
            .nodes
            .iter()
            .flat_map(|(name, node)| node.internal_ips().iter().map(move |address| (address.value, name)));
        Self(addresses.collect())
    }

    fn within(&self, range: IpNet) -> Option<(IpAddr, &'a Arc<str>)> {
        let first = self.0.range(range.network()..).next();
        first.map(|(address, node)| (*address, *node)).filter(|(address, _)| range.contains(address))
    }
}
