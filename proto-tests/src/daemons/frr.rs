//! FRR: bgpd, and zebra, without which it knows no interface and refuses link-local next hops.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::signal::Signal;
use nix::unistd::{User, chown};
use serde_json::Value;
use tempfile::TempDir;

use super::{ask_json, communities_text, community, large_communities_text, large_community};
use crate::daemon::{Daemon, Process, Refused, ask};
use crate::release::Release;
use crate::route::{Announcement, Route};
use crate::setup::{AddPath, Session, Setup};
use crate::wait;

/// The daemon that speaks BGP.
pub const PROGRAM: &str = "/usr/lib/frr/bgpd";
/// The daemon that speaks with the kernel.
pub const ZEBRA: &str = "/usr/lib/frr/zebra";

/// A running bgpd and its zebra.
pub(super) struct Frr {
    process: Process,
    zebra: Process,
    release: Release,
    setup: Setup,
    /// Route maps that were made so far; each announcement has one of its own.
    route_maps: usize,
}

impl Frr {
    pub(super) fn start(release: &Release, namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = own_folder()?;
        let mut command = daemon(release, ZEBRA, folder.path());
        command.arg("-z").arg(folder.path().join("zserv.api"));
        let mut zebra = Process::start(namespace, folder, &mut command)?;
        zebra.await_file("zserv.api")?;

        let folder = own_folder()?;
        fs::write(folder.path().join("bgpd.conf"), configuration(setup))?;
        let mut command = bgpd(release, folder.path(), &zebra);
        let process = Process::start(namespace, folder, &mut command)?;
        let mut frr = Self { process, zebra, release: release.clone(), setup: setup.clone(), route_maps: 0 };
        frr.process.await_file("bgpd.vty")?;
        frr.await_zebra()?;
        // It goes on without the lines that it does not know.
        if let Some(refused) = frr.process.complaint(&["% ", "Unknown command"]) {
            bail!(refused);
        }
        for announcement in &setup.announcements {
            let lines = frr.announcing(announcement)?;
            frr.configure(&lines)?;
        }
        Ok(frr)
    }

    /// A bgpd that has a session before it has its zebra drops routes with link-local next hops, for good.
    fn await_zebra(&self) -> Result<()> {
        wait::until("bgpd is known to zebra", || {
            let mut command = self.release.command("/usr/bin/vtysh");
            command.arg("--vty_socket").arg(self.zebra.path("")).args(["-d", "zebra"]);
            // Its terminal opens after the socket of its clients.
            let clients = match ask(command.args(["-c", "show zebra client summary"])) {
                Ok(clients) => clients,
                Err(refused) => return Ok(Err(format!("{refused:#}"))),
            };
            Ok(if clients.lines().any(|line| line.starts_with("bgp")) { Ok(()) } else { Err(clients) })
        })
    }

    fn vtysh(&self) -> Command {
        let mut command = self.release.command("/usr/bin/vtysh");
        command.arg("--vty_socket").arg(self.process.path("")).args(["-d", "bgpd"]);
        command
    }

    fn configure(&self, lines: &[String]) -> Result<()> {
        let mut command = self.vtysh();
        command.args(["-c", "configure terminal"]).args(lines.iter().flat_map(|line| ["-c", line]));
        let said = ask(&mut command)?;
        match said.lines().find(|line| line.starts_with('%')) {
            Some(line) => bail!(Refused(line.to_owned())),
            None => Ok(()),
        }
    }

    /// The lines that announce.
    fn announcing(&mut self, announcement: &Announcement) -> Result<Vec<String>> {
        let Announcement { prefix, med, communities, extended_communities, large_communities } = announcement;
        let map = format!("OUT{}", self.route_maps);
        self.route_maps += 1;
        let mut lines = vec![format!("route-map {map} permit 10")];
        // A line of it cannot be long: many communities are added entry by entry.
        let communities: Vec<_> = communities.iter().collect();
        for (index, some) in communities.chunks(100).enumerate() {
            if index > 0 {
                lines.push("on-match next".to_owned());
                lines.push(format!("route-map {map} permit {}", 10 + index));
            }
            let additive = if index > 0 { " additive" } else { "" };
            lines.push(format!("set community {}{additive}", communities_text(some.iter().copied())));
        }
        for community in extended_communities {
            let (kind, value) = community.split_once(':').context("extended community")?;
            let kind = if kind == "ro" { "soo" } else { kind };
            lines.push(format!("set extcommunity {kind} {value}"));
        }
        if !large_communities.is_empty() {
            lines.push(format!("set large-community {}", large_communities_text(large_communities)));
        }
        lines.push(format!("set metric {med}"));
        lines.push("exit".to_owned());
        lines.push(format!("router bgp {}", self.setup.own.asn));
        lines.push(format!("address-family {} unicast", family_of(*prefix)));
        lines.push(format!("network {prefix} route-map {map}"));
        Ok(lines)
    }

    fn routes_of(&self, family: &str) -> Result<Vec<Route>> {
        let table = ask_json(self.vtysh().args(["-c", &format!("show bgp {family} unicast json")]))?;
        let prefixes = table["routes"].as_object().context("routes")?.keys();
        let mut routes = Vec::new();
        for prefix in prefixes {
            let shown =
                ask_json(self.vtysh().args(["-c", &format!("show bgp {family} unicast {prefix} json")]))?;
            for path in shown["paths"].as_array().into_iter().flatten() {
                // Paths without a peer's address are our own.
                if path["peer"]["peerId"] == "0.0.0.0" || path["peer"]["peerId"] == "::" {
                    continue;
                }
                routes.push(route(prefix, path).with_context(|| path.to_string())?);
            }
        }
        Ok(routes)
    }
}

/// A folder that belongs to the user to which FRR's daemons change at their start.
///
/// # Errors
/// When it cannot be made, or there is no such user.
pub fn own_folder() -> Result<TempDir> {
    let folder = Process::folder()?;
    let user = User::from_name("frr")?.context("there is no user frr")?;
    chown(folder.path(), Some(user.uid), Some(user.gid))?;
    Ok(folder)
}

/// A daemon of FRR with all its files in one folder.
/// One of its daemons with its files in a folder of its own.
pub fn daemon(release: &Release, program: &str, folder: &Path) -> Command {
    let mut command = release.command(program);
    // -P 0: no telnet port.
    command.args(["-P", "0", "--log", "stdout", "--log-level", "informational"]);
    command.arg("-i").arg(folder.join("pid")).arg("--vty_socket").arg(folder);
    command
}

fn bgpd(release: &Release, folder: &Path, zebra: &Process) -> Command {
    let mut command = daemon(release, PROGRAM, folder);
    command.args(["-f", "bgpd.conf", "-z"]).arg(zebra.path("zserv.api"));
    command
}

fn configuration(setup: &Setup) -> String {
    let Setup { own, sessions, hold_time, .. } = setup;
    let mut text = format!(
        "bgp route-map delay-timer 0\nrouter bgp {}\n bgp router-id {}\n no bgp ebgp-requires-policy\n \
         no bgp network import-check\n no bgp default ipv4-unicast\n \
         bgp log-neighbor-changes\n",
        own.asn, own.v4
    );
    if sessions.iter().any(|session| session.features.restarts) {
        text += " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n";
    }
    if sessions.iter().any(|session| session.features.long_lived) {
        text += " bgp graceful-restart restart-time 2\n bgp long-lived-graceful-restart stale-time 60\n";
    }
    for session in sessions {
        text += &transport(session, *hold_time);
    }
    for (family, name) in [(Family::Ipv4Unicast, "ipv4"), (Family::Ipv6Unicast, "ipv6")] {
        text += &format!(" address-family {name} unicast\n");
        for session in sessions.iter().filter(|session| session.carries(family)) {
            text += &carried(session);
        }
        text += " exit-address-family\n";
    }
    text
}

/// What its configuration calls a session: the peer's address, or a group for a range.
fn called(session: &Session) -> String {
    let features = &session.features;
    match features.range {
        Some(_) => session.name(),
        None => match features.interface {
            Some(interface) => interface.name.to_owned(),
            None => session.remote().to_string(),
        },
    }
}

fn transport(session: &Session, hold_time: u16) -> String {
    let (neighbor, features) = (called(session), &session.features);
    let mut text = String::new();
    let mut line = |line: &str| text += &format!(" {line}\n");
    if features.range.is_some() {
        line(&format!("neighbor {neighbor} peer-group"));
    }
    let interface = if features.interface.is_some() { "interface " } else { "" };
    line(&format!("neighbor {neighbor} {interface}remote-as {}", session.peer.asn));
    line(&format!("neighbor {neighbor} timers {} {hold_time}", hold_time / 3));
    line(&format!("neighbor {neighbor} timers connect 1"));
    line(&format!("neighbor {neighbor} advertisement-interval 0"));
    if let Some(password) = &features.password {
        line(&format!("neighbor {neighbor} password {password}"));
    }
    if features.ttl_security {
        line(&format!("neighbor {neighbor} ttl-security hops 1"));
    }
    if let Some(role) = features.role {
        line(&format!("neighbor {neighbor} local-role {}", role.name()));
    }
    if features.passive {
        line(&format!("neighbor {neighbor} passive"));
    }
    if features.extended_next_hop {
        line(&format!("neighbor {neighbor} capability extended-nexthop"));
    }
    if let Some(range) = features.range {
        line(&format!("bgp listen range {range} peer-group {neighbor}"));
    }
    text
}

/// The lines of a session within an address family.
fn carried(session: &Session) -> String {
    let (neighbor, features) = (called(session), &session.features);
    let mut text = format!("  neighbor {neighbor} activate\n");
    if features.reflector_client {
        text += &format!("  neighbor {neighbor} route-reflector-client\n");
    }
    if features.add_path == Some(AddPath::Send) {
        text += &format!("  neighbor {neighbor} addpath-tx-all-paths\n");
    }
    if let Some(most) = features.max_prefixes {
        text += &format!("  neighbor {neighbor} maximum-prefix {most}\n");
    }
    text
}

fn family_of(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}

fn route(prefix: &str, path: &Value) -> Result<Route> {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let words = |value: &Value| -> Vec<String> {
        value["list"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let hops = path["nexthops"].as_array().into_iter().flatten();
    let next_hop = hops
        .clone()
        .find(|hop| hop["scope"] != "link-local")
        .or(hops.last())
        .and_then(|hop| hop["ip"].as_str())
        .context("next hop")?;
    Ok(Route {
        prefix: prefix.parse()?,
        as_path: path["aspath"]["segments"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|segment| segment["list"].as_array().into_iter().flatten())
            .map(|asn| number(asn).context("AS number"))
            .collect::<Result<_>>()?,
        next_hop: next_hop.parse()?,
        med: number(&path["metric"]).unwrap_or(0),
        local_pref: number(&path["locPrf"]).unwrap_or(100),
        communities: words(&path["community"]).iter().map(|word| community(word)).collect::<Result<_>>()?,
        extended_communities: path["extendedCommunity"]["string"]
            .as_str()
            .into_iter()
            .flat_map(str::split_whitespace)
            .map(|word| word.replace("RT:", "rt:").replace("SoO:", "ro:"))
            .collect(),
        large_communities: words(&path["largeCommunity"])
            .iter()
            .map(|word| large_community(word))
            .collect::<Result<_>>()?,
    })
}

impl Daemon for Frr {
    fn established(&mut self) -> Result<usize> {
        let mut established = 0;
        for session in &self.setup.sessions {
            let family = if session.carries(Family::Ipv4Unicast) { "ipv4" } else { "ipv6" };
            let shown =
                ask_json(self.vtysh().args(["-c", &format!("show bgp {family} unicast summary json")]))?;
            let peers = shown["peers"].as_object().into_iter().flatten();
            established += peers
                .filter(|(address, peer)| {
                    let same = match session.features.range {
                        Some(range) => {
                            address.parse().is_ok_and(|address: std::net::IpAddr| range.contains(&address))
                        }
                        None => **address == called(session),
                    };
                    same && peer["state"] == "Established"
                })
                .count();
        }
        Ok(established)
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        let mut routes = self.routes_of("ipv4")?;
        routes.extend(self.routes_of("ipv6")?);
        Ok(routes.into_iter().collect())
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        let lines = self.announcing(announcement)?;
        self.setup.announcements.push(announcement.clone());
        self.configure(&lines)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.setup.announcements.retain(|announcement| announcement.prefix != prefix);
        self.configure(&[
            format!("router bgp {}", self.setup.own.asn),
            format!("address-family {} unicast", family_of(prefix)),
            format!("no network {prefix}"),
        ])
    }

    fn refresh(&mut self) -> Result<()> {
        ask(self.vtysh().args([
            "-c",
            "clear bgp ipv4 unicast * soft in",
            "-c",
            "clear bgp ipv6 unicast * soft in",
        ]))
        .map(drop)
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        self.process
            .logged(&["rcvd End-of-RIB for IPv4 Unicast"], &["rcvd End-of-RIB for IPv6 Unicast"])
            .map(Some)
    }

    fn reload(&mut self, setup: &Setup) -> Result<()> {
        self.setup.sessions.clone_from(&setup.sessions);
        let mut lines = vec![format!("router bgp {}", self.setup.own.asn)];
        for session in &self.setup.sessions {
            lines.extend(transport(session, self.setup.hold_time).lines().map(|line| line.trim().to_owned()));
        }
        self.configure(&lines)
    }

    fn shut_down(&mut self, text: &str) -> Result<()> {
        let sessions = self.setup.sessions.iter();
        let mut lines = vec![format!("router bgp {}", self.setup.own.asn)];
        lines.extend(sessions.map(|one| format!("neighbor {} shutdown message {text}", called(one))));
        self.configure(&lines)
    }

    /// Only bgpd: zebra keeps the kernel's routes.
    fn crash(&mut self, namespace: &Namespace) -> Result<()> {
        // What it announces has to be there from the start: its End-of-RIB must not come before.
        let mut text = configuration(&self.setup);
        for announcement in self.setup.announcements.clone() {
            text += &(self.announcing(&announcement)?.join("\n") + "\n");
        }
        fs::write(self.process.path("bgpd.conf"), text)?;
        fs::remove_file(self.process.path("bgpd.vty"))?;
        let mut command = bgpd(&self.release, &self.process.path(""), &self.zebra);
        self.process.replace(Signal::SIGKILL, namespace, &mut command)?;
        self.process.await_file("bgpd.vty")
    }

    fn refreshes(&mut self) -> Result<Vec<u64>> {
        let shown = ask_json(self.vtysh().args(["-c", "show bgp neighbors json"]))?;
        let count = |session: &Session| {
            shown[called(session)]["messageStats"]["routeRefreshRecv"].as_u64().unwrap_or(0)
        };
        Ok(self.setup.sessions.iter().map(count).collect())
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
