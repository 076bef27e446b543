//! What makes a cluster of nodes usable: the product by its chart, the resources of this network, and DNS.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use muslin_lab::LabError;

use crate::control_plane;
use crate::lab::KubernetesLab;
use crate::poll;
use crate::shape::STARTUP_TAINT;

/// Where the product is installed.
pub const NAMESPACE: &str = "muslin-system";
/// Name of the release, and so of the `DaemonSet`.
pub const RELEASE: &str = "muslin";

const COREDNS: &str = include_str!("manifests/coredns.yaml");
/// What the nodes and the DNS may take until they are ready.
const PATIENCE: Duration = Duration::from_mins(2);

impl KubernetesLab {
    /// Installs the chart with the image that the nodes were given, and waits until the cluster is usable.
    ///
    /// # Errors
    /// [`LabError::Process`] with the words of whatever failed.
    pub fn install(&mut self, chart: &Path) -> Result<(), LabError> {
        let step = self.progress.step("chart installed");
        let chart = chart.display().to_string();
        self.helm(&["upgrade", "--install", "--create-namespace", RELEASE, &chart], &[])?;
        step.done();
        self.await_usable()
    }

    /// Makes the nodes peers of the router, and waits until nodes and DNS are ready: the product is installed.
    /// Nodes on one link are ready before there is any resource.
    ///
    /// # Errors
    /// [`LabError::Process`] with the words of whatever failed.
    pub fn await_usable(&mut self) -> Result<(), LabError> {
        if self.fabric().is_one_link() {
            // They need nothing but that link.
            let step = self.progress.step("nodes ready: BGP among them");
            self.await_nodes()?;
            self.times.nodes_ready_seconds = Some(self.begun.elapsed().as_secs_f64());
            step.done();

            let step = self.progress.step("BGP with the router");
            self.lead_outside()?;
            step.done();
        } else {
            let step = self.progress.step("nodes ready: BGP with the router");
            self.kubectl().apply_when_known(&self.fabric().bgp_manifests())?;
            self.await_nodes()?;
            self.times.nodes_ready_seconds = Some(self.begun.elapsed().as_secs_f64());
            step.done();
        }

        self.install_dns()
    }

    /// Applies the resources of this network, and waits for the sessions that they ask for.
    ///
    /// # Errors
    /// [`LabError::Process`] with the API server's words, or with what the peers say of themselves.
    pub fn lead_outside(&self) -> Result<(), LabError> {
        self.kubectl().apply_when_known(&self.fabric().bgp_manifests())?;
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let wait = ["wait", "bgppeers.muslin.dev", "--all", "--for=condition=Established", &timeout];
        self.kubectl().run(&wait).map(drop).map_err(|error| {
            let log = self.kubectl().run(&["describe", "bgppeers.muslin.dev"]).unwrap_or_default();
            LabError::Process { process: "peers".to_owned(), problem: error.to_string(), log }
        })
    }

    /// Installs CoreDNS and waits until it is available.
    pub(crate) fn install_dns(&mut self) -> Result<(), LabError> {
        let step = self.progress.step("DNS available");
        let addresses = self.basis.cluster.dns();
        let families = if addresses.len() > 1 { "RequireDualStack" } else { "SingleStack" };
        let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        let (first, all) = (quoted.first().cloned().unwrap_or_default(), quoted.join(", "));
        let service = format!("clusterIP: {first}\n  clusterIPs: [{all}]\n  ipFamilyPolicy: {families}");
        self.kubectl().apply(&COREDNS.replace("clusterIPs: []", &service))?;
        self.await_rollout("kube-system", "deployment/coredns")?;
        self.times.dns_available_seconds = Some(self.begun.elapsed().as_secs_f64());
        step.done();
        Ok(())
    }

    /// Runs `helm` with the settings that a node of this lab needs, and more of them.
    ///
    /// # Errors
    /// [`LabError::Process`] with its words.
    pub fn helm(&self, arguments: &[&str], settings: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new(self.basis.programs.get("helm"));
        command.envs(self.kubectl().environment()).args(["--namespace", NAMESPACE]).args(arguments);
        if matches!(arguments, ["upgrade" | "install" | "template", ..]) {
            let server = format!("apiServer.host={}", control_plane::address(&self.basis.cluster));
            for setting in [&*server, "image.pullPolicy=Never"].iter().chain(settings) {
                command.args(["--set", setting]);
            }
        }
        // Its own files belong to the lab.
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, self.folder.path().join("helm").join(folder));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.control_plane.namespace.spawn(&mut command)?;
        let output = child.wait_with_output().map_err(LabError::file("helm"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(LabError::Process {
            process: format!("helm {}", arguments.join(" ")),
            problem: format!("failed ({})", output.status),
            log: text(&output.stderr),
        })
    }

    /// Waits until every node is ready and takes pods.
    ///
    /// # Errors
    /// [`LabError::Process`] with what the nodes say of themselves.
    pub fn await_nodes(&self) -> Result<(), LabError> {
        self.await_ready()?;
        // A node is ready some moments before the agent takes the taint away, and a DaemonSet wants no pod there yet.
        let taints = ["get", "nodes", "--output", "jsonpath={.items[*].spec.taints[*].key}"];
        let open = poll::until(PATIENCE, Duration::from_millis(100), || match self.kubectl().run(&taints) {
            Ok(taints) => (!taints.contains(STARTUP_TAINT)).then_some(Ok(())),
            Err(error) => Some(Err(error)),
        });
        open.unwrap_or_else(|| {
            let log = self.kubectl().run(&["describe", "nodes"]).unwrap_or_default();
            let problem = format!("have the taint {STARTUP_TAINT} after {PATIENCE:?}");
            Err(LabError::Process { process: "nodes".to_owned(), problem, log })
        })
    }

    fn await_ready(&self) -> Result<(), LabError> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        self.kubectl().run(&["wait", "node", "--all", "--for=condition=Ready", &timeout]).map(drop).map_err(
            |error| {
                let agents = self.kubectl().run(&[
                    "logs",
                    "--namespace",
                    NAMESPACE,
                    "--selector",
                    "app.kubernetes.io/name=muslin",
                    "--all-containers",
                    "--prefix",
                    "--tail=12",
                    "--ignore-errors",
                ]);
                let pods = self.kubectl().run(&["describe", "pods", "--namespace", NAMESPACE]);
                let log = [agents, pods].map(Result::unwrap_or_default).concat();
                LabError::Process { process: "nodes".to_owned(), problem: error.to_string(), log }
            },
        )
    }

    /// Waits until a workload is as it should be.
    ///
    /// # Errors
    /// [`LabError::Process`] with what its pods say of themselves.
    pub fn await_rollout(&self, namespace: &str, workload: &str) -> Result<(), LabError> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let wait = ["rollout", "status", workload, "--namespace", namespace, &timeout];
        self.kubectl().run(&wait).map(drop).map_err(|error| {
            let pods =
                self.kubectl().run(&["describe", "pods", "--namespace", namespace]).unwrap_or_default();
            LabError::Process { process: workload.to_owned(), problem: error.to_string(), log: pods }
        })
    }
}

/// The chart of the checkout that this program was built from.
pub fn chart() -> Result<PathBuf, LabError> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/helm/muslin");
    if chart.join("Chart.yaml").is_file() {
        return Ok(chart);
    }
    Err(LabError::Missing(format!("there is no chart in {}", chart.display())))
}

/// How long the API server may take from a definition of resources to the first of them.
const DEFINED: Duration = Duration::from_secs(20);

impl crate::Kubectl {
    /// Applies resources whose definitions were just made.
    fn apply_when_known(&self, manifests: &str) -> Result<(), LabError> {
        let mut refusal = None;
        poll::until(DEFINED, Duration::from_millis(200), || match self.apply(manifests) {
            Ok(_) => Some(()),
            Err(error) => {
                refusal = Some(error);
                None
            }
        })
        .ok_or(())
        .or_else(|()| refusal.map_or(Ok(()), Err))
    }
}
