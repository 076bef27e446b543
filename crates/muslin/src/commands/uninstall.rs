//! `muslin uninstall`: a node as if Muslin had never been there.
//!
//! First what brings new pods, then what leads packets, then what was kept. Each step is said; a step that fails does
//! not keep the others from being done. Kernel settings stay: others may have come to depend on them.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, bail};
use muslin_pod_network::{conflist, firewall, remove_pod_interfaces};
use muslin_route_programmer::{Programmer, ProgrammerConfig};
use tokio::signal::unix::{SignalKind, signal};

use super::cni::remove_plugin;
use super::{complain, say};
use crate::api::SOCKET;
use crate::cli::UninstallArgs;

pub(super) async fn run(args: &UninstallArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let socket = args.run_dir.join(SOCKET);
    if UnixStream::connect(&socket).is_ok() {
        bail!("{}: a daemon answers here, which would put everything back; end it first", socket.display());
    }
    let (conf_dir, bin_dir) = (&args.configurations.conf_dir, &args.plugins.bin_dir);
    let mut failures = 0;
    let mut step = |what: &str, done: anyhow::Result<()>| match done {
        Ok(()) => say(what),
        Err(error) => {
            failures += 1;
            complain(&error.context(what.to_owned()));
        }
    };
    step("CNI configuration", conflist::remove(conf_dir).with_context(|| conf_dir.display().to_string()));
    step("routes and next-hop objects", remove_routes().await);
    step("packet filter", firewall::remove().map_err(Into::into));
    let pods = remove_pod_interfaces();
    let without_network = pods.as_ref().copied().unwrap_or_default();
    step("interfaces of pods", pods.map(drop).map_err(Into::into));
    step("plugin", remove_plugin(bin_dir));
    for folder in [&args.state_dir, &args.run_dir] {
        step(&folder.display().to_string(), remove_folder(folder));
    }
    if without_network > 0 {
        say(&format!(
            "{without_network} pods of this node have no network any more: delete them, or reboot the node"
        ));
    }
    if failures > 0 {
        bail!(
            "{failures} steps failed; what is named above is still there, and the command can be run again"
        );
    }
    say("the node is clean");
    if args.stay {
        terminate.recv().await;
    }
    Ok(())
}

async fn remove_routes() -> anyhow::Result<()> {
    let programmer = Programmer::spawn(ProgrammerConfig::default()).await?;
    let status = programmer.sweep_all().await?;
    let left = status.installed + status.unclaimed + status.next_hop_objects + status.next_hop_groups;
    if left > 0 {
        bail!("the kernel keeps {left} of them");
    }
    Ok(())
}

/// A folder that is a mount point of ours is emptied and stays.
fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    let removed = fs::remove_dir_all(folder).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::ResourceBusy if fs::read_dir(folder)?.next().is_none() => Ok(()),
        _ => Err(error),
    });
    Ok(removed?)
}
