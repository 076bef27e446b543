//! The network of a lab without agents and pods, for nodes of another kind: one router with an address on a link to
//! each node or on one that they share, and an outside host behind it.

use std::path::Path;

use muslin_netns::Namespace;

use crate::LabError;
use crate::addresses::{Dual, DualNet};
use crate::blueprint::{self, Blueprint, NodePart, Uplink};
use crate::daemon::Daemon;
use crate::manifests::{self, Sessions};
use crate::options::{Families, LabOptions};
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

/// Nodes, a router and an outside host, wired; the router speaks BGP once it is started.
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
    /// `n1`, `n2`, …; also the name of the router's link to it, where it has one of its own.
    pub name: &'a str,
    /// Where it is.
    pub namespace: &'a Namespace,
    /// On that link, or the shared one.
    pub address: Dual,
    /// The router's end of that link, to which its default routes lead.
    pub gateway: Dual,
    /// Its links, to lose power and to get it back.
    pub machine: Machine,
}

impl<'a> FabricNode<'a> {
    fn of(part: &'a NodePart, families: Families, namespace: &'a Namespace) -> Self {
        Self {
            name: &part.name,
            namespace,
            address: part.uplinks[0].address,
            gateway: part.uplinks[0].router_address,
            machine: Machine { part: part.clone(), families, namespace: namespace.clone() },
        }
    }
}

/// A node's hardware, and the settings that an administrator gave it.
#[derive(Clone, Debug)]
pub struct Machine {
    part: NodePart,
    families: Families,
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
        topology::boot(&self.part, &self.namespace, self.families)
    }
}

impl Fabric {
    /// Makes the namespaces, links, addresses and the default routes that an administrator would set, of a topology
    /// with one router and addresses on its links: [`Tor`](crate::Topology::Tor) or [`Mesh`](crate::Topology::Mesh).
    ///
    /// # Errors
    /// [`LabError::Missing`] if the router's program is not installed, else what the kernel refused.
    pub fn build(options: &LabOptions) -> Result<Self, LabError> {
        router::check(options.router)?;
        let options = LabOptions { pods: 0, ..options.clone() };
        let blueprint = Blueprint::new(&options);
        let network = Network::build(&blueprint)?;
        for family in ["ipv4", "ipv6"] {
            // As switches do: the flows of one host take different ways.
            network.routers[0].sysctl(&format!("net/{family}/fib_multipath_hash_policy"), "1")?;
        }
        let outside = &network.outside.namespace;
        for range in [EXTERNAL_RANGE, LOAD_BALANCER_RANGE] {
            for &family in options.families.all() {
                outside.add_route(range.get(family), blueprint.routers[0].outside_address.get(family))?;
            }
        }
        Ok(Self { router: None, options, blueprint, network })
    }

    /// Adds a node behind the others, with a link of its own or on the one that they share. A router that is told of its neighbours one by
    /// one speaks with it when it is started again.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn add_node(&mut self) -> Result<FabricNode<'_>, LabError> {
        let index = self.blueprint.nodes.len();
        let part = blueprint::node(&self.options, u8::try_from(index + 1).unwrap_or(u8::MAX));
        self.network.add_node(&part, &self.blueprint)?;
        self.blueprint.nodes.push(part);
        Ok(FabricNode::of(&self.blueprint.nodes[index], self.options.families, &self.network.nodes[index]))
    }

    /// Gives a node other addresses on its link, beside those that it has: the first step of a move there. When it boots, it
    /// has these alone, and a router that is told of its neighbours one by one knows them when it is started again.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn renumber_node(&mut self, index: usize, addresses: Dual) -> Result<FabricNode<'_>, LabError> {
        let namespace = &self.network.nodes[index];
        // As distributions have it: else the kernel takes the later IPv4 address away with the former one.
        namespace.sysctl("net/ipv4/conf/all/promote_secondaries", "1")?;
        let part = &mut self.blueprint.nodes[index];
        let uplink = &mut part.uplinks[0];
        topology::add_addresses(namespace, &uplink.link, addresses, self.options.families)?;
        uplink.address = addresses;
        Ok(FabricNode::of(part, self.options.families, namespace))
    }

    /// Takes the last node away, with its own link.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn remove_node(&mut self) -> Result<(), LabError> {
        let Some(part) = self.blueprint.nodes.pop() else { return Ok(()) };
        self.network.remove_node(&part, self.options.families)
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
        nodes.map(|(part, namespace)| FabricNode::of(part, self.options.families, namespace))
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

    /// Whether all nodes are on one link.
    pub fn is_one_link(&self) -> bool {
        self.blueprint.topology.is_one_link()
    }

    /// Gives a machine that is no node a link `eth0` and default routes to the router: on the link that the nodes share,
    /// else on one of its own, named for it at the router's end. There the router has the address `gateway`, which on
    /// a shared link is the one that nodes know it by.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn join(&self, machine: &Namespace, address: Dual, gateway: Dual) -> Result<(), LabError> {
        let place = Uplink { router: 0, link: "eth0".to_owned(), address, router_address: gateway };
        self.network.join(machine, &place, &self.blueprint)
    }

    /// Looks whether the router still runs.
    ///
    /// # Errors
    /// [`LabError::Process`] with its last lines if it has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.router.iter_mut().flat_map(|router| &mut router.daemons).try_for_each(Daemon::check)
    }
}
