//! What `muslin doctor` knows of a node before it judges: plain values, so that each check can be tried on wrong ones.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use muslin_pod_network::firewall::ForwardDrop;

/// A node as it was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The kernel's release, such as `6.12.4`.
    pub(super) kernel_release: String,
    /// Whether the kernel has next-hop objects.
    pub(super) next_hop_objects: Option<bool>,
    /// Kernel settings by their name below `net`, such as `ipv4/ip_forward`; what the kernel lacks is not there.
    pub(super) settings: BTreeMap<String, String>,
    /// The node's links that are no pod's.
    pub(super) links: Vec<Link>,
    /// Whether the node has a routable IPv6 address.
    pub(super) has_ipv6: bool,
    /// MTU of pods' interfaces as the agent told the plugin.
    pub(super) pod_mtu: Option<u32>,
    /// Ranges of pods' addresses: of all nodes where the agent says so, else of this one.
    pub(super) pod_ranges: Vec<IpNet>,
    /// What was measured on the way to peers and gateways.
    pub(super) paths: Vec<PathMtu>,
    /// Names of the processes that can be seen.
    pub(super) processes: BTreeSet<String>,
    /// systemd-networkd, as its files say it is.
    pub(super) networkd: Networkd,
    /// What `NetworkManager` is told not to manage, from all its files.
    pub(super) networkmanager_unmanaged: Vec<String>,
    /// Who listens on port 179.
    pub(super) bgp_port: Vec<Listener>,
    /// What the packet filter holds.
    pub(super) filter: Looked<Filter>,
    /// What kube-proxy says of its mode.
    pub(super) proxy_mode: Option<String>,
    /// CNI configurations in the order in which the container runtime reads them.
    pub(super) cni: Looked<Vec<CniFile>>,
    /// CNI plugins that are there.
    pub(super) cni_plugins: Looked<BTreeSet<String>>,
    /// What the agent says of itself.
    pub(super) agent: Looked<Agent>,
}

/// What was seen, or why it could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Looked<T> {
    /// This was seen.
    Seen(T),
    /// This process may not look.
    Forbidden(String),
    /// It is not there.
    Absent(String),
}

impl<T> Default for Looked<T> {
    fn default() -> Self {
        Self::Absent("nobody looked".to_owned())
    }
}

impl<T> Looked<T> {
    /// What was seen, if anything.
    pub(super) fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Forbidden(_) | Self::Absent(_) => None,
        }
    }
}

/// What systemd-networkd was told, and what it does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Networkd {
    /// Section `[Network]` of `networkd.conf`, by name in lower case.
    pub(super) settings: BTreeMap<String, String>,
    /// It is older than `ManageForeignNextHops`, which came with version 256.
    pub(super) before_next_hops: bool,
    /// The links that it configures.
    pub(super) links: Vec<NetworkdLink>,
}

/// A link that systemd-networkd configures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkdLink {
    pub(super) name: String,
    /// The file that says how, such as `10-eth0.network`.
    pub(super) file: String,
    /// `KeepConfiguration=yes`: whatever it did not make there stays.
    pub(super) keeps: bool,
}

/// A link of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) mtu: u32,
    /// It leads out: it has a subnet, or a default route.
    pub(super) uplink: bool,
}

/// What comes through to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PathMtu {
    /// Who was asked: `peer tor-1` or `gateway`.
    pub(super) whose: String,
    pub(super) address: IpAddr,
    /// The link that packets leave by.
    pub(super) link: String,
    /// Largest packet of that link, in octets.
    pub(super) link_mtu: u32,
    /// Largest packet that was answered; nothing if none was, or nobody could ask.
    pub(super) answered: Option<u32>,
}

/// Somebody on port 179.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: IpAddr,
    /// The process, where this one may see it.
    pub(super) process: Option<String>,
}

/// Tables of the packet filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// "table chain" of every chain.
    pub(super) chains: BTreeSet<String>,
    /// Chains of others that drop what is forwarded unless a rule of theirs accepts it.
    pub(super) forward_drops: Vec<ForwardDrop>,
}

/// A file in the folder of CNI configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CniFile {
    pub(super) path: PathBuf,
    /// Types of its plugins in their order; empty if it cannot be read as a configuration.
    pub(super) plugins: Vec<String>,
}

/// A daemon that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) version: String,
    /// It is a node's agent, no stand-alone speaker.
    pub(super) on_node: bool,
    /// What it says is wrong, each with its remedy.
    pub(super) problems: Vec<String>,
}
