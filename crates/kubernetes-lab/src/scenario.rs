//! A topology file of containerlab with a cluster of kind: the cluster is one of this crate, the other nodes and the links
//! are made as without a cluster, and the product is installed by the scenario's own Makefile.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use muslin_lab::containerlab::{self, ClusterSpec, Deployment, Then, TopologyFile};
use muslin_lab::{LabError, Progress};

use crate::lab::KubernetesLab;

/// A scenario of `containerlab/` that has a cluster.
#[derive(Debug)]
pub(crate) struct Scenario {
    topology: TopologyFile,
    cluster: ClusterSpec,
    verify: PathBuf,
}

impl Scenario {
    /// Reads its file, and looks whether this machine has what its other nodes run.
    pub(crate) fn read(path: &Path, then: Then) -> Result<Self, LabError> {
        let topology = TopologyFile::read(path)?;
        let Some(cluster) = topology.cluster.clone() else {
            return Err(LabError::Missing(format!(
                "{} has no cluster (a node of the kind k8s-kind): leave --kubernetes out",
                path.display()
            )));
        };
        let verify = containerlab::verify(&topology, then)?;
        containerlab::check_machine(&topology)?;
        Ok(Self { topology, cluster, verify })
    }

    /// The cluster that it has.
    pub(crate) fn cluster(&self) -> &ClusterSpec {
        &self.cluster
    }

    /// Starts the nodes around a cluster, and has the Makefile beside the file install the product, its peers and pods.
    pub(crate) fn install(&self, lab: &mut KubernetesLab, progress: Progress) -> Result<(), LabError> {
        let nodes =
            lab.nodes().iter().map(|node| (node.name().to_owned(), node.namespace().clone())).collect();
        lab.attached = Some(Deployment::start(&self.topology, &nodes, progress)?);
        let step = progress.step("`make muslin`: the chart, its peers, and a pod on every node");
        let config = format!("--kubeconfig={}", lab.kubectl().kubeconfig().display());
        let mut make = Command::new("make");
        // The image is on the nodes already, where `kind load` would bring it.
        make.args(["--no-print-directory", "muslin", "KIND=true"]);
        make.arg(format!("HELM=helm {config}")).arg(format!("KUBECTL=kubectl {config}"));
        let log = lab.folder.path().join("make.log");
        let output = std::fs::File::create(&log).map_err(LabError::file(&log))?;
        make.stdout(output.try_clone().map_err(LabError::file(&log))?).stderr(output);
        let status = self.run(lab, &mut make)?;
        if !status.success() {
            return Err(LabError::Process {
                process: format!("make muslin in {}", self.topology.folder.display()),
                problem: format!("failed ({status})"),
                log: std::fs::read_to_string(&log).unwrap_or_default(),
            });
        }
        step.done();
        lab.install_dns()
    }

    /// Runs `verify.sh`, which shows what it finds; whether it is content.
    pub(crate) fn verify(&self, lab: &KubernetesLab) -> Result<bool, LabError> {
        let program = std::env::current_exe().map_err(LabError::system("find the own program"))?;
        let mut verify = Command::new(&self.verify);
        verify.env(containerlab::EXEC, format!("{} lab shell", program.display()));
        let config = lab.kubectl().kubeconfig().display();
        verify.env("KUBECTL", format!("kubectl --kubeconfig={config}"));
        Ok(self.run(lab, &mut verify)?.success())
    }

    /// Runs a command beside the file, where the API can be reached.
    fn run(&self, lab: &KubernetesLab, command: &mut Command) -> Result<ExitStatus, LabError> {
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let path =
            [lab.basis.programs.folder().to_path_buf()].into_iter().chain(std::env::split_paths(&usual));
        let path = std::env::join_paths(path)
            .map_err(|error| LabError::system("put PATH together")(std::io::Error::other(error)))?;
        command
            .env("PATH", path)
            .envs(lab.kubectl().environment())
            .current_dir(&self.topology.folder)
            .stdin(Stdio::null());
        let mut child = lab.control_plane.namespace.spawn(command)?;
        child.wait().map_err(LabError::file(command.get_program()))
    }
}
