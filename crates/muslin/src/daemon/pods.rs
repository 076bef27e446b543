//! The node's pods: what the CNI plugin is told, and the packet filter.

use std::collections::BTreeSet;

use anyhow::Context;
use muslin_node_plan::{KernelFacts, NodePlan};
use muslin_pod_network::conflist::{self, Installed};
use muslin_pod_network::host::{self, Family, Weight};
use muslin_pod_network::{Conflist, FirewallPlan, HOST_INTERFACE_PREFIX, NetworkFile, firewall};
use tracing::{info, warn};

use super::NodeRole;

/// Name of our network in the CNI configuration; reservations are scoped to it.
const NETWORK: &str = "muslin";

/// Carries out a plan's part for pods; remembers what is in force to leave it alone.
pub(crate) struct Pods {
    node: NodeRole,
    host: Option<Host>,
    settings: HostSettings,
    firewall: Option<FirewallPlan>,
    network: Option<NetworkFile>,
}

/// What the kernel's settings have to allow.
struct Host {
    /// Whose packets come to the node and leave it.
    families: Vec<Family>,
    uplinks: Vec<String>,
}

/// Kernel settings that are wrong and could not be put right, each a sentence with what helps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostSettings {
    /// Packets get lost.
    pub(crate) faults: Vec<String>,
    /// None does as things are.
    pub(crate) notes: Vec<String>,
}

impl Pods {
    /// Nothing is in force yet.
    pub(crate) fn new(node: NodeRole) -> Self {
        Self { node, host: None, settings: HostSettings::default(), firewall: None, network: None }
    }

    /// Forwarding and firewall first, then the addresses that pods may have: no pod sends a packet that the filter
    /// does not know.
    pub(crate) fn apply(&mut self, plan: &NodePlan, facts: &KernelFacts) -> anyhow::Result<()> {
        self.host = Some(Host::of(plan, facts));
        self.settle();
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

    /// Puts the kernel's settings right, as somebody else may have changed them.
    pub(crate) fn settle(&mut self) {
        let Some(Host { families, uplinks }) = &self.host else { return };
        let uplinks: Vec<&str> = uplinks.iter().map(String::as_str).collect();
        let mut settings = HostSettings::default();
        let prepared = host::prepare(&self.node.sysctl_dir, &[Family::V4, Family::V6], &uplinks);
        for changed in prepared.changed {
            info!("{changed}");
        }
        for problem in prepared.problems {
            match problem.weight {
                // A kernel without IPv6 is right for a cluster without.
                _ if !families.contains(&problem.family) => {}
                Weight::Fault => settings.faults.push(problem.to_string()),
                Weight::Note => settings.notes.push(problem.to_string()),
            }
        }
        for fault in settings.faults.iter().filter(|fault| !self.settings.faults.contains(fault)) {
            warn!("{fault}");
        }
        for note in settings.notes.iter().filter(|note| !self.settings.notes.contains(note)) {
            info!("{note}");
        }
        if settings.faults.is_empty() && !self.settings.faults.is_empty() {
            info!("the kernel's settings are as pods need them");
        }
        self.settings = settings;
    }

    /// What is wrong with the kernel's settings.
    pub(crate) fn settings(&self) -> &HostSettings {
        &self.settings
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

impl Host {
    fn of(plan: &NodePlan, facts: &KernelFacts) -> Self {
        let connected = facts.connected.iter().map(|link| &*link.interface);
        let unnumbered = plan.discovery.interfaces.iter().map(|interface| &*interface.value);
        let uplinks: BTreeSet<&str> = connected.chain(unnumbered).collect();
        let uplinks = uplinks.into_iter().filter(|name| !name.starts_with(HOST_INTERFACE_PREFIX));
        let blocks = plan.address_blocks.iter().map(|block| block.value);
        let mut ranges = blocks.chain(plan.speaker.originated.iter().map(|route| route.prefix));
        let has_ipv4 = ranges.clone().any(|range| range.addr().is_ipv4());
        let has_ipv6 = ranges.any(|range| range.addr().is_ipv6());
        let families = [(Family::V4, has_ipv4), (Family::V6, has_ipv6)];
        Self {
            families: families.into_iter().filter_map(|(family, used)| used.then_some(family)).collect(),
            uplinks: uplinks.map(str::to_owned).collect(),
        }
    }
}
