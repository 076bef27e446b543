//! The node's pods: what the CNI plugin is told, and the packet filter.

use std::collections::BTreeSet;

use anyhow::Context;
use muslin_node_plan::{KernelFacts, NodePlan};
use muslin_pod_network::conflist::{self, Installed};
use muslin_pod_network::host::{self, Family};
use muslin_pod_network::{Conflist, FirewallPlan, HOST_INTERFACE_PREFIX, NetworkFile, firewall};
use tracing::{info, warn};

use super::NodeRole;

/// Name of our network in the CNI configuration; reservations are scoped to it.
const NETWORK: &str = "muslin";

/// Carries out a plan's part for pods; remembers what is in force to leave it alone.
pub(crate) struct Pods {
    node: NodeRole,
    firewall: Option<FirewallPlan>,
    network: Option<NetworkFile>,
}

impl Pods {
    /// Nothing is in force yet.
    pub(crate) fn new(node: NodeRole) -> Self {
        Self { node, firewall: None, network: None }
    }

    /// Forwarding and firewall first, then the addresses that pods may have: no pod sends a packet that the filter
    /// does not know.
    pub(crate) fn apply(&mut self, plan: &NodePlan, facts: &KernelFacts) -> anyhow::Result<()> {
        let connected = facts.connected.iter().map(|link| &*link.interface);
        let unnumbered = plan.discovery.interfaces.iter().map(|interface| &*interface.value);
        let uplinks: BTreeSet<&str> = connected.chain(unnumbered).collect();
        let uplinks: Vec<&str> =
            uplinks.into_iter().filter(|name| !name.starts_with(HOST_INTERFACE_PREFIX)).collect();
        for problem in host::prepare(&self.node.sysctl_dir, &[Family::V4, Family::V6], &uplinks) {
            warn!("{problem}");
        }
        if self.firewall.as_ref() != Some(&plan.firewall) {
            self.firewall = None;
            firewall::apply(&plan.firewall)?;
            self.firewall = Some(plan.firewall.clone());
        }
        let network = NetworkFile {
            blocks: plan.address_blocks.iter().map(|block| block.value).collect(),
            mtu: plan.mtu,
            reserved: facts.addresses.iter().map(|local| local.address).collect(),
        };
        if self.network.as_ref() != Some(&network) {
            network.write(&self.node.data_dir).with_context(|| self.node.data_dir.display().to_string())?;
            self.network = Some(network);
        }
        Ok(())
    }

    /// Tells the container runtime about the plugin, which turns a kubelet's node `Ready`. Done again it puts back what
    /// somebody removed, and follows chained plugins that come and go.
    pub(crate) fn announce(&self) -> anyhow::Result<()> {
        let Some(conf_dir) = &self.node.cni_conf_dir else { return Ok(()) };
        let there = |name: &&String| match &self.node.cni_bin_dir {
            Some(folder) => folder.join(name).exists(),
            None => true,
        };
        let chained = self.node.cni_chain.iter().filter(there).map(|name| conflist::chained(name)).collect();
        let list = Conflist { name: NETWORK.to_owned(), data_dir: self.node.data_dir.clone(), chained };
        let installed = list.install(conf_dir).with_context(|| conf_dir.display().to_string())?;
        if installed == Installed::Written {
            info!(folder = %conf_dir.display(), "CNI configuration is in place");
        }
        Ok(())
    }

    /// Puts the packet filter back if somebody removed it.
    pub(crate) fn audit(&mut self) {
        let Some(plan) = &self.firewall else { return };
        let restored = match firewall::is_present() {
            Ok(true) => return,
            Ok(false) => firewall::apply(plan).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match restored {
            Ok(()) => warn!("somebody removed the packet filter (table inet muslin); it is back"),
            Err(error) => warn!("the packet filter cannot be put back: {error}"),
        }
    }
}
