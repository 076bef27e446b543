//! The manifests for those who have no Helm, applied and taken away by the commands of the page that people read.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::http::same;
use crate::remains::{self, PAGE};

/// The commands of the page that name a manifest, in its order, and those between them.
fn commands(section: &str) -> Result<Vec<Vec<String>>> {
    let (_, section) =
        PAGE.split_once(&format!("\n## {section}\n")).context("the page has no such section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let (_, block) = section.split_once("Without Helm").context("nothing is said of those without Helm")?;
    let block = block.split("```").nth(1).context("there are no commands for those without Helm")?;
    let lines = block.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let found = lines.filter_map(|line| line.strip_prefix("kubectl "));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let word = |word: &str| match word.strip_prefix("deploy/") {
        Some(_) => root.join(word).display().to_string(),
        None => word.to_owned(),
    };
    Ok(found.map(|line| line.split_whitespace().map(word).collect()).collect())
}

fn run(cluster: &Cluster, section: &str) -> Result<()> {
    let commands = commands(section)?;
    let names_manifests = commands.iter().flatten().any(|word| word.contains("deploy/manifests/"));
    ensure!(names_manifests, "the commands of '{section}' name no manifest: {commands:?}");
    for command in commands {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        cluster.kubectl.run(&words)?;
    }
    Ok(())
}

/// On nodes that have nothing of ours.
pub(crate) fn install(cluster: &Cluster) -> Result<()> {
    run(cluster, "Install")?;
    Ok(cluster.lab().await_usable()?)
}

pub(crate) fn uninstalled(cluster: &Cluster) -> Result<()> {
    let objects = remains::in_the_api(cluster)?;
    ensure!(!objects.is_empty(), "nothing is installed");
    run(cluster, "Uninstall")?;
    remains::none(cluster)?;
    let definitions = cluster.kubectl.run(&["get", "customresourcedefinitions", "--output", "name"])?;
    let ours: Vec<&str> = definitions.lines().filter(|name| name.ends_with(".muslin.dev")).collect();
    same("definitions of ours", &ours, &vec![])
}
