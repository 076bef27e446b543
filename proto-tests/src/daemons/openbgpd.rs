//! OpenBGPD: three processes behind one, asked and told by bgpctl.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{as_path, ask_json, community, large_community, unscoped};
use crate::daemon::{Daemon, Process, Refused, ask, write_configuration};
use crate::release::Release;
use crate::route::{Announcement, Route};
use crate::setup::{AddPath, Session, Setup};

pub(super) const PROGRAM: &str = "/usr/sbin/bgpd";

/// A running bgpd of OpenBGPD.
pub(super) struct OpenBgpd {
    process: Process,
    release: Release,
    setup: Setup,
}

impl OpenBgpd {
    pub(super) fn start(release: &Release, namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        let socket = folder.path().join("control");
        write_configuration(
            &folder.path().join("bgpd.conf"),
            &configuration(release, setup, &socket.display()),
        )?;
        let process = Process::start(namespace, folder, &mut command(release))?;
        let mut bgpd = Self { process, release: release.clone(), setup: setup.clone() };
        bgpd.await_control()?;
        for announcement in &setup.announcements {
            bgpd.announce(announcement)?;
        }
        Ok(bgpd)
    }

    fn await_control(&mut self) -> Result<()> {
        let waited = self.process.await_file("control");
        waited.map_err(|error| match self.complaint() {
            Some(refused) => error.context(refused),
            None => error,
        })
    }

    /// `FILE:LINE: WORDS`, and the line itself.
    fn complaint(&self) -> Option<Refused> {
        let log = self.process.log().ok()?;
        let (_, rest) = log.split_once("bgpd.conf:")?;
        let (number, words) = rest.lines().next()?.split_once(": ")?;
        let text = fs::read_to_string(self.process.path("bgpd.conf")).ok()?;
        let line = text.lines().nth(number.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(Refused(format!("{words}: `{}`", line.trim())))
    }

    fn client(&self) -> Command {
        let mut command = self.release.command("/usr/sbin/bgpctl");
        command.arg("-s").arg(self.process.path("control"));
        command
    }

    fn each(&self, words: &[&str]) -> Result<()> {
        for session in &self.setup.sessions {
            ask(self.client().arg("neighbor").arg(session.scoped(session.remote())).args(words))?;
        }
        Ok(())
    }
}

/// Its children change root to the home of their user below /run, which only a service manager makes: they get a /run
/// of their own.
fn command(release: &Release) -> Command {
    command_for(release, "bgpd.conf")
}

/// The same with a configuration file of this name.
pub(crate) fn command_for(release: &Release, file: &str) -> Command {
    let inner = release.command(PROGRAM);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs run /run && mkdir -m 755 /run/openbgpd && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args()).args(["-d", "-v", "-f", file]);
    command
}

fn configuration(release: &Release, setup: &Setup, socket: &dyn std::fmt::Display) -> String {
    let Setup { own, hold_time, .. } = setup;
    let listen: Vec<String> =
        setup.listens_on().iter().map(|address| format!("listen on {address}\n")).collect();
    let listen = listen.concat();
    let sessions: String = setup.sessions.iter().map(|one| session(release, one)).collect();
    format!(
        "AS {asn}\nrouter-id {id}\nholdtime {hold_time}\nholdtime min 3\nconnect-retry 1\nfib-update no\n\
         socket \"{socket}\"\n{listen}{sessions}allow from any\nallow to any\n",
        asn = own.asn,
        id = own.v4,
    )
}

fn session(release: &Release, session: &Session) -> String {
    let features = &session.features;
    let neighbor = match features.range {
        Some(range) => range.to_string(),
        None => session.scoped(session.remote()),
    };
    let mut text = format!("neighbor {neighbor} {{\n remote-as {}\n", session.peer.asn);
    for (family, name) in [(Family::Ipv4Unicast, "IPv4"), (Family::Ipv6Unicast, "IPv6")] {
        let what = if session.carries(family) { "unicast" } else { "none" };
        text += &format!(" announce {name} {what}\n");
    }
    let mut option = |wanted: bool, words: &str| {
        if wanted {
            text += &format!(" {words}\n");
        }
    };
    if let Some(password) = &features.password {
        option(true, &format!("tcp md5sig password \"{password}\""));
    }
    option(features.ttl_security, "ttl-security yes");
    option(features.passive, "passive");
    option(features.extended_next_hop, "announce extended nexthop yes");
    option(features.add_path == Some(AddPath::Receive), "announce add-path recv yes");
    option(features.add_path == Some(AddPath::Send), "announce add-path send all");
    option(features.reflector_client, "route-reflector");
    option(features.extended_messages, "announce extended message yes");
    option(features.enhanced_refresh, "announce enhanced refresh yes");
    if let Some(role) = features.role {
        // Up to version 7 one line says both.
        match release {
            Release::Installed => option(true, &format!("announce policy {}", role.name())),
            Release::Later(_) => option(true, &format!("role {}\n announce policy yes", role.name())),
        }
    }
    if let Some(most) = features.max_prefixes {
        option(true, &format!("max-prefix {most}"));
    }
    text + "}\n"
}

fn route(shown: &Value) -> Result<Route> {
    let text = |name: &str| shown[name].as_str().with_context(|| format!("{name} of {shown}"));
    let number = |name: &str| shown[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let words = |name: &str| shown[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Route {
        prefix: text("prefix")?.parse()?,
        as_path: as_path(text("aspath")?)?,
        next_hop: unscoped(text("exit_nexthop")?).parse()?,
        med: number("metric").unwrap_or(0),
        local_pref: number("localpref").unwrap_or(100),
        communities: words("communities").map(community).collect::<Result<_>>()?,
        extended_communities: words("extended_communities")
            .map(|word| word.replace(' ', ":").replace("soo:", "ro:"))
            .collect(),
        large_communities: words("large_communities").map(large_community).collect::<Result<_>>()?,
    })
}

impl Daemon for OpenBgpd {
    fn established(&mut self) -> Result<usize> {
        let shown = ask_json(self.client().args(["-j", "show", "neighbor"]))?;
        let peers = shown["neighbors"].as_array().with_context(|| shown.to_string())?;
        Ok(peers.iter().filter(|peer| peer["state"] == "Established").count())
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        let mut routes = BTreeSet::new();
        for session in &self.setup.sessions {
            let peer = session.remote().to_string();
            let mut command = self.client();
            command.args(["-j", "show", "rib", "in", "detail"]);
            // It finds no neighbour by a link-local address; it has no other one here.
            if session.features.interface.is_none() {
                command.args(["neighbor", &peer]);
            }
            let shown = ask_json(&mut command)?;
            for path in shown["rib"].as_array().into_iter().flatten() {
                routes.insert(route(path)?);
            }
        }
        Ok(routes)
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        let Announcement { prefix, med, communities, extended_communities, large_communities } = announcement;
        let mut command = self.client();
        command.args(["network", "add", &prefix.to_string(), "med", &med.to_string()]);
        for (a, b) in communities {
            command.args(["community", &format!("{a}:{b}")]);
        }
        for community in extended_communities {
            let (kind, value) = community.split_once(':').context("extended community")?;
            command.args(["ext-community", if kind == "ro" { "soo" } else { kind }, value]);
        }
        for (a, b, c) in large_communities {
            command.args(["large-community", &format!("{a}:{b}:{c}")]);
        }
        ask(&mut command).map(drop)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        ask(self.client().args(["network", "delete", &prefix.to_string()])).map(drop)
    }

    fn refresh(&mut self) -> Result<()> {
        self.each(&["refresh"])
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        self.process
            .logged(&["received IPv4 unicast EOR marker"], &["received IPv6 unicast EOR marker"])
            .map(Some)
    }

    fn reload(&mut self, setup: &Setup) -> Result<()> {
        self.setup.sessions.clone_from(&setup.sessions);
        let socket = self.process.path("control");
        let text = configuration(&self.release, &self.setup, &socket.display());
        write_configuration(&self.process.path("bgpd.conf"), &text)?;
        ask(self.client().arg("reload")).map(drop)
    }

    fn shut_down(&mut self, text: &str) -> Result<()> {
        self.each(&["down", text])
    }

    fn crash(&mut self, namespace: &Namespace) -> Result<()> {
        fs::remove_file(self.process.path("control"))?;
        self.process.replace(Signal::SIGKILL, namespace, &mut command(&self.release))?;
        self.await_control()?;
        self.setup.announcements.clone().iter().try_for_each(|announcement| self.announce(announcement))
    }

    fn refreshes(&mut self) -> Result<Vec<u64>> {
        let shown = ask_json(self.client().args(["-j", "show", "neighbor"]))?;
        let peers = shown["neighbors"].as_array().with_context(|| shown.to_string())?;
        let received = |peer: &Value| peer["stats"]["message"]["received"]["route_refresh"].as_u64();
        Ok(peers.iter().filter_map(received).collect())
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
