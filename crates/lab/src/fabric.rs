//! The network of a lab without agents and pods, for nodes of another kind: one router with an address on a link to
//! each node, and an outside host behind it.

use std::path::Path;

use ipnet::IpNet;
use muslin_netns::Namespace;

use crate::LabError;
use crate::addresses::{Dual, DualNet, Family};
use crate::blueprint::{self, Blueprint, NodePart};
use crate::daemon::Daemon;
use crate::manifests::{self, Sessions};
use crate::options::{LabOptions, RouterKind, Topology};
use crate::probe::Host;
use crate::router::{self, Router, RouterSetup, Seat};
use crate::topology::{self, Network};

/// Where pod addresses come from.
pub const POD_RANGE: DualNet = blueprint::POD_RANGE;
/// Where cluster IPs come from.
pub const SERVICE_RANGE: DualNet = blueprint::SERVICE_RANGE;
/// Where external IPs of Services come from.
pub const EXTERNAL_RANGE: DualNet = blueprint::EXTERNAL_RANGE;
/// Where load-balancer IPs of Services come from.
pub const LOAD_BALANCER_RANGE: DualNet = blueprint::LOAD_BALANCER_RANGE;

/// Nodes, a top-of-rack router and an outside host, wired; the router speaks BGP once it is started.
#[derive(Debug)]
pub struct Fabric {
    // Dropped before what it speaks over.
    router: Option<Router>,
    options: LabOptions,
    blueprint: Blueprint,
    network: Network,
}

/// A node's place in the network.
#[derive(Clone, Debug)]
pub struct FabricNode<'a> {
    /// `n1`, `n2`, …; also the name of the router's link to it.
    pub name: &'a str,
    /// Where it is.
    pub namespace: &'a Namespace,
    /// On its link to the router.
    pub address: Dual,
    /// The router's end of that link, to which its default routes lead.
    pub gateway: Dual,
    /// Its links, to lose power and to get it back.
    pub machine: Machine,
}

impl<'a> FabricNode<'a> {
    fn of(part: &'a NodePart, namespace: &'a Namespace) -> Self {
        Self {
            name: &part.name,
            namespace,
            address: part.uplinks[0].address,
            gateway: part.uplinks[0].router_address,
            machine: Machine { part: part.clone(), namespace: namespace.clone() },
        }
    }
}

/// A node's hardware, and the settings that an administrator gave it.
#[derive(Clone, Debug)]
pub struct Machine {
    part: NodePart,
    namespace: Namespace,
}

impl Machine {
    /// Takes its power: its links lose their carrier at once, and its kernel forgets everything. Processes inside
    /// are for the caller to end; they reach nobody any more.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn lose_power(&self) -> Result<(), LabError> {
        let links: Vec<&str> = self.part.uplinks.iter().map(|uplink| &*uplink.link).collect();
        Ok(self.namespace.renew(&links)?)
    }

    /// Boots it: its links come up with the addresses and default routes that it had at first, and nothing else.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn boot(&self) -> Result<(), LabError> {
        topology::boot(&self.part, &self.namespace)
    }
}

impl Fabric {
    /// Makes the namespaces, links, addresses and the default routes that an administrator would set.
    ///
    /// # Errors
    /// [`LabError::Missing`] if the router's program is not installed, else what the kernel refused.
    pub fn build(nodes: u8, kind: RouterKind) -> Result<Self, LabError> {
        router::check(kind)?;
        let options =
            LabOptions { nodes, pods: 0, router: kind, topology: Topology::Tor, ..LabOptions::default() };
        let blueprint = Blueprint::new(&options);
        let network = Network::build(&blueprint)?;
        for family in ["ipv4", "ipv6"] {
            // As switches do: the flows of one host take different ways.
            network.routers[0].sysctl(&format!("net/{family}/fib_multipath_hash_policy"), "1")?;
        }
        let outside = &network.outside.namespace;
        for range in [EXTERNAL_RANGE, LOAD_BALANCER_RANGE] {
            for family in Family::BOTH {
                outside.add_route(range.get(family), blueprint.routers[0].outside_address.get(family))?;
            }
        }
        Ok(Self { router: None, options, blueprint, network })
    }

    /// Adds a node behind the others, wired as they are. A router that is told of its neighbours one by one speaks with
    /// it when it is started again.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn add_node(&mut self) -> Result<FabricNode<'_>, LabError> {
        let index = self.blueprint.nodes.len();
        let part = blueprint::node(&self.options, u8::try_from(index + 1).unwrap_or(u8::MAX));
        self.network.add_node(&part, &self.blueprint)?;
        self.blueprint.nodes.push(part);
        Ok(FabricNode::of(&self.blueprint.nodes[index], &self.network.nodes[index]))
    }

    /// Takes the last node away, with its link.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn remove_node(&mut self) -> Result<(), LabError> {
        let Some(part) = self.blueprint.nodes.pop() else { return Ok(()) };
        self.network.remove_node(&part)
    }

    /// Starts the router, or starts it again; `folder` is for its own files, `muslin` the program.
    ///
    /// # Errors
    /// [`LabError::Process`] if it does not come up.
    pub fn start_router(&mut self, folder: &Path, muslin: &Path) -> Result<(), LabError> {
        self.stop_router();
        let setup = RouterSetup {
            lab: &self.blueprint,
            seat: Seat::Router(0),
            namespace: self.router(),
            folder,
            muslin,
        };
        self.router = Some(Router::start(self.options.router, &setup)?);
        Ok(())
    }

    /// Kills the router's programs; its kernel goes on forwarding what it has.
    pub fn stop_router(&mut self) {
        self.router = None;
    }

    /// The nodes, in the order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = FabricNode<'_>> {
        let nodes = self.blueprint.nodes.iter().zip(&self.network.nodes);
        nodes.map(|(part, namespace)| FabricNode::of(part, namespace))
    }

    /// The router's namespace.
    pub fn router(&self) -> &Namespace {
        &self.network.routers[0]
    }

    /// The host behind the router.
    pub fn outside(&self) -> &Host {
        &self.network.outside
    }

    /// The router's address towards the outside host, by which that one reaches the cluster.
    pub fn outside_gateway(&self) -> Dual {
        self.blueprint.routers[0].outside_address
    }

    /// The resources that make each node a peer of the router, and announce pods and Services.
    pub fn bgp_manifests(&self) -> String {
        manifests::bgp(&self.blueprint, Sessions::Up)
    }

    /// The networks of the links between router and nodes.
    pub fn links(&self) -> Vec<IpNet> {
        self.nodes().flat_map(|node| node.address.on_link()).map(|network| network.trunc()).collect()
    }

    /// Looks whether the router still runs.
    ///
    /// # Errors
    /// [`LabError::Process`] with its last lines if it has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.router.iter_mut().flat_map(|router| &mut router.daemons).try_for_each(Daemon::check)
    }
}
