//! The cluster that the tests share, and pods on every node of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use muslin_kubernetes_lab::pod::Pod;
use muslin_kubernetes_lab::{
    AGNHOST, ClusterShape, Kubectl, KubernetesLab, KubernetesOptions, Programs, chart, poll,
};
use muslin_lab::{Dual, Families, Family, Progress, ProxyMode, RouterKind, Topology};
use muslin_netns::Namespace;

use crate::settings::{self, Settings};

/// How long pods and routes may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The lab with what all tests need of it at hand.
pub(crate) struct Cluster {
    lab: Mutex<KubernetesLab>,
    pub(crate) kubectl: Kubectl,
    /// Two on each node, with two containers each.
    pub(crate) web: Vec<Pod>,
    pub(crate) outside: Namespace,
    pub(crate) outside_address: Dual,
    pub(crate) router: Namespace,
    pub(crate) router_kind: RouterKind,
    /// Those that it has addresses of.
    pub(crate) families: &'static [Family],
    pub(crate) proxy_mode: ProxyMode,
    pub(crate) nodes: Vec<(String, Namespace, Dual)>,
    /// The first node's kernel settings before we were installed.
    pub(crate) untouched: Settings,
}

/// What the environment says of the cluster.
pub(crate) fn options() -> Result<KubernetesOptions> {
    let variable = |name: &str| std::env::var(name).ok();
    let programs = variable("MUSLIN_BIN").map(PathBuf::from);
    let programs = programs.and_then(|muslin| muslin.parent().map(PathBuf::from));
    let router = match variable("MUSLIN_ROUTER").as_deref() {
        None | Some("muslin") => RouterKind::Muslin,
        Some("frr") => RouterKind::Frr,
        Some("bird") => RouterKind::Bird,
        Some(other) => bail!("MUSLIN_ROUTER is '{other}', not muslin, frr or bird"),
    };
    let proxy_mode = match variable("MUSLIN_PROXY_MODE").as_deref() {
        None | Some("nftables") => ProxyMode::Nftables,
        Some("iptables") => ProxyMode::Iptables,
        Some("ipvs") => ProxyMode::Ipvs,
        Some(other) => bail!("MUSLIN_PROXY_MODE is '{other}', not nftables, iptables or ipvs"),
    };
    let (wiring, nodes) = match variable("MUSLIN_TOPOLOGY").as_deref() {
        None | Some("tor") => (Topology::Tor, 3),
        // Beside a pair of reflectors, two nodes that reach each other by them alone.
        Some("mesh") => (Topology::Mesh, 4),
        Some(other) => bail!("MUSLIN_TOPOLOGY is '{other}', not tor or mesh"),
    };
    let families = match variable("MUSLIN_FAMILIES").as_deref() {
        None | Some("dual") => Families::Dual,
        Some("ipv4") => Families::Ipv4,
        Some("ipv6") => Families::Ipv6,
        Some(other) => bail!("MUSLIN_FAMILIES is '{other}', not dual, ipv4 or ipv6"),
    };
    Ok(KubernetesOptions {
        cluster: ClusterShape::of(nodes, families),
        wiring,
        router: Some(router),
        proxy_mode,
        programs,
        image: variable("MUSLIN_IMAGE").map(PathBuf::from),
        // Private to the namespaces that the tier runs its tests in.
        folder: PathBuf::from("/run"),
    })
}

impl Cluster {
    /// Brings it up as the environment says.
    pub(crate) fn start() -> Result<Self> {
        let options = options()?;
        Programs::prepare_for_tests(Progress::Shown)?;
        let mut lab = KubernetesLab::start(&options, Progress::Shown)?;
        let first = lab.nodes().first().context("a lab without nodes")?.namespace();
        let untouched = settings::make_usual(first)?;
        lab.install(&chart()?)?;
        let kubectl = lab.kubectl().clone();
        kubectl.apply(&web())?;
        kubectl.run(&["rollout", "status", "daemonset/web", "daemonset/second", "--timeout=120s"])?;
        let outside = lab.fabric().outside().clone();
        let web = kubectl.pods("default", "app=web")?;
        let nodes =
            lab.nodes().iter().map(|node| (node.name().to_owned(), node.namespace().clone(), node.address()));
        Ok(Self {
            nodes: nodes.collect(),
            router: lab.fabric().router().clone(),
            router_kind: options.router.unwrap_or_default(),
            families: options.cluster.families.all(),
            proxy_mode: options.proxy_mode,
            untouched,
            outside: outside.namespace,
            outside_address: outside.addresses,
            web,
            kubectl,
            lab: Mutex::new(lab),
        })
    }

    /// The lab, to do something to it.
    pub(crate) fn lab(&self) -> MutexGuard<'_, KubernetesLab> {
        self.lab.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod on each node, in the order of nodes.
    pub(crate) fn one_per_node(&self) -> Vec<&Pod> {
        let first = |node: &str| self.web.iter().find(|pod| pod.node == node);
        self.nodes.iter().filter_map(|(name, _, _)| first(name)).collect()
    }

    /// A pod of now on each node, in the order of nodes: where nodes were lost, pods came in the place of those above.
    pub(crate) fn present_pods(&self) -> Result<Vec<Pod>> {
        let mut pods = self.kubectl.pods("default", "set=web")?;
        pods.sort_by(|a, b| a.node.cmp(&b.node));
        Ok(pods)
    }

    /// A Service's cluster IPs, one of each of the cluster's families.
    pub(crate) fn cluster_ips(&self, service: &str) -> Result<Dual> {
        let found = self.kubectl.json(&["get", "service", service])?;
        let ips = found["spec"]["clusterIPs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.as_str()?.parse().ok()).collect();
        let families: Vec<Family> = ips.iter().copied().map(Family::of).collect();
        ensure!(families == self.families, "{service} has the cluster IPs {ips:?}");
        let mut dual = Dual { v4: Ipv4Addr::UNSPECIFIED, v6: Ipv6Addr::UNSPECIFIED };
        for ip in ips {
            match ip {
                IpAddr::V4(address) => dual.v4 = address,
                IpAddr::V6(address) => dual.v6 = address,
            }
        }
        Ok(dual)
    }
}

/// Both families, for tests of clusters that have both.
pub(crate) const FAMILIES: [Family; 2] = Family::BOTH;

/// Asks until the answer is right; what was wrong last if it never is.
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let mut wrong = None;
    let answer =
        poll::until(PATIENCE, Duration::from_millis(100), || ask().map_err(|error| wrong = Some(error)).ok());
    answer.ok_or_else(|| wrong.unwrap_or_else(|| anyhow::anyhow!("nothing was asked")))
}

/// Two sets of pods with an HTTP and a UDP server that tell who asks, and a second container beside.
fn web() -> String {
    let set = |name: &str| {
        format!(
            "apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {name}
spec:
  selector:
    matchLabels:
      set: {name}
  template:
    metadata:
      labels:
        app: web
        set: {name}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: server
        image: {AGNHOST}
        imagePullPolicy: Never
        args: [netexec, --http-port=8080, --udp-port=8081]
        ports:
        - {{name: http, containerPort: 8080}}
        readinessProbe:
          httpGet: {{path: /healthz, port: 8080}}
          periodSeconds: 1
      - name: beside
        image: {AGNHOST}
        imagePullPolicy: Never
        args: [netexec, --http-port=8090, --udp-port=8091]
"
        )
    };
    [set("web"), set("second")].join("---\n")
}
