//! A router that runs the configuration that it is given, as it is: what `muslin router-config` wrote.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use muslin_netns::Namespace;

use crate::daemon::{Process, Refused, ask, write_configuration};
use crate::daemons::{Candidate, Kind, bird, frr, gobgp, openbgpd};
use crate::release::Release;
use crate::wait;

/// A daemon that runs with somebody's configuration.
#[derive(Debug)]
pub struct Router {
    process: Process,
    /// FRR's bgpd does not go without it.
    _zebra: Option<Process>,
}

impl Router {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start, or does not understand a line of the configuration.
    pub fn start(candidate: &Candidate, namespace: &Namespace, configuration: &str) -> Result<Self> {
        let release = &candidate.release;
        match candidate.kind {
            Kind::Frr => Self::frr(release, namespace, configuration),
            Kind::Bird | Kind::Bird3 => {
                let mut command = release.command(bird::PROGRAM);
                command.args(["-f", "-c", "router.conf", "-s", "control"]);
                Self::lone(namespace, configuration, &mut command, Some("control"))
            }
            Kind::GoBgp => {
                let mut command = release.command(gobgp::PROGRAM);
                command.args([
                    "-f",
                    "router.conf",
                    "-t",
                    "toml",
                    "--pprof-disable",
                    "--api-hosts",
                    "unix:///proc/self/cwd/api",
                ]);
                Self::lone(namespace, configuration, &mut command, None)
            }
            Kind::OpenBgpd => {
                Self::lone(namespace, configuration, &mut openbgpd::command_for(release, "router.conf"), None)
            }
            Kind::ExaBgp => bail!("ExaBGP is no router"),
        }
    }

    fn lone(namespace: &Namespace, text: &str, command: &mut Command, ready: Option<&str>) -> Result<Self> {
        let folder = Process::folder()?;
        write_configuration(&folder.path().join("router.conf"), text)?;
        let mut process = Process::start(namespace, folder, command)?;
        if let Some(file) = ready {
            process.await_file(file).with_context(|| text.to_owned())?;
        }
        Ok(Self { process, _zebra: None })
    }

    fn frr(release: &Release, namespace: &Namespace, text: &str) -> Result<Self> {
        let folder = frr::own_folder()?;
        let mut command = frr::daemon(release, frr::ZEBRA, folder.path());
        command.arg("-z").arg(folder.path().join("zserv.api"));
        let mut zebra = Process::start(namespace, folder, &mut command)?;
        zebra.await_file("zserv.api")?;
        zebra.await_file("zebra.vty")?;
        let folder = frr::own_folder()?;
        fs::write(folder.path().join("bgpd.conf"), text)?;
        let mut command = frr::daemon(release, frr::PROGRAM, folder.path());
        command.args(["-f", "bgpd.conf", "-z"]).arg(zebra.path("zserv.api"));
        let mut process = Process::start(namespace, folder, &mut command)?;
        process.await_file("bgpd.vty")?;
        // It goes on without the lines that it does not know.
        if let Some(Refused(words)) = process.complaint(&["% ", "Unknown command", "line "]) {
            bail!("{words}\n{text}");
        }
        wait::until("bgpd is known to zebra", || {
            let mut command = release.command("/usr/bin/vtysh");
            command.arg("--vty_socket").arg(zebra.path("")).args(["-d", "zebra"]);
            let clients = ask(command.args(["-c", "show zebra client summary"]))?;
            Ok(if clients.lines().any(|line| line.starts_with("bgp")) { Ok(()) } else { Err(clients) })
        })?;
        Ok(Self { process, _zebra: Some(zebra) })
    }

    /// Complains when it has ended.
    ///
    /// # Errors
    /// Its log, when it has.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }

    /// Everything that it printed so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }
}
