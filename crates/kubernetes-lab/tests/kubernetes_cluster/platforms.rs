//! What the chart makes for each platform, as a real API server judges it: fields, types, rules, rights.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use muslin_kubernetes_lab::{KUBERNETES, RELEASE, chart};

use crate::cluster::{Cluster, eventually};

const PLATFORMS: [&str; 4] = ["kubeadm", "k3s", "rke2", "talos"];

/// With all objects that the chart can make.
const AGENT: [&str; 4] = [
    "mode=agent",
    "monitoring.listen=0.0.0.0:9179",
    "monitoring.serviceMonitor=true",
    "monitoring.prometheusRule=true",
];
const UNINSTALL: [&str; 1] = ["mode=uninstall"];

/// Definitions of the Prometheus operator's resources, with the fields that the chart uses as the operator names them,
/// and no others.
const MONITORING: &str = include_str!("monitoring_crds.yaml");

/// Fields of the chart's objects, and what nobody knows.
const MISTAKES: [(&str, &str); 3] =
    [("hostNetwork:", "hostNetwrok:"), ("relabelings:", "relabelling:"), ("alert:", "alarm:")];

pub(crate) fn taken_by_the_api_server(cluster: &Cluster) -> Result<()> {
    cluster.kubectl.apply(MONITORING)?;
    let judged = judged(cluster);
    cluster.kubectl.run(&["delete", "crd", "--selector=muslin.dev/stands-in=prometheus-operator"])?;
    judged
}

fn judged(cluster: &Cluster) -> Result<()> {
    for platform in PLATFORMS {
        for mode in [&AGENT[..], &UNINSTALL] {
            let objects = render(cluster, platform, mode)?;
            // A definition is served a moment after it was made.
            eventually(|| {
                let judged = try_out(cluster, &objects)?;
                let words = String::from_utf8_lossy(&judged.stderr).into_owned();
                ensure!(judged.status.success(), "{platform}, {mode:?}: {words}");
                Ok(())
            })?;
        }
    }
    // The server does look.
    let objects = render(cluster, PLATFORMS[0], &AGENT)?;
    for (field, mistake) in MISTAKES {
        ensure!(objects.contains(field), "nothing has a field {field}");
        let judged = try_out(cluster, &objects.replacen(field, mistake, 1))?;
        let words = String::from_utf8_lossy(&judged.stderr).into_owned();
        let name = mistake.trim_end_matches(':');
        ensure!(!judged.status.success() && words.contains(name), "{mistake} is taken: {words}");
    }
    Ok(())
}

fn render(cluster: &Cluster, platform: &str, values: &[&str]) -> Result<String> {
    let chart = chart()?.display().to_string();
    // Without what this lab's nodes need: the platform has its own way to the API server.
    let platform = format!("platform={platform}");
    let settings = [&[&*platform, "apiServer.host="], values].concat();
    let template = ["template", "--kube-version", KUBERNETES, RELEASE, &chart];
    cluster.lab().helm(&template, &settings).context("the chart cannot be rendered")
}

fn try_out(cluster: &Cluster, objects: &str) -> Result<Output> {
    let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-"];
    Ok(cluster.kubectl.output(&apply, Some(objects))?)
}
