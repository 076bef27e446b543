//! `cargo xtask manifests`: the chart as plain manifests, for who has no Helm.
//!
//! ```text
//!   deploy/crds ──copied──▶ deploy/helm/muslin/files/crds ──helm template──▶ deploy/manifests
//! ```
//!
//! What is made carries the digests of the chart and of itself, so that `cargo xtask lint` sees without Helm whether
//! one was changed and the other was not.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::shell::{self, workspace};

const CRDS: &str = "deploy/crds";
const CHART: &str = "deploy/helm/muslin";
const CHART_CRDS: &str = "deploy/helm/muslin/files/crds";
const MANIFESTS: &str = "deploy/manifests";
/// Where everything of ours lives; the resources look for their Secrets there too.
const NAMESPACE: &str = "muslin-system";
/// What the manifests are rendered for; nothing in them depends on it.
const KUBERNETES: &str = "1.34.0";
/// The files, and the values that they are made with.
const FILES: [(&str, &[&str]); 2] = [
    ("muslin.yaml", &[]),
    ("uninstall.yaml", &["mode=uninstall", "crds.install=false", "rbac.create=false"]),
];

/// Pods of ours use the host's network and folders, which the namespace has to admit (Pod Security Standards).
const NAMESPACE_OBJECT: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: muslin-system
  labels:
    pod-security.kubernetes.io/enforce: privileged
    pod-security.kubernetes.io/audit: privileged
    pod-security.kubernetes.io/warn: privileged
";

/// Copies the custom resource definitions into the chart, and renders it.
pub(crate) fn run() -> Result<()> {
    let helm = helm().context(
        "helm is not here: `cargo xtask test --tier kubernetes` builds it, or install Helm 3 and name it in HELM",
    )?;
    let copies = workspace().join(CHART_CRDS);
    let definitions = files(&workspace().join(CRDS))?;
    if copies.exists() {
        fs::remove_dir_all(&copies).context(CHART_CRDS)?;
    }
    fs::create_dir_all(&copies).context(CHART_CRDS)?;
    for (name, contents) in &definitions {
        fs::write(copies.join(name), contents).with_context(|| name.clone())?;
    }
    let chart = digest_of_chart()?;
    let folder = workspace().join(MANIFESTS);
    fs::create_dir_all(&folder).context(MANIFESTS)?;
    let mut all = vec![("namespace.yaml", String::from(NAMESPACE_OBJECT))];
    for (name, values) in FILES {
        let rendered = render(&helm, values)?;
        // The whole is one file to apply; what cleans up needs the namespace that is there.
        let body = if name == "muslin.yaml" { format!("{NAMESPACE_OBJECT}{rendered}") } else { rendered };
        all.push((name, body));
    }
    for (name, body) in all {
        fs::write(folder.join(name), with_header(&chart, &body)).with_context(|| name.to_owned())?;
        println!("{MANIFESTS}/{name}");
    }
    Ok(())
}

/// Complains about copies and manifests that are not what the chart and the definitions say.
pub(crate) fn check() -> Result<Vec<String>> {
    const REMEDY: &str = "run `cargo xtask manifests`";
    let mut complaints = Vec::new();
    if files(&workspace().join(CRDS))? != files(&workspace().join(CHART_CRDS))? {
        complaints.push(format!("{CHART_CRDS} is not what {CRDS} has: {REMEDY}"));
    }
    let chart = digest_of_chart()?;
    let names = FILES.iter().map(|(name, _)| *name).chain(["namespace.yaml"]);
    for name in names {
        let path = format!("{MANIFESTS}/{name}");
        let text = fs::read_to_string(workspace().join(&path)).unwrap_or_default();
        let body = text.splitn(4, '\n').nth(3).unwrap_or_default();
        if text != with_header(&chart, body) {
            complaints.push(format!("{path} is not what {CHART} makes, or was edited: {REMEDY}"));
        }
    }
    Ok(complaints)
}

fn with_header(chart: &str, body: &str) -> String {
    format!(
        "# Made from {CHART} by `cargo xtask manifests`; edit the chart instead.\n# chart sha256:{chart}\n# below sha256:{}\n{body}",
        digest(body.as_bytes())
    )
}

/// Helm, if this machine has it: the one that `HELM` names, the one that was built for the lab, or any other.
pub(crate) fn helm() -> Option<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => std::env::home_dir()?.join(".cache"),
    };
    let built = fs::read_dir(cache.join("muslin/kubernetes")).into_iter().flatten().flatten();
    let mut built: Vec<PathBuf> = built.map(|version| version.path().join("helm")).collect();
    built.sort();
    let named = std::env::var_os("HELM").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("helm"));
    named.into_iter().chain(built.into_iter().rev()).chain(installed).find(|helm| helm.is_file())
}

/// What the chart makes with these values.
fn render(helm: &Path, values: &[&str]) -> Result<String> {
    let rendered = shell::read(&mut template(helm, values))?;
    // Where a template stands is of no use to who applies the manifest.
    let lines = rendered.lines().filter(|line| !line.starts_with("# Source: "));
    Ok(lines.flat_map(|line| [line.trim_end(), "\n"]).collect())
}

fn template(helm: &Path, values: &[&str]) -> Command {
    let mut command = shell::command(helm);
    command.args(["template", "muslin", CHART, "--namespace", NAMESPACE, "--kube-version", KUBERNETES]);
    command.args(values.iter().flat_map(|value| ["--set", value]));
    command
}

fn digest_of_chart() -> Result<String> {
    let mut hash = Sha256::new();
    for (name, contents) in files(&workspace().join(CHART))? {
        hash.update(format!("{name}\0{}\0", contents.len()));
        hash.update(contents);
    }
    Ok(hex(&hash.finalize()))
}

fn digest(octets: &[u8]) -> String {
    hex(&Sha256::digest(octets))
}

/// As digests are written.
pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Every file below a folder, by its path there; none if there is no such folder.
fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        if !next.exists() {
            continue;
        }
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
                found.insert(name, fs::read(&path).with_context(|| path.display().to_string())?);
            }
        }
    }
    if found.is_empty() && folder.ends_with(CHART) {
        bail!("{CHART} is not there");
    }
    Ok(found)
}
