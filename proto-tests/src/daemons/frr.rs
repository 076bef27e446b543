//! FRR: bgpd, and zebra, without which it knows no interface and refuses link-local next hops.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::unistd::{User, chown};
use serde_json::Value;
use tempfile::TempDir;

use super::{ask_json, communities_text, community, large_communities_text, large_community};
use crate::daemon::{Daemon, Process, Setup, ask};
use crate::route::{Announcement, Route};

pub(crate) const PROGRAM: &str = "/usr/lib/frr/bgpd";
pub(crate) const ZEBRA: &str = "/usr/lib/frr/zebra";

/// A running bgpd and its zebra.
pub(super) struct Frr {
    process: Process,
    _zebra: Process,
    setup: Setup,
    /// Route maps that were made so far; each announcement has one of its own.
    route_maps: usize,
}

impl Frr {
    pub(super) fn start(namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = own_folder()?;
        let mut command = daemon(ZEBRA, folder.path());
        command.arg("-z").arg(folder.path().join("zserv.api"));
        let mut zebra = Process::start(namespace, folder, &mut command)?;
        zebra.await_file("zserv.api")?;

        let folder = own_folder()?;
        fs::write(folder.path().join("bgpd.conf"), configuration(setup))?;
        let mut command = daemon(PROGRAM, folder.path());
        command.args(["-f", "bgpd.conf", "-z"]).arg(zebra.path("zserv.api"));
        let process = Process::start(namespace, folder, &mut command)?;
        let mut frr = Self { process, _zebra: zebra, setup: setup.clone(), route_maps: 0 };
        frr.process.await_file("bgpd.vty")?;
        for announcement in &setup.announcements {
            frr.announce(announcement)?;
        }
        Ok(frr)
    }

    fn vtysh(&self) -> Command {
        let mut command = Command::new("/usr/bin/vtysh");
        command.arg("--vty_socket").arg(self.process.path("")).args(["-d", "bgpd"]);
        command
    }

    fn configure(&self, lines: &[String]) -> Result<()> {
        let mut command = self.vtysh();
        command.args(["-c", "configure terminal"]).args(lines.iter().flat_map(|line| ["-c", line]));
        ask(&mut command).map(drop)
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
pub(crate) fn own_folder() -> Result<TempDir> {
    let folder = Process::folder()?;
    let user = User::from_name("frr")?.context("there is no user frr")?;
    chown(folder.path(), Some(user.uid), Some(user.gid))?;
    Ok(folder)
}

/// A daemon of FRR with all its files in one folder.
pub(crate) fn daemon(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    // -P 0: no telnet port.
    command.args(["-P", "0", "--log", "stdout", "--log-level", "informational"]);
    command.arg("-i").arg(folder.join("pid")).arg("--vty_socket").arg(folder);
    command
}

fn configuration(setup: &Setup) -> String {
    let Setup { own, peer, hold_time, .. } = setup;
    let keepalive = hold_time / 3;
    let neighbor = |address: &dyn std::fmt::Display| {
        format!(
            " neighbor {address} remote-as {}\n neighbor {address} timers {keepalive} {hold_time}\n \
             neighbor {address} timers connect 1\n neighbor {address} advertisement-interval 0\n",
            peer.asn
        )
    };
    format!(
        "bgp route-map delay-timer 0\n\
         router bgp {asn}\n bgp router-id {id}\n no bgp ebgp-requires-policy\n no bgp network import-check\n \
         no bgp default ipv4-unicast\n{v4}{v6} \
         address-family ipv4 unicast\n  neighbor {peer4} activate\n exit-address-family\n \
         address-family ipv6 unicast\n  neighbor {peer6} activate\n exit-address-family\n",
        asn = own.asn,
        id = own.v4,
        v4 = neighbor(&peer.v4),
        v6 = neighbor(&peer.v6),
        peer4 = peer.v4,
        peer6 = peer.v6,
    )
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
    let next_hop = path["nexthops"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|hop| hop["scope"] != "link-local")
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
        large_communities: words(&path["largeCommunity"])
            .iter()
            .map(|word| large_community(word))
            .collect::<Result<_>>()?,
    })
}

impl Daemon for Frr {
    fn established(&mut self) -> Result<usize> {
        let mut established = 0;
        for (family, peer) in
            [("ipv4", self.setup.peer.v4.to_string()), ("ipv6", self.setup.peer.v6.to_string())]
        {
            let shown =
                ask_json(self.vtysh().args(["-c", &format!("show bgp {family} unicast summary json")]))?;
            established += usize::from(shown["peers"][peer]["state"] == "Established");
        }
        Ok(established)
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        let mut routes = self.routes_of("ipv4")?;
        routes.extend(self.routes_of("ipv6")?);
        Ok(routes.into_iter().collect())
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        let Announcement { prefix, med, communities, large_communities } = announcement;
        let map = format!("OUT{}", self.route_maps);
        self.route_maps += 1;
        let mut lines = vec![format!("route-map {map} permit 10")];
        if !communities.is_empty() {
            lines.push(format!("set community {}", communities_text(communities)));
        }
        if !large_communities.is_empty() {
            lines.push(format!("set large-community {}", large_communities_text(large_communities)));
        }
        lines.push(format!("set metric {med}"));
        lines.push("exit".to_owned());
        lines.push(format!("router bgp {}", self.setup.own.asn));
        lines.push(format!("address-family {} unicast", family_of(*prefix)));
        lines.push(format!("network {prefix} route-map {map}"));
        self.configure(&lines)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
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

    fn process(&self) -> &Process {
        &self.process
    }
}
