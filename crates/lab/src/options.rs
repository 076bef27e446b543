use std::path::PathBuf;

use serde::Serialize;

use crate::addresses::Family;

/// How nodes and routers are wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// Every node on a link of its own to one router, eBGP.
    #[default]
    Tor,
    /// All nodes on one link, an iBGP mesh between them; a router on the same link leads outside.
    Mesh,
    /// Every node on two links to two routers, eBGP to both and equal-cost paths.
    DualTor,
    /// All nodes on one link, iBGP to two route reflectors that forward nothing; a router on the same link leads outside.
    Reflector,
    /// As dual-tor without addresses on the links: routers are found by their advertisements, IPv4 goes over IPv6.
    Unnumbered,
}

impl Topology {
    /// Whether all nodes are on one link.
    pub(crate) fn is_one_link(self) -> bool {
        matches!(self, Self::Mesh | Self::Reflector)
    }
}

/// In which families a network has addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Families {
    /// IPv4 and IPv6
    #[default]
    Dual,
    /// IPv4 alone
    Ipv4,
    /// IPv6 alone
    Ipv6,
}

impl Families {
    /// Each of them, the one that Kubernetes prefers first.
    pub fn all(self) -> &'static [Family] {
        match self {
            Self::Dual => &Family::BOTH,
            Self::Ipv4 => &[Family::V4],
            Self::Ipv6 => &[Family::V6],
        }
    }
}

/// Which program is the external router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RouterKind {
    /// `muslin speaker`.
    #[default]
    Muslin,
    /// The BIRD Internet Routing Daemon, version 2 or later.
    Bird,
    /// FRR: zebra and bgpd.
    Frr,
}

impl RouterKind {
    /// The program's name.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Muslin => "muslin speaker",
            Self::Bird => "BIRD",
            Self::Frr => "FRR",
        }
    }
}

/// Something broken on purpose after convergence, to see the proofs fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Tamper {
    /// A learned route of the first node is taken away.
    Route,
    /// The masquerade rules of the first node are taken away.
    Rule,
    /// The first node translates the source of its pods' packets to other pods.
    Source,
}

/// What a lab is to be.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Nodes, 2 to 16.
    pub nodes: u8,
    /// Pods on every node, 1 to 8.
    pub pods: u8,
    /// The external router.
    pub router: RouterKind,
    /// The wiring.
    pub topology: Topology,
    /// What it has addresses of; the proofs are about both.
    pub families: Families,
    /// Something broken on purpose.
    pub tamper: Option<Tamper>,
    /// Folder of the `muslin` and `muslin-cni` programs; `None` is that of the running program.
    pub programs: Option<PathBuf>,
    /// Folder under which the lab makes one for its own files and sockets; short, since socket paths are.
    pub folder: PathBuf,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            pods: 2,
            router: RouterKind::default(),
            topology: Topology::default(),
            families: Families::default(),
            tamper: None,
            programs: None,
            folder: std::env::temp_dir(),
        }
    }
}
