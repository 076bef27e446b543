//! A topology that runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use muslin_netns::{Namespace, connect};
use tempfile::TempDir;

use super::file::{ClusterNodeSpec, LinkSpec, NodeSpec, TopologyFile};
use super::image::Main;
use super::room::Room;
use crate::LabError;
use crate::daemon::Daemon;
use crate::progress::Progress;
use crate::standing::Place;

/// How long one `exec` may take; making a pod waits for an agent to be ready.
const PATIENCE: Duration = Duration::from_mins(2);

/// The nodes, wired and running. Dropping it ends them.
#[derive(Debug)]
pub struct Deployment {
    nodes: Vec<Node>,
    /// Nodes of a cluster that runs already.
    cluster: Vec<ClusterNode>,
    /// Removed with it.
    folder: TempDir,
}

#[derive(Debug)]
struct Node {
    spec: NodeSpec,
    main: Option<Daemon>,
    room: Room,
    folder: PathBuf,
}

/// A node of a cluster, which others have made.
#[derive(Clone, Debug)]
struct ClusterNode {
    spec: ClusterNodeSpec,
    network: Namespace,
}

impl Deployment {
    /// Makes the nodes and links, starts the programs, and runs the `exec`s of each node. `cluster` has the network of
    /// each node of the topology's cluster, by name.
    ///
    /// # Errors
    /// [`LabError::Process`] with the last lines of what does not come up, else what the kernel refused.
    pub fn start(
        topology: &TopologyFile,
        cluster: &BTreeMap<String, Namespace>,
        progress: Progress,
    ) -> Result<Self, LabError> {
        let run = Path::new("/run");
        let folder = tempfile::Builder::new().prefix("nodes").tempdir_in(run).map_err(LabError::file(run))?;
        let step = progress.step(format!("{} nodes, {} links", topology.nodes.len(), topology.links.len()));
        let nodes = topology.nodes.iter().map(|spec| {
            let folder = folder.path().join(&spec.name);
            fs::create_dir(&folder).map_err(LabError::file(&folder))?;
            let room = Room::make(spec, &folder)?;
            Ok(Node { spec: spec.clone(), main: None, room, folder })
        });
        let nodes = nodes.collect::<Result<_, LabError>>()?;
        let cluster = topology.cluster_nodes.iter().filter_map(|spec| {
            let network = cluster.get(&spec.name)?.clone();
            Some(ClusterNode { spec: spec.clone(), network })
        });
        let mut deployment = Self { nodes, cluster: cluster.collect(), folder };
        for link in &topology.links {
            deployment.wire(link)?;
        }
        step.done();
        let step = progress.step("programs started");
        deployment.nodes.iter_mut().try_for_each(Node::start)?;
        step.done();
        let commands = topology.nodes.iter().map(|node| node.exec.len());
        let commands: usize = commands.chain(topology.cluster_nodes.iter().map(|node| node.exec.len())).sum();
        let step = progress.step(format!("{commands} commands of `exec`"));
        deployment.configure()?;
        step.done();
        deployment.check()?;
        Ok(deployment)
    }

    /// Looks whether every program still runs.
    ///
    /// # Errors
    /// [`LabError::Process`] with the last lines of one that does not.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.nodes.iter_mut().filter_map(|node| node.main.as_mut()).try_for_each(Daemon::check)
    }

    /// Where commands can be run.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.nodes.iter().map(|node| Place {
            name: node.spec.name.clone(),
            network: node.room.network.clone(),
            process: Some(node.folder.join("process")),
            environment: node.room.environment(),
        })
    }

    fn wire(&self, link: &LinkSpec) -> Result<(), LabError> {
        let [a, b] = link.ends.each_ref().map(|end| {
            let own = self.nodes.iter().map(|node| (&node.spec.name, &node.room.network));
            let mut all = own.chain(self.cluster.iter().map(|node| (&node.spec.name, &node.network)));
            all.find(|(name, _)| **name == end.node).map(|(_, network)| (network, &*end.interface))
        });
        // The file was checked for it.
        let (Some((a, a_interface)), Some((b, b_interface))) = (a, b) else { return Ok(()) };
        connect(a, a_interface, b, b_interface)?;
        a.set_mtu(a_interface, link.mtu)?;
        b.set_mtu(b_interface, link.mtu)?;
        Ok(())
    }

    /// Nodes wait for each other in what they run, so they do it side by side.
    fn configure(&mut self) -> Result<(), LabError> {
        std::thread::scope(|scope| {
            let mut threads: Vec<_> =
                self.nodes.iter_mut().map(|node| scope.spawn(move || node.configure())).collect();
            let log = self.folder.path();
            threads.extend(self.cluster.iter().map(|node| scope.spawn(move || node.configure(log))));
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

impl Node {
    fn start(&mut self) -> Result<(), LabError> {
        let process = self.folder.join("process");
        fs::write(&process, self.room.holder.id().to_string()).map_err(LabError::file(process))?;
        let words = match Main::of(&self.spec) {
            Main::Command(words) => words,
            Main::Frr => vec!["frr-start".to_owned()],
            Main::Nothing => return Ok(()),
        };
        let name = format!("{} of {}", words[0], self.spec.name);
        self.main = Some(self.room.start(name, &words, self.folder.join("main.log"))?);
        Ok(())
    }

    fn configure(&mut self) -> Result<(), LabError> {
        for words in &self.spec.exec {
            let name = format!("`{}` in {}", words.join(" "), self.spec.name);
            let command = self.room.start(name, words, self.folder.join("exec.log"))?;
            // What it waits for may never come.
            finish(command, || self.main.iter_mut().try_for_each(Daemon::check))?;
        }
        Ok(())
    }
}

impl ClusterNode {
    fn configure(&self, logs: &Path) -> Result<(), LabError> {
        for words in &self.spec.exec {
            let name = format!("`{}` in {}", words.join(" "), self.spec.name);
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            let log = logs.join(format!("{}.log", self.spec.name));
            finish(Daemon::start(name, &self.network, &mut command, log)?, || Ok(()))?;
        }
        Ok(())
    }
}

/// Waits until a command has ended well; `check` says whether that is still to be hoped for.
fn finish(mut command: Daemon, mut check: impl FnMut() -> Result<(), LabError>) -> Result<(), LabError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match command.wait(Duration::from_millis(500))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(command.failed(format!("failed ({status})"))),
            None => check()?,
        }
        if Instant::now() >= deadline {
            return Err(command.failed(format!("did not end in {} s", PATIENCE.as_secs())));
        }
    }
}
