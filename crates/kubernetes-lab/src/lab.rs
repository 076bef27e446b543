//! A running cluster: brought up, and gone when dropped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use muslin_lab::containerlab::Deployment;
use muslin_lab::fabric::Fabric;
use muslin_lab::standing::Place;
use muslin_lab::{Dual, LabError, LabOptions, Progress, ProxyMode, RouterKind, Topology};
use serde::Serialize;
use tempfile::TempDir;

use crate::cgroup::Cgroups;
use crate::control_plane::{self, ControlPlane};
use crate::image::{self, OTHER_PRODUCT, PRODUCT};
use crate::kubectl::Kubectl;
use crate::node::init::COMMANDS;
use crate::node::{Node, NodeBasis};
use crate::pki::Pki;
use crate::programs::{self, Programs};
use crate::shape::ClusterShape;

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct KubernetesOptions {
    /// Its nodes and ranges.
    pub cluster: ClusterShape,
    /// How nodes and router are wired: [`Topology::Tor`] or [`Topology::Mesh`].
    pub wiring: Topology,
    /// What tells the external router where pods are; without one, it only joins the nodes' own addresses.
    pub router: Option<RouterKind>,
    /// What kube-proxy programs.
    pub proxy_mode: ProxyMode,
    /// Folder of the `muslin` program; `None` is that of the running program.
    pub programs: Option<PathBuf>,
    /// Archive of the product's image, for the chart to find on the nodes; `None` makes one of the programs.
    pub image: Option<PathBuf>,
    /// Folder under which the lab makes one for its own files, the nodes' disks among them; best in memory.
    pub folder: PathBuf,
}

/// How long the parts of a start took, in seconds.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// Until the API server was ready.
    pub api_server_seconds: f64,
    /// Until all nodes were known to it.
    pub nodes_known_seconds: f64,
    /// Until all nodes were ready, if the product is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes_ready_seconds: Option<f64>,
    /// Until the cluster's DNS was available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_available_seconds: Option<f64>,
}

/// A control plane, nodes, a router and an outside host. Dropping it ends everything.
#[derive(Debug)]
pub struct KubernetesLab {
    // Fields are dropped in this order: first what lives on nodes, last what they speak over.
    nodes: Vec<Node>,
    /// Routers and links that a topology file adds.
    pub(crate) attached: Option<Deployment>,
    pub(crate) control_plane: ControlPlane,
    fabric: Fabric,
    pub(crate) basis: NodeBasis,
    /// Images that every node has.
    archives: Vec<PathBuf>,
    pub(crate) progress: Progress,
    pub(crate) begun: Instant,
    pub(crate) times: Times,
    pub(crate) folder: TempDir,
}

impl KubernetesLab {
    /// Brings the cluster up until all nodes are known to the API server; without a pod network they are not ready.
    ///
    /// # Errors
    /// [`LabError::Missing`] if this machine lacks something, else what went wrong; nothing is left running then.
    pub fn start(options: &KubernetesOptions, progress: Progress) -> Result<Self, LabError> {
        programs::check()?;
        let muslin = muslin(options)?;
        let programs = Programs::prepare(progress)?;
        Self::start_with(options, progress, &muslin, programs, &Cgroups::create()?)
    }

    pub(crate) fn start_with(
        options: &KubernetesOptions,
        progress: Progress,
        muslin: &Path,
        programs: Programs,
        cgroups: &Cgroups,
    ) -> Result<Self, LabError> {
        let begun = Instant::now();
        let guard = Guard(cgroups);
        // Open to others, since FRR's daemons run as a user of their own.
        let permissions = fs::Permissions::from_mode(0o755);
        let folder =
            tempfile::Builder::new().prefix("lab").permissions(permissions).tempdir_in(&options.folder);
        let folder = folder.map_err(LabError::file(&options.folder))?;
        let place = |name: &str| folder.path().join(name);

        let step = progress.step("namespaces, links and router");
        let cluster = &options.cluster;
        let mut fabric = Fabric::build(&LabOptions {
            nodes: u8::try_from(cluster.nodes.len()).unwrap_or(u8::MAX),
            router: options.router.unwrap_or_default(),
            topology: options.wiring,
            families: cluster.families,
            ..LabOptions::default()
        })?;
        if options.router.is_some() {
            fabric.start_router(&place("tor"), muslin)?;
        }
        step.done();

        let step = progress.step("API server, nodes and their images");
        let pki = Pki::create(&place("pki"))?;
        let mut control_plane = ControlPlane::start(&fabric, cluster, &place("cp"), &programs, &pki)?;
        let basis = NodeBasis {
            cluster: cluster.clone(),
            folder: folder.path().to_path_buf(),
            programs,
            muslin: muslin.to_path_buf(),
            pki,
            cgroups: cgroups.clone(),
            proxy_mode: options.proxy_mode,
        };
        let places = cluster.nodes.iter().zip(fabric.nodes());
        let nodes: Result<Vec<Node>, LabError> =
            places.map(|(name, place)| Node::start(&basis, name, place)).collect();
        let mut nodes = nodes?;
        // The images go to the nodes while the API server begins.
        let (ready, imported) = std::thread::scope(|scope| {
            let imported = scope.spawn(|| {
                let mut archives = image::write_all(&basis.programs, &place("images"))?;
                archives.push(match &options.image {
                    Some(image) => image.clone(),
                    None => image::write_product(PRODUCT, basis.commands(), &place("images"))?,
                });
                import(&mut nodes, &archives)?;
                Ok::<_, LabError>(archives)
            });
            let ready = control_plane.await_server();
            (ready, imported.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        ready?;
        let api_server_seconds = begun.elapsed().as_secs_f64();
        let archives = imported?;
        step.done();

        let step = progress.step("nodes known to the API server");
        let names: Vec<String> = nodes.iter().map(|node| format!("node/{}", node.name())).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let wait = [&["wait", "--for=create", "--timeout=60s"], &*names].concat();
        if let Err(error) = control_plane.kubectl.run(&wait) {
            nodes.iter_mut().try_for_each(Node::check)?;
            return Err(nodes.first().map_or(error, |node| node.failed("does not register")));
        }
        step.done();

        std::mem::forget(guard);
        let nodes_known_seconds = begun.elapsed().as_secs_f64();
        let times = Times { api_server_seconds, nodes_known_seconds, ..Times::default() };
        Ok(Self {
            nodes,
            attached: None,
            control_plane,
            fabric,
            basis,
            archives,
            progress,
            begun,
            times,
            folder,
        })
    }

    /// The API.
    pub fn kubectl(&self) -> &Kubectl {
        &self.control_plane.kubectl
    }

    /// The nodes, in the order of their names.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node to do something to.
    pub fn node_mut(&mut self, index: usize) -> Option<&mut Node> {
        self.nodes.get_mut(index)
    }

    /// Gives all nodes the image of an Ingress controller, which is built when it is not there yet.
    ///
    /// # Errors
    /// If it cannot be built, or a node does not take it.
    pub fn add_ingress_controller(&mut self) -> Result<(), LabError> {
        let program = self.basis.programs.ingress_controller(self.progress)?;
        self.add_image(image::write_ingress_controller(program, &self.folder.path().join("images"))?)
    }

    /// Gives all nodes an image with the tag [`OTHER_BUILD`](crate::OTHER_BUILD), of the programs that the lab itself runs: of use to a
    /// lab whose product is an image of another build.
    ///
    /// # Errors
    /// If it cannot be written, or a node does not take it.
    pub fn add_other_build(&mut self) -> Result<(), LabError> {
        let folder = self.folder.path().join("images/other");
        self.add_image(image::write_product(OTHER_PRODUCT, self.basis.commands(), &folder)?)
    }

    fn add_image(&mut self, archive: PathBuf) -> Result<(), LabError> {
        import(&mut self.nodes, std::slice::from_ref(&archive))?;
        self.archives.push(archive);
        Ok(())
    }

    /// Kills the API server. What needs it has to do without.
    pub fn stop_api_server(&mut self) {
        self.control_plane.server = None;
    }

    /// Starts the API server again and waits until it is ready.
    ///
    /// # Errors
    /// [`LabError::Process`] with its last lines if it does not come up.
    pub fn start_api_server(&mut self) -> Result<(), LabError> {
        self.control_plane.start_server()?;
        self.control_plane.await_server()
    }

    /// Kills etcd, with whatever it had not written yet. The API server stays and cannot do much.
    pub fn stop_store(&mut self) {
        self.control_plane.stop_store();
    }

    /// Starts etcd again with what it had, and waits until the API server is ready.
    ///
    /// # Errors
    /// [`LabError::Process`] with the last lines of whatever does not come up.
    pub fn start_store(&mut self) -> Result<(), LabError> {
        self.control_plane.start_store()?;
        self.control_plane.await_server()
    }

    /// Puts a machine with an empty disk in the place of a node: it has the same name, links and addresses.
    ///
    /// # Errors
    /// If the old one's files cannot be removed, or the new one does not start.
    pub fn replace_node(&mut self, index: usize) -> Result<(), LabError> {
        let Some(node) = self.nodes.get_mut(index) else {
            return Err(LabError::Missing(format!("there is no node number {index}")));
        };
        node.kill()?;
        node.erase()?;
        node.power_on()?;
        node.import(&self.archives)
    }

    /// Puts one more machine beside the others: with a link as they have, and all that a new node has.
    ///
    /// Nobody but its kubelet tells the API of it, and [`bgp_manifests`](Fabric::bgp_manifests) have it as a peer.
    ///
    /// # Errors
    /// If it does not start; then it is not there.
    pub fn add_node(&mut self, name: &str) -> Result<(), LabError> {
        let place = self.fabric.add_node()?;
        let begun = Node::start(&self.basis, name, place).and_then(|mut node| {
            node.import(&self.archives)?;
            Ok(node)
        });
        match begun {
            Ok(node) => self.nodes.push(node),
            Err(error) => {
                self.basis.cgroups.remove_node(name);
                self.fabric.remove_node()?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Gives a node other addresses beside those that it has on its link, and tells its kubelet that they are the node's. The API learns
    /// of them from there; the former ones are for the caller to take away. Of a router that is told of its neighbours one by one,
    /// see [`Fabric::renumber_node`].
    ///
    /// # Errors
    /// If the kernel refuses them, or the node is off.
    pub fn renumber_node(&mut self, index: usize, addresses: Dual) -> Result<(), LabError> {
        let Some(node) = self.nodes.get_mut(index) else {
            return Err(LabError::Missing(format!("there is no node number {index}")));
        };
        let place = self.fabric.renumber_node(index, addresses)?;
        node.renumber(&place, &self.basis.cluster)
    }

    /// Takes the node that was added last away for good: at once without power, then its link and its disk.
    ///
    /// # Errors
    /// If the kernel does not let go of its link, or its files cannot be removed.
    pub fn remove_node(&mut self) -> Result<(), LabError> {
        let Some(mut node) = self.nodes.pop() else { return Ok(()) };
        node.kill()?;
        self.fabric.remove_node()?;
        fs::remove_dir_all(node.folder()).map_err(LabError::file(node.folder()))
    }

    /// The network between them.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// Where commands can be run, for a lab that is left standing.
    pub fn places(&self) -> Vec<Place> {
        let path = [("PATH", self.basis.programs.folder().to_path_buf())];
        let environment = path.into_iter().chain(self.kubectl().environment());
        let mut places = vec![Place {
            name: control_plane::NAME.to_owned(),
            network: self.control_plane.namespace.clone(),
            process: None,
            environment: environment.map(|(name, value)| (name.to_owned(), value.into())).collect(),
        }];
        places.extend(self.nodes.iter().map(|node| Place {
            name: node.name().to_owned(),
            network: node.namespace().clone(),
            process: Some(node.process_file().to_path_buf()),
            environment: vec![("PATH".to_owned(), COMMANDS.into())],
        }));
        if let Some(attached) = &self.attached {
            places.extend(attached.places());
            return places;
        }
        let socket = self.folder.path().join("tor/run/muslin.sock");
        let socket = socket.exists().then(|| ("MUSLIN_SOCKET".to_owned(), socket.into()));
        for (namespace, environment) in
            [(self.fabric.router(), socket), (&self.fabric.outside().namespace, None)]
        {
            places.push(Place {
                name: namespace.name().to_owned(),
                network: namespace.clone(),
                process: None,
                environment: environment.into_iter().collect(),
            });
        }
        places
    }

    /// How long the start took.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Looks whether everything runs.
    ///
    /// # Errors
    /// [`LabError::Process`] about the first that does not.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.fabric.check()?;
        self.attached.iter_mut().try_for_each(Deployment::check)?;
        self.control_plane.check()?;
        self.nodes.iter_mut().try_for_each(Node::check)
    }
}

impl Drop for KubernetesLab {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.end();
        }
        self.basis.cgroups.remove();
    }
}

/// Removes the control groups of a start that failed.
struct Guard<'a>(&'a Cgroups);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// Gives archives to all nodes at once.
fn import(nodes: &mut [Node], archives: &[PathBuf]) -> Result<(), LabError> {
    std::thread::scope(|scope| {
        let threads = nodes.iter_mut().map(|node| scope.spawn(|| node.import(archives)));
        let threads: Vec<_> = threads.collect();
        let done = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.collect()
    })
}

/// The program that nodes and the router run.
pub(crate) fn muslin(options: &KubernetesOptions) -> Result<PathBuf, LabError> {
    let own = || std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    let muslin = options.programs.clone().or_else(own).unwrap_or_default().join("muslin");
    if muslin.is_file() {
        return Ok(muslin);
    }
    Err(LabError::Missing(format!("there is no {}: run `cargo build -p muslin`", muslin.display())))
}
