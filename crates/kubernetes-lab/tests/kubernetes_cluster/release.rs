//! The life of a release of the chart: upgraded, rolled back, held to little memory, removed, installed again.

use anyhow::{Result, ensure};
use muslin_kubernetes_lab::{NAMESPACE, Node, RELEASE, chart};

use crate::cluster::{Cluster, eventually};
use crate::disturb::{CALM, agents_ready, restarts};
use crate::faults::everybody_meets;
use crate::http::same;
use crate::traffic::Traffic;

const DAEMON_SET: &str = "daemonset/muslin";

/// Changes settings of the release and waits until every node has them.
pub(crate) fn upgrade(cluster: &Cluster, settings: &[&str]) -> Result<()> {
    let chart = chart()?.display().to_string();
    cluster.lab().helm(&["upgrade", "--reuse-values", RELEASE, &chart], settings)?;
    cluster.lab().await_rollout(NAMESPACE, DAEMON_SET)?;
    Ok(())
}

fn setting(cluster: &Cluster, path: &str) -> Result<String> {
    let path = format!("jsonpath={{{path}}}");
    Ok(cluster.kubectl.run(&["get", DAEMON_SET, "--namespace", NAMESPACE, "--output", &path])?)
}

const LOG: &str = ".spec.template.spec.containers[0].env[?(@.name=='MUSLIN_LOG_FORMAT')].value";

pub(crate) fn upgrade_and_rollback(cluster: &Cluster) -> Result<()> {
    let pods = cluster.present_pods()?;
    let traffic = Traffic::start(&pods[0], &pods[1])?;
    same("the log's format", &setting(cluster, LOG)?, &"json".to_owned())?;
    upgrade(cluster, &["log.format=text"])?;
    same("the log's format", &setting(cluster, LOG)?, &"text".to_owned())?;
    cluster.lab().helm(&["rollback", RELEASE], &[])?;
    cluster.lab().await_rollout(NAMESPACE, DAEMON_SET)?;
    same("the log's format", &setting(cluster, LOG)?, &"json".to_owned())?;
    let sent = traffic.finish()?;
    eprintln!("{sent} datagrams and their answers, none lost");
    Ok(())
}

/// Fills the memory of the agent's control group until the kernel ends the agent.
const FILL: &str = "
set -e
agent=$(pgrep -x -o muslin)
group=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/$agent/cgroup)
[ -d $group ] || group=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$agent/cgroup)
echo 1000 > /proc/$agent/oom_score_adj
echo $$ > $group/cgroup.procs
head -c 200M /dev/zero | tail > /dev/null || true
";

pub(crate) fn little_memory(cluster: &Cluster) -> Result<()> {
    upgrade(cluster, &["resources.limits.memory=64Mi"])?;
    agents_ready(cluster)?;
    let before = restarts(cluster, "n1")?;
    same("restarts within 64 MiB", &before, &0)?;
    let pods = cluster.present_pods()?;
    let traffic = Traffic::start(&pods[0], &pods[1])?;
    let back = Traffic::start(&pods[2], &pods[0])?;
    muslin_kubernetes_lab::poll::rest(CALM);
    let filled = cluster.lab().nodes()[0].run(&["sh", "-c", FILL])?;
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

pub(crate) fn uninstall_and_return(cluster: &Cluster) -> Result<()> {
    let dirty: usize = cluster.lab().nodes().iter().map(|node| Ok(left(node)?.len())).sum::<Result<_>>()?;
    ensure!(dirty > 0, "nothing is found of what is installed: the search is wrong");
    // As deploy/README.md has it.
    upgrade(cluster, &["mode=uninstall"])?;
    cluster.lab().helm(&["uninstall", RELEASE], &[])?;
    cluster.kubectl.run(&["delete", "namespace", NAMESPACE])?;
    let definitions = cluster.kubectl.run(&["get", "customresourcedefinitions", "--output", "name"])?;
    let ours: Vec<&str> = definitions.lines().filter(|name| name.ends_with(".muslin.dev")).collect();
    ensure!(!ours.is_empty(), "the definitions went with the release");
    cluster.kubectl.run(&[&["delete"], &*ours].concat())?;
    for node in cluster.lab().nodes() {
        let left = left(node)?;
        ensure!(left.is_empty(), "{} is left with:\n{}", node.name(), left.join("\n"));
    }
    // What was left of pods has no network.
    for namespace in ["default", "kube-system"] {
        cluster.kubectl.run(&[
            "delete",
            "pods",
            "--all",
            "--namespace",
            namespace,
            "--force",
            "--grace-period=0",
        ])?;
    }
    cluster.lab().install(&chart()?)?;
    everybody_meets(cluster).map(drop)
}

/// What can be found of the product on a node.
fn left(node: &Node) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let mut look = |words: &[&str], is_ours: &dyn Fn(&str) -> bool| -> Result<()> {
        let found = node.run(words)?;
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        left.extend(
            text.lines().filter(|line| is_ours(line)).map(|line| format!("{}: {line}", words.join(" "))),
        );
        Ok(())
    };
    let all: &dyn Fn(&str) -> bool = &|_| true;
    for family in ["-4", "-6"] {
        // The kernel's and the administrator's routes are named; ours have numbers.
        look(&["ip", "-N", family, "route", "show", "table", "all"], &|line| {
            let mut words = line.split_whitespace().skip_while(|word| *word != "proto").skip(1);
            words.next().is_some_and(|protocol| !["1", "2", "3", "4", "9", "ra"].contains(&protocol))
        })?;
    }
    look(&["ip", "nexthop"], all)?;
    look(&["nft", "list", "tables"], &|line| line.contains("muslin"))?;
    look(&["ip", "-brief", "link"], &|line| !line.starts_with("lo ") && !line.starts_with("eth0"))?;
    for folder in ["/var/lib/muslin", "/run/muslin", "/etc/cni/net.d", "/opt/cni/bin"] {
        look(&["ls", folder], &|name| folder.ends_with("muslin") || name.contains("muslin"))?;
    }
    Ok(left)
}
