use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};

use crate::LabError;
use crate::options::{Families, LabOptions, RouterKind, Tamper, Topology};

/// Arguments of `muslin lab`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LabArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LabCommand>,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// What to do with a lab that stands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Run a command (a shell if none is given) in a node, router, pod or the outside host of the lab left by --keep
    Shell {
        /// n1, tor, n1-pod1, outside, …; without it, they are listed
        node: Option<String>,
        /// The command
        #[arg(last = true, value_name = "CMD")]
        command: Vec<OsString>,
    },
    /// End the lab left by --keep
    Down,
}

/// What to build.
#[derive(Args, Clone, Debug)]
pub(crate) struct BuildArgs {
    /// Number of nodes; 3 if it is not said
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=16))]
    nodes: Option<u8>,
    /// Pods on every node; 2 if it is not said
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=8))]
    pods: Option<u8>,
    /// Program of the external router; muslin if it is not said
    #[arg(long, value_enum)]
    router: Option<RouterKind>,
    /// Wiring of nodes and routers: one of these, tor if it is not said, or a topology file of containerlab,
    /// NAME.clab.yml, whose nodes run the programs of this machine, and with --kubernetes one with a cluster of kind;
    /// then its verify.sh is run, or with --keep the nodes stay
    #[arg(long, value_parser = ShapeParser, value_name = "SHAPE|FILE")]
    topology: Option<Shape>,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Leave the lab standing in the background
    #[arg(long)]
    pub(crate) keep: bool,
    /// A real Kubernetes cluster instead of the agents alone: its programs are built once, and need root
    #[arg(long, conflicts_with_all = ["pods", "tamper"])]
    kubernetes: bool,
    /// How kube-proxy programs the nodes' kernels
    #[arg(long, value_enum, default_value_t, requires = "kubernetes")]
    proxy_mode: ProxyMode,
    /// Addresses of nodes, pods and Services; dual if it is not said
    #[arg(long, value_enum, requires = "kubernetes")]
    families: Option<Families>,
    /// Break one thing before the proofs, to see them fail
    #[arg(long, value_enum, hide = true)]
    tamper: Option<Tamper>,
}

/// How a lab is wired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// In one of the ways that are proven.
    Named(Topology),
    /// As a file of containerlab says.
    File(PathBuf),
}

/// Takes a name for a shape, and what looks like a path for a file.
#[derive(Clone, Copy, Debug)]
struct ShapeParser;

impl TypedValueParser for ShapeParser {
    type Value = Shape;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Shape, clap::Error> {
        let path = Path::new(value);
        let is_yaml = path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml");
        if is_yaml || value.as_encoded_bytes().contains(&b'/') {
            return Ok(Shape::File(path.to_path_buf()));
        }
        EnumValueParser::<Topology>::new().parse_ref(command, argument, value).map(Shape::Named)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values: Vec<_> =
            Topology::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        Some(Box::new(values.into_iter()))
    }
}

/// A lab with a Kubernetes control plane, which is another crate's to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesRequest {
    /// What is around the control plane.
    pub topology: KubernetesTopology,
    /// What kube-proxy uses.
    pub proxy_mode: ProxyMode,
    /// How to print the result.
    pub output: Output,
    /// Leave it standing in the background.
    pub keep: bool,
}

/// Nodes and routers of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesTopology {
    /// Nodes and one router in front of all else.
    Named {
        /// How they are wired: [`Topology::Tor`] or [`Topology::Mesh`].
        wiring: Topology,
        /// Nodes, 2 to 16.
        nodes: u8,
        /// The router's program.
        router: RouterKind,
        /// What all have addresses of.
        families: Families,
    },
    /// As a topology file of containerlab with a cluster of kind says.
    File(PathBuf),
}

/// What kube-proxy programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProxyMode {
    /// nftables
    #[default]
    Nftables,
    /// iptables
    Iptables,
    /// IPVS, where the kernel has it
    Ipvs,
}

/// Output formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

impl LabArgs {
    /// The Kubernetes cluster that is asked for, if it is one.
    ///
    /// # Errors
    /// [`LabError::Missing`] for a shape or a flag that does not go with one.
    pub fn kubernetes(&self) -> Result<Option<KubernetesRequest>, LabError> {
        let Self { command: None, build: build @ BuildArgs { kubernetes: true, .. } } = self else {
            return Ok(None);
        };
        let usual = LabOptions::default();
        let named = |wiring| KubernetesTopology::Named {
            wiring,
            nodes: build.nodes.unwrap_or(usual.nodes),
            router: build.router.unwrap_or(usual.router),
            families: build.families.unwrap_or(usual.families),
        };
        let topology = match &build.topology {
            None => named(usual.topology),
            Some(Shape::Named(wiring @ (Topology::Tor | Topology::Mesh))) => named(*wiring),
            Some(Shape::File(path)) => {
                build.says_nothing_beside(path)?;
                KubernetesTopology::File(path.clone())
            }
            Some(Shape::Named(_)) => {
                return Err(LabError::Missing(
                    "a cluster is behind one router (tor), on one link with it (mesh), or as a topology file says"
                        .to_owned(),
                ));
            }
        };
        let BuildArgs { proxy_mode, output, keep, .. } = *build;
        Ok(Some(KubernetesRequest { topology, proxy_mode, output, keep }))
    }
}

/// What `muslin lab` is to build.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// A lab that is proven.
    Lab(LabOptions),
    /// A topology file.
    File(PathBuf),
}

impl BuildArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// [`LabError::Missing`] for a flag that says what a topology file says already.
    pub(crate) fn request(&self) -> Result<Request, LabError> {
        let usual = LabOptions::default();
        let topology = match &self.topology {
            None => usual.topology,
            Some(Shape::Named(topology)) => *topology,
            Some(Shape::File(path)) => {
                self.says_nothing_beside(path)?;
                return Ok(Request::File(path.clone()));
            }
        };
        Ok(Request::Lab(LabOptions {
            nodes: self.nodes.unwrap_or(usual.nodes),
            pods: self.pods.unwrap_or(usual.pods),
            router: self.router.unwrap_or(usual.router),
            topology,
            tamper: self.tamper,
            ..usual
        }))
    }

    /// An error for a flag that says what a topology file says already.
    fn says_nothing_beside(&self, file: &Path) -> Result<(), LabError> {
        let said = [
            (self.nodes.is_some(), "--nodes"),
            (self.pods.is_some(), "--pods"),
            (self.router.is_some(), "--router"),
            (self.families.is_some(), "--families"),
            (self.tamper.is_some(), "--tamper"),
            (self.output != Output::default(), "--output"),
        ];
        match said.into_iter().find(|(said, _)| *said) {
            None => Ok(()),
            Some((_, flag)) => Err(LabError::Missing(format!(
                "{flag} does not go with a topology file: what runs stands in {}",
                file.display()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        lab: LabArgs,
    }

    fn asked(words: &str) -> Result<KubernetesRequest, String> {
        let words = ["lab", "--kubernetes"].into_iter().chain(words.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.lab.kubernetes().map(Option::unwrap).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_is_behind_one_router_or_on_one_link_in_the_families_that_were_asked_for() {
        let usual = KubernetesTopology::Named {
            wiring: Topology::Tor,
            nodes: 3,
            router: RouterKind::Muslin,
            families: Families::Dual,
        };
        assert_eq!(asked("").unwrap().topology, usual);
        let mesh = KubernetesTopology::Named {
            wiring: Topology::Mesh,
            nodes: 4,
            router: RouterKind::Bird,
            families: Families::Ipv6,
        };
        let words = "--topology mesh --nodes 4 --router bird --families ipv6";
        assert_eq!(asked(words).unwrap().topology, mesh);
    }

    #[test]
    fn what_does_not_go_with_a_cluster_is_refused_with_what_does() {
        for shape in ["dual-tor", "reflector", "unnumbered"] {
            let error = asked(&format!("--topology {shape}")).unwrap_err();
            assert!(error.contains("tor") && error.contains("mesh"), "{error}");
        }
        let error = asked("--topology a.clab.yml --families ipv6").unwrap_err();
        assert!(error.contains("--families does not go with a topology file"), "{error}");
    }
}
