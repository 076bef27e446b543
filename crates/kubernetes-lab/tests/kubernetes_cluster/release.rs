//! The life of a release of the chart: upgraded, rolled back, removed, installed again.

use anyhow::{Result, ensure};
use muslin_kubernetes_lab::{NAMESPACE, RELEASE, chart};

use crate::cluster::Cluster;
use crate::faults::everybody_meets;
use crate::http::same;
use crate::manifests;
use crate::remains;
use crate::traffic::Traffic;

pub(crate) const DAEMON_SET: &str = "daemonset/muslin";

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

pub(crate) fn uninstall_and_return(cluster: &Cluster) -> Result<()> {
    for node in cluster.lab().nodes() {
        for (probe, found) in remains::look(node)? {
            ensure!(!found.is_empty(), "'{probe}' finds nothing on {} of what is installed", node.name());
        }
    }
    ensure!(!remains::in_the_api(cluster)?.is_empty(), "the chart has made nothing");
    // As deploy/README.md has it.
    upgrade(cluster, &["mode=uninstall"])?;
    cluster.lab().helm(&["uninstall", RELEASE], &[])?;
    cluster.kubectl.run(&["delete", "namespace", NAMESPACE])?;
    let definitions = cluster.kubectl.run(&["get", "customresourcedefinitions", "--output", "name"])?;
    let ours: Vec<&str> = definitions.lines().filter(|name| name.ends_with(".muslin.dev")).collect();
    ensure!(!ours.is_empty(), "the definitions went with the release");
    cluster.kubectl.run(&[&["delete"], &*ours].concat())?;
    remains::none(cluster)?;
    remains::are_those_of_the_page(cluster)?;
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
    // Somebody without Helm comes.
    manifests::install(cluster)?;
    everybody_meets(cluster).map(drop)
}
