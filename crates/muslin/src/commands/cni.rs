//! `muslin cni`: the plugin onto a node, and off it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use muslin_pod_network::conflist::{
    self, Installed, LOOPBACK, install_binary, link_loopback, remove_binary, unlink_loopback,
};
use muslin_pod_network::ipam;

use super::say;
use crate::cli::{CniCommand, CniInstallArgs, CniUninstallArgs};

/// The plugin's name, as configurations have it.
const PLUGIN: &str = "muslin-cni";

pub(super) fn run(command: &CniCommand) -> anyhow::Result<()> {
    match command {
        CniCommand::Install(args) => install(args),
        CniCommand::Uninstall(args) => uninstall(args),
    }
}

/// Puts the plugin in place, whole or not at all. A plugin reads what an agent of its own or an older version wrote,
/// so it is installed before the agent is exchanged; a newer plugin that has already written a newer address store
/// stays when the agent goes back.
fn install(args: &CniInstallArgs) -> anyhow::Result<()> {
    let bin_dir = &args.plugins.bin_dir;
    let installed = bin_dir.join(PLUGIN);
    if installed.exists() && ipam::is_of_newer_build(&args.data.data_dir) {
        say(&format!(
            "{} stays: it is newer than this one ({}), which could not read the addresses in {}",
            installed.display(),
            env!("CARGO_PKG_VERSION"),
            args.data.data_dir.display()
        ));
        return Ok(());
    }
    let plugin = match &args.plugin {
        Some(plugin) => plugin.clone(),
        None => beside_this_program()?,
    };
    let done = install_binary(&plugin, bin_dir, PLUGIN)
        .with_context(|| format!("{} to {}", plugin.display(), bin_dir.display()))?;
    let words = match done {
        Installed::Written => "is installed",
        Installed::Unchanged => "is in place already",
    };
    say(&format!("{} {words}", installed.display()));
    let linked =
        link_loopback(bin_dir, PLUGIN).with_context(|| format!("{LOOPBACK} in {}", bin_dir.display()))?;
    if linked == Installed::Written {
        say(&format!("{} is this plugin too: the node had none", bin_dir.join(LOOPBACK).display()));
    }
    Ok(())
}

/// Both names of the plugin.
pub(super) fn remove_plugin(bin_dir: &Path) -> anyhow::Result<()> {
    let both = unlink_loopback(bin_dir, PLUGIN).and_then(|()| remove_binary(bin_dir, PLUGIN));
    both.with_context(|| bin_dir.display().to_string())
}

fn beside_this_program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("this program's own file")?;
    Ok(program.with_file_name(PLUGIN))
}

/// The configuration first: no runtime shall call what is gone.
fn uninstall(args: &CniUninstallArgs) -> anyhow::Result<()> {
    let (conf_dir, bin_dir) = (&args.configurations.conf_dir, &args.plugins.bin_dir);
    conflist::remove(conf_dir).with_context(|| conf_dir.display().to_string())?;
    remove_plugin(bin_dir)?;
    say(&format!(
        "no {} in {}, no {PLUGIN} in {}",
        conflist::FILE_NAME,
        conf_dir.display(),
        bin_dir.display()
    ));
    Ok(())
}
