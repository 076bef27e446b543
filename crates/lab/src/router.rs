//! The external router, and route reflectors: one of three programs, each on a configuration and sockets of its own.

mod bird;
mod frr;

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use muslin_netns::Namespace;

use crate::LabError;
use crate::addresses::Family;
use crate::blueprint::{Blueprint, CLUSTER_ASN, NodePart, ROUTER_ASN};
use crate::daemon::Daemon;
use crate::manifests;
use crate::options::RouterKind;

/// How long a router may take until it reads its configuration and listens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The programs of one router.
#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) daemons: Vec<Daemon>,
}

/// What a router is started from.
pub(crate) struct RouterSetup<'a> {
    pub(crate) lab: &'a Blueprint,
    pub(crate) seat: Seat,
    pub(crate) namespace: &'a Namespace,
    /// A folder of its own.
    pub(crate) folder: &'a Path,
    /// The `muslin` program.
    pub(crate) muslin: &'a Path,
}

/// What a speaker beside the nodes is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// One of the blueprint's routers.
    Router(usize),
    /// One of the blueprint's reflectors.
    Reflector(usize),
}

impl RouterSetup<'_> {
    fn name(&self) -> &str {
        match self.seat {
            Seat::Router(index) => &self.lab.routers[index].name,
            Seat::Reflector(index) => &self.lab.reflectors[index].name,
        }
    }

    fn id(&self) -> Ipv4Addr {
        match self.seat {
            Seat::Router(index) => self.lab.routers[index].id,
            Seat::Reflector(index) => self.lab.reflectors[index].address.v4,
        }
    }

    fn asn(&self) -> u32 {
        match self.seat {
            Seat::Router(_) => ROUTER_ASN,
            Seat::Reflector(_) => CLUSTER_ASN,
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, LabError> {
        manifests::write(self.folder, name, text)?;
        Ok(self.folder.join(name))
    }

    fn start(&self, program: &str, command: &mut Command) -> Result<Daemon, LabError> {
        let log = self.folder.join(format!("{program}.log"));
        Daemon::start(format!("{program} of {}", self.name()), self.namespace, command, log)
    }

    /// The nodes on its links and their addresses there.
    fn neighbours(&self) -> impl Iterator<Item = Neighbour<'_>> {
        let uplinks =
            self.lab.nodes.iter().flat_map(|node| node.uplinks.iter().map(move |uplink| (node, uplink)));
        let ours = uplinks.filter_map(|(node, uplink)| match self.seat {
            Seat::Router(index) => (uplink.router == index).then_some((node, uplink, uplink.router_address)),
            Seat::Reflector(index) => Some((node, uplink, self.lab.reflectors[index].address)),
        });
        ours.flat_map(|(node, uplink, local)| {
            self.lab.families.all().iter().map(move |&family| Neighbour {
                node,
                family,
                local: local.get(family),
                remote: uplink.address.get(family),
            })
        })
    }
}

impl RouterSetup<'_> {
    /// The nodes on links without addresses, by their link-local ones.
    fn links(&self) -> impl Iterator<Item = Neighbour<'_>> {
        self.neighbours().filter(|neighbour| neighbour.family == Family::V6)
    }
}

/// One session that a router must expect.
struct Neighbour<'a> {
    node: &'a NodePart,
    family: Family,
    local: std::net::IpAddr,
    remote: std::net::IpAddr,
}

impl Router {
    /// Starts the router and returns when it has read its configuration.
    pub(crate) fn start(kind: RouterKind, setup: &RouterSetup<'_>) -> Result<Self, LabError> {
        fs::create_dir_all(setup.folder).map_err(LabError::file(setup.folder))?;
        let daemons = match kind {
            RouterKind::Muslin => vec![start_speaker(setup)?],
            RouterKind::Bird => vec![bird::start(setup)?],
            RouterKind::Frr => frr::start(setup)?,
        };
        Ok(Self { daemons })
    }
}

/// What is missing for this kind of router, as a sentence with its remedy.
pub(crate) fn check(kind: RouterKind) -> Result<(), LabError> {
    let missing = match kind {
        RouterKind::Muslin => return Ok(()),
        RouterKind::Bird => bird::missing(),
        RouterKind::Frr => frr::missing(),
    };
    missing.map_or(Ok(()), |sentence| Err(LabError::Missing(sentence)))
}

fn start_speaker(setup: &RouterSetup<'_>) -> Result<Daemon, LabError> {
    let (state, run) = (setup.folder.join("state"), setup.folder.join("run"));
    for folder in [&state, &run] {
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
    }
    let text = match setup.seat {
        Seat::Router(index) => manifests::speaker(setup.lab, index),
        Seat::Reflector(index) => manifests::reflector(&setup.lab.reflectors[index]),
    };
    manifests::write(&state, "router.yaml", &text)?;
    let mut command = Command::new(setup.muslin);
    command.arg("speaker").arg("--state").arg(&state).arg("--run-dir").arg(&run);
    let mut daemon = setup.start("speaker", &mut command)?;
    daemon.await_path(&run.join("muslin.sock"), PATIENCE)?;
    Ok(daemon)
}

/// The first folder of `PATH`, or of those where distributions keep daemons, that has all these programs.
pub(crate) fn find(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/local/sbin", "/usr/lib/frr", "/usr/libexec/frr", "/usr/local/lib/frr"];
    let mut folders = std::env::split_paths(&path).chain(usual.map(PathBuf::from));
    let executable = |file: PathBuf| {
        fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    folders.find(|folder| programs.iter().all(|program| executable(folder.join(program))))
}
