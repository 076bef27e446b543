//! A running lab: built, converged, proven, and gone when dropped.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::LabError;
use crate::agent::{Agent, AgentFolders};
use crate::blueprint::{Blueprint, Expected, Place, Web};
use crate::manifests::{self, PodFacts, Sessions};
use crate::options::{LabOptions, RouterKind};
use crate::pod::{Pod, PodSetup};
use crate::probe::Host;
use crate::progress::Progress;
use crate::prove;
use crate::report::{Convergence, NodeReport, PodReport, Proof, Report};
use crate::router::{self, Router, RouterSetup, Seat};
use crate::signals;
use crate::standing;
use crate::topology::Network;
use crate::watch::{Goal, Watch, await_all, count};

/// How long routes may take to come or to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// A whole cluster network of namespaces and processes. Dropping it ends the processes; the namespaces, which have no
/// names, go with their last user.
#[derive(Debug)]
pub struct Lab {
    pub(crate) options: LabOptions,
    pub(crate) blueprint: Blueprint,
    // Fields are dropped in this order: first who speaks, then what they speak over.
    pub(crate) agents: Vec<Agent>,
    pub(crate) routers: Vec<Router>,
    pub(crate) reflectors: Vec<Router>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) network: Network,
    pub(crate) progress: Progress,
    /// Drives responders and witnesses.
    pub(crate) runtime: Runtime,
    convergence: Convergence,
    state: PathBuf,
    programs: Programs,
    folder: TempDir,
}

/// The programs that a lab runs.
#[derive(Clone, Debug)]
struct Programs {
    muslin: PathBuf,
    plugins: PathBuf,
}

impl Lab {
    /// Builds the lab and returns when all routes, those of the Service included, are in the kernels.
    ///
    /// # Errors
    /// [`LabError::Missing`] if this machine lacks something, else what went wrong; nothing is left running then.
    pub fn start(options: LabOptions, progress: Progress) -> Result<Self, LabError> {
        router::check(options.router)?;
        let programs = Programs::find(&options)?;
        let blueprint = Blueprint::new(&options);
        // Open to others, since FRR's daemons run as a user of their own.
        let permissions = fs::Permissions::from_mode(0o755);
        let folder =
            tempfile::Builder::new().prefix("lab").permissions(permissions).tempdir_in(&options.folder);
        let folder = folder.map_err(LabError::file(&options.folder))?;
        let runtime = runtime().map_err(LabError::system("start a runtime"))?;

        let step = progress.step("namespaces and links");
        let network = Network::build(&blueprint)?;
        step.done();
        let state = folder.path().join("state");
        fs::create_dir(&state).map_err(LabError::file(&state))?;
        manifests::write(&state, "nodes.yaml", &manifests::nodes(&blueprint))?;
        manifests::write(&state, "bgp.yaml", &manifests::bgp(&blueprint, Sessions::Up))?;
        manifests::write(&state, "service.yaml", &manifests::service())?;

        let mut lab = Self {
            options,
            blueprint,
            agents: Vec::new(),
            routers: Vec::new(),
            reflectors: Vec::new(),
            pods: Vec::new(),
            network,
            progress,
            runtime,
            convergence: Convergence::default(),
            state,
            programs,
            folder,
        };
        lab.start_routers()?;
        lab.start_reflectors()?;
        lab.start_agents()?;
        lab.add_pods()?;
        lab.publish_service()?;
        Ok(lab)
    }

    /// Sends packets every way that must work, then takes BGP away and sends those that must not.
    ///
    /// With [`AfterProof::Restore`] the sessions are back when this returns.
    ///
    /// # Errors
    /// Only if the proofs could not be made; what fails stands in the report.
    pub fn prove(&mut self, after: AfterProof) -> Result<Report, LabError> {
        let mut proofs = prove::connected(self)?;
        let nodes = self.blueprint.nodes.iter().zip(&self.agents).map(|(node, agent)| NodeReport {
            name: node.name.clone(),
            agent_resident_bytes: agent.daemon.resident(),
        });
        let nodes = nodes.collect();
        if !self.reflectors.is_empty() {
            proofs.push(self.prove_loss_of_a_reflector()?);
        }
        self.stop_sessions()?;
        proofs.extend(prove::without_bgp(self)?);
        if after == AfterProof::Restore {
            self.restore_sessions()?;
        }
        Ok(Report {
            version: 1,
            holds: proofs.iter().all(Proof::holds),
            topology: self.options.topology,
            router: self.options.router,
            tampered: self.options.tamper,
            convergence: self.convergence.clone(),
            nodes,
            pods: self.pods.iter().map(|pod| self.pod_report(pod)).collect(),
            proofs,
        })
    }

    /// The pods, and last the outside host.
    pub fn hosts(&self) -> Vec<Host> {
        self.members().into_iter().map(|(host, _)| host).collect()
    }

    /// Namespaces by name: nodes, routers, reflectors, pods, `outside`, and `switch` where nodes share a link.
    pub fn namespaces(&self) -> impl Iterator<Item = &muslin_netns::Namespace> {
        self.network.all().chain(self.pods.iter().map(|pod| &pod.host.namespace))
    }

    /// The folder of manifests that all agents follow.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The socket of a node's or router's local API, where it has one.
    pub fn socket(&self, name: &str) -> Option<PathBuf> {
        if let Some(agent) = self.agent(name) {
            return Some(agent.folders.socket());
        }
        let routers = self.blueprint.routers.iter().map(|router| &router.name);
        let mut speakers = routers.chain(self.blueprint.reflectors.iter().map(|reflector| &reflector.name));
        let router = speakers.any(|speaker| speaker == name);
        let speaker = self.options.router == RouterKind::Muslin;
        (router && speaker).then(|| self.folder.path().join(name).join("run").join("muslin.sock"))
    }

    fn agent(&self, name: &str) -> Option<&Agent> {
        let node = self.blueprint.nodes.iter().position(|node| node.name == name)?;
        self.agents.get(node)
    }

    /// What commands get that are run there.
    fn environment(&self, name: &str) -> Vec<(String, OsString)> {
        match (self.agent(name), self.socket(name)) {
            (Some(agent), _) => {
                let shared = [("MUSLIN_STATE", &self.state), ("MUSLIN_CNI_BIN_DIR", &self.programs.plugins)];
                let shared = shared.map(|(name, path)| (name.to_owned(), path.clone().into()));
                agent.folders.environment().into_iter().chain(shared).collect()
            }
            (None, Some(socket)) => vec![("MUSLIN_SOCKET".to_owned(), socket.into())],
            (None, None) => Vec::new(),
        }
    }

    /// Where commands can be run.
    pub(crate) fn places(&self) -> impl Iterator<Item = standing::Place> {
        self.namespaces().map(|namespace| standing::Place {
            name: namespace.name().to_owned(),
            network: namespace.clone(),
            process: None,
            environment: self.environment(namespace.name()),
        })
    }

    /// Calls `listening` once SIGTERM, SIGINT and SIGHUP are waited for, and returns when one has come.
    pub(crate) fn until_told_to_end(
        &self,
        listening: impl FnOnce() -> Result<(), muslin_netns::NetnsError>,
    ) -> Result<(), LabError> {
        signals::until_told_to_end(&self.runtime, listening)
    }

    /// The pods and the outside host, with where they are.
    pub(crate) fn members(&self) -> Vec<(Host, Place)> {
        let pods = self.pods.iter().map(|pod| (pod.host.clone(), Place::Node(pod.node)));
        pods.chain([(self.network.outside.clone(), Place::Outside)]).collect()
    }

    fn start_routers(&mut self) -> Result<(), LabError> {
        for index in 0..self.blueprint.routers.len() {
            self.routers.push(self.start_router(Seat::Router(index))?);
        }
        Ok(())
    }

    fn start_reflectors(&mut self) -> Result<(), LabError> {
        for index in 0..self.blueprint.reflectors.len() {
            self.reflectors.push(self.start_router(Seat::Reflector(index))?);
        }
        Ok(())
    }

    fn start_router(&self, seat: Seat) -> Result<Router, LabError> {
        let (kind, name, namespace) = match seat {
            Seat::Router(index) => {
                ("router", &self.blueprint.routers[index].name, &self.network.routers[index])
            }
            Seat::Reflector(index) => {
                ("reflector", &self.blueprint.reflectors[index].name, &self.network.reflectors[index])
            }
        };
        let step = self.progress.step(format!("{kind} {name} ({})", self.options.router.program()));
        let setup = RouterSetup {
            lab: &self.blueprint,
            seat,
            namespace,
            folder: &self.folder.path().join(name),
            muslin: &self.programs.muslin,
        };
        let router = Router::start(self.options.router, &setup)?;
        step.done();
        Ok(router)
    }

    /// Kills the first reflector, and starts it again when the packets have been sent.
    fn prove_loss_of_a_reflector(&mut self) -> Result<Proof, LabError> {
        let step = self.progress.step("reflector rr1 killed");
        drop(self.reflectors.remove(0));
        step.done();
        let proof = prove::without_a_reflector(self)?;
        self.reflectors.insert(0, self.start_router(Seat::Reflector(0))?);
        Ok(proof)
    }

    fn start_agents(&mut self) -> Result<(), LabError> {
        let on_routers = (0..self.routers.len()).map(|router| self.blueprint.expected_on_router(router));
        let watches = self.watches(on_routers.collect(), Goal::Present);
        self.convergence.waited_for =
            format!("the last of {} learned routes in the kernels of nodes and routers", count(&watches));
        let mut step =
            self.progress.step(format!("agents started; {} routes in the kernels", count(&watches)));
        let begun = Instant::now();
        for (part, namespace) in self.blueprint.nodes.iter().zip(&self.network.nodes) {
            let folders = AgentFolders::create(&self.folder.path().join(&part.name))?;
            self.agents.push(Agent::start(
                &self.programs.muslin,
                &part.name,
                namespace,
                &self.state,
                folders,
            )?);
        }
        let converged = await_all(watches, &self.network.link_locals, PATIENCE, &mut step, || {
            check(&mut self.agents, self.routers.iter_mut().chain(&mut self.reflectors))
        })?;
        self.convergence.seconds = converged.duration_since(begun).as_secs_f64();
        step.done();
        let step = self.progress.step("agents say that they are ready");
        for agent in &mut self.agents {
            agent.await_converged(PATIENCE)?;
        }
        self.convergence.agents_ready_seconds = begun.elapsed().as_secs_f64();
        step.done();
        Ok(())
    }

    fn add_pods(&mut self) -> Result<(), LabError> {
        let step = self.progress.step("pods added by muslin-cni");
        let nodes = self.blueprint.nodes.iter().zip(&self.network.nodes).zip(&self.agents).enumerate();
        let plugins = &*self.programs.plugins;
        // One thread per node: a kubelet adds its pods while others add theirs.
        let added = std::thread::scope(|scope| {
            let threads = nodes.map(|(node_index, ((part, node), agent))| {
                scope.spawn(move || {
                    let add = |name: &String| {
                        let configurations = &*agent.folders.cni;
                        Pod::add(&PodSetup { name, node, node_index, configurations, plugins })
                    };
                    part.pods.iter().map(add).collect::<Result<Vec<_>, _>>()
                })
            });
            let threads: Vec<_> = threads.collect();
            let joined = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            joined.collect::<Result<Vec<_>, _>>()
        })?;
        self.pods = added.into_iter().flatten().collect();
        step.done();
        Ok(())
    }

    /// Writes what Kubernetes would know now, and waits for the routes that depend on endpoints.
    fn publish_service(&mut self) -> Result<(), LabError> {
        let facts: Vec<PodFacts> = self.pods.iter().map(|pod| self.facts(pod)).collect();
        let ready: Vec<PodFacts> = self.blueprint.nodes[..Web::NODES]
            .iter()
            .filter_map(|node| facts.iter().find(|pod| pod.node == node.name).cloned())
            .collect();
        let on_routers = (0..self.routers.len()).map(|router| self.blueprint.expected_for_service(router));
        let goals = on_routers.map(Goal::Present);
        let watches: Vec<Watch> = self.network.routers.iter().cloned().zip(goals).map(Watch::from).collect();
        let mut step = self.progress.step("Service published; its routes on the routers");
        let begun = Instant::now();
        manifests::write(&self.state, "pods.yaml", &manifests::pods(&facts))?;
        manifests::write(&self.state, "endpoints.yaml", &manifests::endpoints(&ready))?;
        let there = await_all(watches, &self.network.link_locals, PATIENCE, &mut step, || {
            check(&mut self.agents, self.routers.iter_mut().chain(&mut self.reflectors))
        })?;
        self.convergence.service_seconds = there.duration_since(begun).as_secs_f64();
        step.done();
        Ok(())
    }

    fn stop_sessions(&mut self) -> Result<(), LabError> {
        let watches = self.watches(self.all_on_routers(), Goal::Absent);
        let mut step = self.progress.step("BGP stopped in the manifests; learned routes gone");
        let begun = Instant::now();
        manifests::write(&self.state, "bgp.yaml", &manifests::bgp(&self.blueprint, Sessions::Down))?;
        let gone = await_all(watches, &self.network.link_locals, PATIENCE, &mut step, || {
            check(&mut self.agents, self.routers.iter_mut().chain(&mut self.reflectors))
        })?;
        self.convergence.withdrawal_seconds = Some(gone.duration_since(begun).as_secs_f64());
        step.done();
        Ok(())
    }

    fn restore_sessions(&mut self) -> Result<(), LabError> {
        let watches = self.watches(self.all_on_routers(), Goal::Present);
        let mut step = self.progress.step("BGP back; all routes in the kernels again");
        manifests::write(&self.state, "bgp.yaml", &manifests::bgp(&self.blueprint, Sessions::Up))?;
        await_all(watches, &self.network.link_locals, PATIENCE, &mut step, || {
            check(&mut self.agents, self.routers.iter_mut().chain(&mut self.reflectors))
        })?;
        step.done();
        Ok(())
    }

    /// What each router must have in the end.
    pub(crate) fn all_on_routers(&self) -> Vec<Vec<Expected>> {
        let lab = &self.blueprint;
        let routes = |router| [lab.expected_on_router(router), lab.expected_for_service(router)].concat();
        (0..lab.routers.len()).map(routes).collect()
    }

    /// One watch per node and router.
    fn watches(&self, on_routers: Vec<Vec<Expected>>, goal: fn(Vec<Expected>) -> Goal) -> Vec<Watch> {
        let on_nodes = (0..self.blueprint.nodes.len()).map(|node| self.blueprint.expected_on_node(node));
        let nodes = self.network.nodes.iter().cloned().zip(on_nodes.map(goal));
        let routers = self.network.routers.iter().cloned().zip(on_routers.into_iter().map(goal));
        nodes.chain(routers).map(Watch::from).collect()
    }

    fn facts(&self, pod: &Pod) -> PodFacts {
        PodFacts {
            name: pod.host.name.clone(),
            node: self.blueprint.nodes[pod.node].name.clone(),
            addresses: pod.host.addresses,
        }
    }

    fn pod_report(&self, pod: &Pod) -> PodReport {
        PodReport {
            name: pod.host.name.clone(),
            node: self.blueprint.nodes[pod.node].name.clone(),
            addresses: vec![pod.host.addresses.v4.into(), pod.host.addresses.v6.into()],
            added_seconds: pod.added_in.as_secs_f64(),
        }
    }
}

/// What [`Lab::prove`] leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterProof {
    /// A lab in which BGP is stopped: it is about to be dropped.
    Leave,
    /// A lab that works again.
    Restore,
}

impl From<(muslin_netns::Namespace, Goal)> for Watch {
    fn from((namespace, goal): (muslin_netns::Namespace, Goal)) -> Self {
        Self { namespace, goal }
    }
}

impl Programs {
    fn find(options: &LabOptions) -> Result<Self, LabError> {
        let own = || std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
        let folder = options.programs.clone().or_else(own).unwrap_or_default();
        for program in ["muslin", "muslin-cni"] {
            if !folder.join(program).is_file() {
                let folder = folder.display();
                return Err(LabError::Missing(format!(
                    "there is no {program} in {folder}: both are built by `cargo build --release -p muslin`"
                )));
            }
        }
        Ok(Self { muslin: folder.join("muslin"), plugins: folder })
    }
}

/// An error if a process of the lab has died.
fn check<'a>(agents: &mut [Agent], routers: impl Iterator<Item = &'a mut Router>) -> Result<(), LabError> {
    let routers = routers.flat_map(|router| &mut router.daemons);
    agents.iter_mut().map(|agent| &mut agent.daemon).chain(routers).try_for_each(crate::daemon::Daemon::check)
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}
