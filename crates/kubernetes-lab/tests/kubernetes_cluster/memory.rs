//! An agent with little memory, and one with too little.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use muslin_kubernetes_lab::poll::rest;
use muslin_kubernetes_lab::{NAMESPACE, RELEASE};

use crate::cluster::{Cluster, PATIENCE, eventually};
use crate::disturb::{CALM, agents_ready, restarts};
use crate::faults::{deployment, learned};
use crate::release::{DAEMON_SET, upgrade};
use crate::status;
use crate::traffic::Traffic;

/// Where the agent's control group is, in either version of them.
const GROUP: &str = "
set -e
agent=$(pgrep -x -o muslin)
group=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/$agent/cgroup)
[ -d $group ] || group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$agent/cgroup)
";

/// Fills the memory of the group until the kernel ends the agent.
const FILL: &str = "
echo 1000 > /proc/$agent/oom_score_adj
echo $$ > $group/cgroup.procs
head -c 200M /dev/zero | tail > /dev/null || true
";

/// The most octets that the group ever had.
const PEAK: &str = "cat $group/memory.max_usage_in_bytes 2>/dev/null || cat $group/memory.peak";

pub(crate) fn little_memory(cluster: &Cluster) -> Result<()> {
    upgrade(cluster, &["resources.limits.memory=64Mi"])?;
    agents_ready(cluster)?;
    let pods = cluster.present_pods()?;
    let traffic = Traffic::start(&pods[0], &pods[1])?;
    let back = Traffic::start(&pods[2], &pods[0])?;
    rest(CALM);
    much_to_do(cluster)?;
    for (name, ..) in &cluster.nodes {
        let restarts = restarts(cluster, name)?;
        ensure!(restarts == 0, "the agent of {name} was started {restarts} times again within 64 MiB");
    }
    let before = restarts(cluster, "n1")?;
    let filled = cluster.lab().nodes()[0].run(&["sh", "-c", &[GROUP, FILL].concat()])?;
    eventually(|| {
        let now = restarts(cluster, "n1")?;
        ensure!(now > before, "the agent of n1 was not ended: {}", String::from_utf8_lossy(&filled.stderr));
        Ok(())
    })?;
    agents_ready(cluster)?;
    let sent = traffic.finish()? + back.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    cluster.lab().helm(&["rollback", RELEASE], &[])?;
    cluster.lab().await_rollout(NAMESPACE, DAEMON_SET)?;
    Ok(())
}

/// How many routes come from the router, each of so many bits of a range that is nobody's.
const ROUTES: usize = 1000;
const LENGTH: u8 = 25;

/// Pods are made and deleted while many routes come and go.
fn much_to_do(cluster: &Cluster) -> Result<()> {
    const BUSY: &str = "deployment/busy";
    let range = Ipv4Net::new([198, 18, 0, 0].into(), 15)?;
    let prefixes: Vec<IpNet> = range.subnets(LENGTH)?.take(ROUTES).map(IpNet::V4).collect();
    let await_routes = |count: usize| -> Result<()> {
        for (name, namespace, _) in &cluster.nodes {
            let mut found = 0;
            let there = namespace.await_routes(PATIENCE, |routes| {
                let learned = learned(routes);
                found = prefixes.iter().filter(|prefix| learned.contains(prefix)).count();
                found == count
            })?;
            ensure!(there, "{name} holds {found} routes of the router, not {count}");
        }
        Ok(())
    };
    let import = |import: serde_json::Value| -> Result<()> {
        let patch = serde_json::json!({"spec": {"import": import}}).to_string();
        let words = ["patch", "bgpconfigurations.muslin.dev", "default", "--type=merge", "--patch", &patch];
        cluster.kubectl.run(&words)?;
        Ok(())
    };
    import(serde_json::json!({"cidrs": [range]}))?;
    let originated = Originated::begin(cluster, &prefixes)?;
    cluster.kubectl.apply(&deployment("busy", 30))?;
    await_routes(ROUTES)?;
    cluster.lab().await_rollout("default", BUSY)?;
    drop(originated);
    cluster.kubectl.run(&["delete", BUSY])?;
    await_routes(0)?;
    cluster.kubectl.run(&["wait", "pod", "--selector=app=busy", "--for=delete", "--timeout=60s"])?;
    import(serde_json::Value::Null)?;
    for node in cluster.lab().nodes() {
        let said = node.run(&["sh", "-c", &[GROUP, PEAK].concat()])?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let peak: u64 = text.trim().parse().with_context(|| format!("no peak of {}: {text}", node.name()))?;
        eprintln!("{}: the agent's group had {:.1} MiB at most", node.name(), mebibytes(peak));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// What the router announces beside what it learned, until this is dropped.
struct Originated {
    file: PathBuf,
    before: String,
}

impl Originated {
    fn begin(cluster: &Cluster, prefixes: &[IpNet]) -> Result<Self> {
        let file = status::router_manifests(cluster)?.join("router.yaml");
        let before = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let list: Vec<String> = prefixes.iter().map(|prefix| format!("  - cidr: {prefix}\n")).collect();
        let after = before.replacen("spec:\n", &format!("spec:\n  originate:\n{}", list.concat()), 1);
        replace(&file, &after)?;
        Ok(Self { file, before })
    }
}

impl Drop for Originated {
    fn drop(&mut self) {
        if let Err(error) = replace(&self.file, &self.before) {
            eprintln!("{}: {error}", self.file.display());
        }
    }
}

/// Whoever follows the folder never sees half of a file.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let draft = file.with_file_name(".router.yaml.new");
    fs::write(&draft, text)?;
    fs::rename(draft, file)
}
