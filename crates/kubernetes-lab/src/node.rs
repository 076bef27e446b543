//! A node from the outside: what it is given, how images get there, and how it is killed and started again.

pub(crate) mod init;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use muslin_lab::daemon::Daemon;
use muslin_lab::fabric::{FabricNode, Machine};
use muslin_lab::{Dual, LabError, ProxyMode};
use muslin_netns::Namespace;
use nix::sys::signal::Signal;

use crate::cgroup::Cgroups;
use crate::configuration::{self, STATIC_PODS};
use crate::control_plane;
use crate::node::init::{CONFIGURATION, NodeSetup, PROGRAMS, Service};
use crate::pki::Pki;
use crate::poll;
use crate::programs::{Programs, REFERENCE_PLUGINS, find};
use crate::shape::ClusterShape;

/// How long a node may take until its container runtime answers.
const PATIENCE: Duration = Duration::from_mins(1);
/// Where the container runtime listens, in the node.
const CONTAINERD: &str = "/run/containerd/containerd.sock";
/// Reference plugins that a distribution's package puts beside kubelets, but for `loopback`: k3s and RKE2 bring none.
const PLUGINS: [&str; 3] = ["bandwidth", "host-local", "portmap"];

/// A machine of the cluster: namespaces with a container runtime, a kubelet and a kube-proxy.
#[derive(Debug)]
pub struct Node {
    name: String,
    address: Dual,
    namespace: Namespace,
    /// What survives a reboot.
    folder: PathBuf,
    setup: PathBuf,
    process: PathBuf,
    muslin: PathBuf,
    cgroups: Cgroups,
    machine: Machine,
    /// What runs on it, while it has power.
    running: Option<Daemon>,
}

/// What all nodes have in common.
#[derive(Debug)]
pub(crate) struct NodeBasis {
    pub(crate) cluster: ClusterShape,
    /// In which each has one of its own.
    pub(crate) folder: PathBuf,
    pub(crate) programs: Programs,
    pub(crate) muslin: PathBuf,
    pub(crate) pki: Pki,
    pub(crate) cgroups: Cgroups,
    pub(crate) proxy_mode: ProxyMode,
}

impl NodeBasis {
    /// The folder of the product's programs.
    pub(crate) fn commands(&self) -> &Path {
        self.muslin.parent().unwrap_or(Path::new("/"))
    }
}

impl Node {
    /// Writes the node's configuration and starts it.
    pub(crate) fn start(basis: &NodeBasis, name: &str, place: FabricNode<'_>) -> Result<Self, LabError> {
        let NodeBasis { cluster, programs, pki, .. } = basis;
        let server = &control_plane::url(cluster);
        let name = name.to_owned();
        let folder = basis.folder.join(&name);
        // In the node, `lib` is /var/lib and `opt` is /opt.
        let own = configuration_of(&folder);
        let plugins = folder.join("opt/cni/bin");
        let pods = folder.join("lib").join(STATIC_PODS.trim_start_matches("/var/lib/"));
        for folder in [&own, &plugins, &pods] {
            fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        }
        copy_plugins(&plugins)?;
        let kubelet = pki.kubeconfig(&name, server, &format!("system:node:{name}"), Some("system:nodes"))?;
        let proxy = pki.kubeconfig(&format!("{name}-proxy"), server, "system:kube-proxy", None)?;
        for (file, from) in
            [("kubelet.kubeconfig", kubelet), ("kube-proxy.kubeconfig", proxy), ("ca.crt", pki.authority())]
        {
            fs::copy(&from, own.join(file)).map_err(LabError::file(from))?;
        }
        for (file, text) in [
            ("containerd.toml", configuration::containerd()),
            ("kubelet.yaml", configuration::kubelet(cluster)),
            ("kube-proxy.yaml", configuration::kube_proxy(&name, basis.proxy_mode, cluster)),
            // No name server of the machine's is reachable from here.
            ("resolv.conf", String::new()),
        ] {
            let path = own.join(file);
            fs::write(&path, text).map_err(LabError::file(path))?;
        }
        let mut node = Self {
            setup: folder.join("node.json"),
            process: folder.join("process"),
            name,
            address: place.address,
            namespace: place.namespace.clone(),
            folder,
            muslin: basis.muslin.clone(),
            cgroups: basis.cgroups.clone(),
            machine: place.machine,
            running: None,
        };
        node.write_setup(programs, cluster)?;
        node.begin()?;
        Ok(node)
    }

    /// `n1`, `n2`, ….
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The node's addresses, of the families that the cluster has.
    pub fn address(&self) -> Dual {
        self.address
    }

    /// The node's network.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What survives a reboot: `lib` is the node's `/var/lib`, `log` its `/var/log`, `opt` its `/opt`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with the id of the node's process 1, as the lab sees it.
    pub fn process_file(&self) -> &Path {
        &self.process
    }

    /// Power failure: at once the node is off the network, its kernel has forgotten everything, and all that ran on it
    /// has ended. Its disk stays.
    ///
    /// # Errors
    /// If the kernel does not let go of its links.
    pub fn kill(&mut self) -> Result<(), LabError> {
        self.machine.lose_power()?;
        self.end();
        Ok(())
    }

    /// Ends everything that runs on the node.
    pub(crate) fn end(&mut self) {
        self.running = None;
        self.cgroups.remove_node(&self.name);
        drop(fs::remove_file(&self.process));
    }

    /// Boots a node that was killed.
    ///
    /// # Errors
    /// If its links or groups cannot be made, or it does not start.
    pub fn power_on(&mut self) -> Result<(), LabError> {
        self.machine.boot()?;
        self.begin()
    }

    fn begin(&mut self) -> Result<(), LabError> {
        self.cgroups.node(&self.name)?;
        let mut command = Command::new(&self.muslin);
        command.arg("lab-node").arg(&self.setup);
        let log = self.folder.join("node.log");
        let mut running = Daemon::start(format!("node {}", self.name), &self.namespace, &mut command, log)?;
        running.await_path(&self.process, PATIENCE)?;
        self.running = Some(running);
        Ok(())
    }

    /// Leaves a node that was killed with what a new machine has: programs and configuration.
    pub(crate) fn erase(&self) -> Result<(), LabError> {
        let configuration = CONFIGURATION.trim_start_matches("/var/lib/");
        let lib = self.folder.join("lib");
        for entry in fs::read_dir(&lib).map_err(LabError::file(&lib))?.flatten() {
            if entry.file_name() != configuration {
                fs::remove_dir_all(entry.path()).map_err(LabError::file(entry.path()))?;
            }
        }
        let plugins = self.folder.join("opt/cni/bin");
        for folder in [&plugins, &self.folder.join("etc"), &self.folder.join("etc.work")] {
            fs::remove_dir_all(folder).map_err(LabError::file(folder))?;
        }
        for folder in [&plugins, &lib.join(STATIC_PODS.trim_start_matches("/var/lib/"))] {
            fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        }
        copy_plugins(&plugins)
    }

    /// Runs a command on the node, to its end.
    ///
    /// # Errors
    /// If it cannot be started; how it ended is for the caller to judge.
    pub fn run(&self, words: &[&str]) -> Result<Output, LabError> {
        let mut command = self.command()?;
        command.args(words);
        command.output().map_err(LabError::file("nsenter"))
    }

    /// What runs the words that are appended to it on the node.
    ///
    /// # Errors
    /// If the node is off.
    pub fn command(&self) -> Result<Command, LabError> {
        let id = fs::read_to_string(&self.process).map_err(LabError::file(&self.process))?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &id, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]);
        Ok(command)
    }

    /// Sends a signal to every process of the node whose program has this name.
    ///
    /// # Errors
    /// If the node is off or has none.
    pub fn signal(&self, program: &str, signal: Signal) -> Result<(), LabError> {
        let signal = format!("-{}", signal.as_str().trim_start_matches("SIG"));
        let output = self.run(&["pkill", &signal, "-x", program])?;
        if output.status.success() { Ok(()) } else { Err(self.failed(&format!("has no process {program}"))) }
    }

    /// Waits for the container runtime and gives it an image.
    pub(crate) fn import(&mut self, archives: &[PathBuf]) -> Result<(), LabError> {
        let root = self.root()?.join(CONTAINERD.trim_start_matches('/'));
        // The folder is made by the runtime itself.
        poll::until(PATIENCE, Duration::from_millis(20), || {
            self.check().map_or_else(|ended| Some(Err(ended)), |()| root.exists().then_some(Ok(())))
        })
        .unwrap_or_else(|| Err(self.failed(&format!("has no {CONTAINERD} after {PATIENCE:?}"))))?;
        for archive in archives {
            // Archives are read by us: the node does not see the folder that they are in.
            let file = fs::File::open(archive).map_err(LabError::file(archive))?;
            let mut command = self.command()?;
            command.args(["ctr", "--namespace", "k8s.io", "images", "import", "--no-unpack", "-"]);
            let output = command.stdin(file).output().map_err(LabError::file("nsenter"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(self.failed(&format!("does not import {}: {said}", archive.display())));
            }
        }
        Ok(())
    }

    /// The node's file system, as the lab sees it.
    pub fn root(&self) -> Result<PathBuf, LabError> {
        let id = fs::read_to_string(&self.process).map_err(LabError::file(&self.process))?;
        Ok(PathBuf::from(format!("/proc/{}/root", id.trim())))
    }

    pub(crate) fn check(&mut self) -> Result<(), LabError> {
        self.running.as_mut().map_or(Ok(()), Daemon::check)
    }

    /// An error about the node, with the last lines of its services' logs.
    pub fn failed(&self, problem: &str) -> LabError {
        let tail = |service: &str| {
            let text = fs::read_to_string(self.folder.join(format!("log/{service}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("{service}:\n{}\n", lines[lines.len().saturating_sub(6)..].join("\n"))
        };
        let log = ["containerd", "kubelet", "kube-proxy"].map(tail).concat();
        LabError::Process { process: format!("node {}", self.name), problem: problem.to_owned(), log }
    }

    /// Tells its kubelet another address, which the node has already; a kubelet reads that when it starts, so it does.
    pub(crate) fn renumber(
        &mut self,
        place: &FabricNode<'_>,
        cluster: &ClusterShape,
    ) -> Result<(), LabError> {
        self.address = place.address;
        self.machine = place.machine.clone();
        self.write_arguments("kubelet", &self.kubelet_arguments(cluster))?;
        self.signal("kubelet", Signal::SIGTERM)
    }

    fn write_setup(&self, programs: &Programs, cluster: &ClusterShape) -> Result<(), LabError> {
        let program = |name: &str| Path::new(PROGRAMS).join(name);
        let containerd = find("containerd").unwrap_or_default();
        let services = [
            ("containerd", containerd, vec!["--config".to_owned(), in_node("containerd.toml")], None),
            ("kubelet", program("kubelet"), self.kubelet_arguments(cluster), Some(PathBuf::from(CONTAINERD))),
            (
                "kube-proxy",
                program("kube-proxy"),
                vec![format!("--config={}", in_node("kube-proxy.yaml"))],
                None,
            ),
        ];
        let services = services.into_iter().map(|(name, program, arguments, after)| {
            let arguments = self.write_arguments(name, &arguments)?;
            Ok(Service { name: name.to_owned(), program, arguments, after })
        });
        let setup = NodeSetup {
            name: self.name.clone(),
            folder: self.folder.clone(),
            programs: programs.folder().to_path_buf(),
            commands: self.muslin.parent().unwrap_or(Path::new("/")).to_path_buf(),
            hierarchies: self.cgroups.node(&self.name)?,
            services: services.collect::<Result<_, LabError>>()?,
            process: self.process.clone(),
        };
        let text =
            serde_json::to_vec_pretty(&setup).map_err(|error| LabError::file(&self.setup)(error.into()))?;
        fs::write(&self.setup, text).map_err(LabError::file(&self.setup))
    }

    fn kubelet_arguments(&self, cluster: &ClusterShape) -> Vec<String> {
        let addresses = cluster.families.all().iter().map(|family| self.address.get(*family).to_string());
        vec![
            format!("--config={}", in_node("kubelet.yaml")),
            format!("--kubeconfig={}", in_node("kubelet.kubeconfig")),
            format!("--hostname-override={}", self.name),
            format!("--node-ip={}", addresses.collect::<Vec<_>>().join(",")),
        ]
    }

    /// Writes what a service is started with; where, as the node sees it.
    fn write_arguments(&self, service: &str, arguments: &[String]) -> Result<PathBuf, LabError> {
        let name = format!("{service}.arguments");
        let path = configuration_of(&self.folder).join(&name);
        fs::write(&path, arguments.join("\n")).map_err(LabError::file(&path))?;
        Ok(in_node(&name).into())
    }
}

/// A file of the node's configuration, as the node sees it.
fn in_node(file: &str) -> String {
    format!("{CONFIGURATION}/{file}")
}

/// The folder of the node's configuration, as the lab sees it.
fn configuration_of(folder: &Path) -> PathBuf {
    folder.join("lib").join(CONFIGURATION.trim_start_matches("/var/lib/"))
}

/// Puts the reference plugins where a distribution's package would.
fn copy_plugins(folder: &Path) -> Result<(), LabError> {
    for plugin in PLUGINS {
        let file = Path::new(REFERENCE_PLUGINS).join(plugin);
        fs::copy(&file, folder.join(plugin)).map_err(LabError::file(file))?;
    }
    Ok(())
}
