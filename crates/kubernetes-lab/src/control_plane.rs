//! etcd, API server, controller manager and scheduler, in a network of their own beside the nodes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use muslin_lab::daemon::Daemon;
use muslin_lab::fabric::Fabric;
use muslin_lab::{Dual, LabError};
use muslin_netns::Namespace;

use crate::kubectl::Kubectl;
use crate::pki::{Identity, Pki};
use crate::poll;
use crate::programs::{Programs, find};
use crate::shape::{self, ClusterShape};

/// Where the API server is, behind the router or on the link that nodes share.
const ADDRESS: Dual =
    Dual { v4: Ipv4Addr::new(172, 30, 0, 2), v6: Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 2) };
/// The router's end of the link.
const GATEWAY: Dual =
    Dual { v4: Ipv4Addr::new(172, 30, 0, 1), v6: Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 1) };
/// Name of the namespace and of the link to it.
pub(crate) const NAME: &str = "cp";
const STORE: &str = "http://127.0.0.1:2379";
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The programs that make a cluster of nodes.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    // Dropped first to last: those that ask before those that answer.
    pub(crate) managers: Vec<Daemon>,
    pub(crate) server: Option<Daemon>,
    store: Option<Daemon>,
    pub(crate) namespace: Namespace,
    folder: PathBuf,
    programs: Programs,
    server_arguments: Vec<String>,
    manager_arguments: Vec<(&'static str, Vec<String>)>,
    pub(crate) kubectl: Kubectl,
}

/// Where clients find the API.
pub(crate) fn address(cluster: &ClusterShape) -> IpAddr {
    cluster.families.all().first().map_or(ADDRESS.v4.into(), |family| ADDRESS.get(*family))
}

/// The address of the API by which clients know it.
pub(crate) fn url(cluster: &ClusterShape) -> String {
    format!("https://{}", SocketAddr::from((address(cluster), 6443)))
}

impl ControlPlane {
    /// Starts everything; the API server answers some seconds after.
    pub(crate) fn start(
        fabric: &Fabric,
        cluster: &ClusterShape,
        folder: &Path,
        programs: &Programs,
        pki: &Pki,
    ) -> Result<Self, LabError> {
        let namespace = Namespace::new(NAME)?;
        fabric.join(&namespace, ADDRESS, GATEWAY)?;
        fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        let admin = pki.kubeconfig("admin", &url(cluster), "admin", Some("system:masters"))?;
        let kubectl = Kubectl::new(programs.get("kubectl"), admin, namespace.clone());
        let signing = pki.signing_key()?;
        let server_arguments = server_arguments(cluster, pki, &signing)?;
        let manager_arguments = manager_arguments(cluster, pki, &signing)?;
        let mut plane = Self {
            managers: Vec::new(),
            server: None,
            store: None,
            namespace,
            folder: folder.to_path_buf(),
            programs: programs.clone(),
            server_arguments,
            manager_arguments,
            kubectl,
        };
        plane.start_store()?;
        plane.start_server()?;
        Ok(plane)
    }

    /// Kills the store. The API server stays and cannot do much.
    pub(crate) fn stop_store(&mut self) {
        self.store = None;
    }

    /// Starts the store, or starts it again with what it had.
    pub(crate) fn start_store(&mut self) -> Result<(), LabError> {
        self.stop_store();
        self.store = Some(start_store(&self.namespace, &self.folder)?);
        Ok(())
    }

    /// Starts the API server, or starts it again.
    ///
    /// Those that need it are started anew behind it. Where they elect a leader they end by themselves when it is away;
    /// ours would try again after pauses that have grown to a minute.
    pub(crate) fn start_server(&mut self) -> Result<(), LabError> {
        self.managers.clear();
        self.server = None;
        let mut command = Command::new(self.programs.get("kube-apiserver"));
        command.args(&self.server_arguments);
        let log = self.folder.join("kube-apiserver.log");
        self.server = Some(Daemon::start("kube-apiserver", &self.namespace, &mut command, log)?);
        Ok(())
    }

    /// Waits until the API server is ready, and starts those that need it.
    pub(crate) fn await_server(&mut self) -> Result<(), LabError> {
        let kubectl = self.kubectl.clone();
        poll::until(PATIENCE, Duration::from_millis(100), || {
            let ready = kubectl.run(&["get", "--raw", "/readyz"]).map(drop);
            // That a program ended is the last word; that it is not ready, the last but one.
            self.check().map_or_else(|ended| Some(Err(ended)), |()| ready.ok().map(Ok))
        })
        .unwrap_or_else(|| {
            let late =
                self.server.as_ref().map(|server| server.failed(format!("is not ready after {PATIENCE:?}")));
            late.map_or(Ok(()), Err)
        })?;
        if self.managers.is_empty() {
            for (name, arguments) in &self.manager_arguments {
                let mut command = Command::new(self.programs.get(name));
                command.args(arguments);
                let log = self.folder.join(format!("{name}.log"));
                self.managers.push(Daemon::start(*name, &self.namespace, &mut command, log)?);
            }
        }
        Ok(())
    }

    /// An error if a program has ended.
    pub(crate) fn check(&mut self) -> Result<(), LabError> {
        self.managers.iter_mut().chain(&mut self.server).chain(&mut self.store).try_for_each(Daemon::check)
    }
}

fn start_store(namespace: &Namespace, folder: &Path) -> Result<Daemon, LabError> {
    let data = folder.join("etcd");
    fs::create_dir_all(&data).map_err(LabError::file(&data))?;
    let mut command = Command::new(find("etcd").unwrap_or_default());
    command.arg("--data-dir").arg(data).args([
        "--listen-client-urls",
        STORE,
        "--advertise-client-urls",
        STORE,
    ]);
    // Nothing outlives the lab, so nothing has to reach a disk.
    command.args(["--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync"]);
    Daemon::start("etcd", namespace, &mut command, folder.join("etcd.log"))
}

fn server_arguments(cluster: &ClusterShape, pki: &Pki, signing: &Identity) -> Result<Vec<String>, LabError> {
    let names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let own = [IpAddr::from(ADDRESS.v4), ADDRESS.v6.into()];
    let server = pki.server(&names, &[&own, &*cluster.api()].concat())?;
    let kubelet = pki.client("apiserver-kubelet", "kube-apiserver-kubelet-client", Some("system:masters"))?;
    let path = |path: &Path| path.display().to_string();
    Ok([
        ("advertise-address", address(cluster).to_string()),
        ("allow-privileged", "true".to_owned()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("client-ca-file", path(&pki.authority())),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("enable-aggregator-routing", "true".to_owned()),
        ("etcd-servers", STORE.to_owned()),
        ("kubelet-client-certificate", path(&kubelet.certificate)),
        ("kubelet-client-key", path(&kubelet.key)),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", path(&signing.certificate)),
        ("service-account-signing-key-file", path(&signing.key)),
        ("service-cluster-ip-range", shape::list(&cluster.services)),
        ("tls-cert-file", path(&server.certificate)),
        ("tls-private-key-file", path(&server.key)),
    ]
    .map(|(name, value)| format!("--{name}={value}"))
    .into())
}

fn manager_arguments(
    cluster: &ClusterShape,
    pki: &Pki,
    signing: &Identity,
) -> Result<Vec<(&'static str, Vec<String>)>, LabError> {
    let path = |path: PathBuf| path.display().to_string();
    let config = |name: &str| pki.kubeconfig(name, &url(cluster), &format!("system:{name}"), None).map(path);
    let controllers = [
        ("allocate-node-cidrs", "true".to_owned()),
        ("cluster-cidr", shape::list(&cluster.pods)),
        ("kubeconfig", config("kube-controller-manager")?),
        ("leader-elect", "false".to_owned()),
        ("node-monitor-grace-period", "16s".to_owned()),
        ("node-monitor-period", "2s".to_owned()),
        ("root-ca-file", path(pki.authority())),
        ("service-account-private-key-file", path(signing.key.clone())),
        ("service-cluster-ip-range", shape::list(&cluster.services)),
        ("use-service-account-credentials", "true".to_owned()),
    ];
    let scheduler = [("kubeconfig", config("kube-scheduler")?), ("leader-elect", "false".to_owned())];
    let argument = |(name, value): (&str, String)| format!("--{name}={value}");
    Ok(vec![
        ("kube-controller-manager", controllers.map(argument).into()),
        ("kube-scheduler", scheduler.map(argument).into()),
    ])
}
