//! GoBGP.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use serde_json::Value;

use super::{ask_json, communities_text, large_communities_text};
use crate::daemon::{Daemon, Process, Setup, ask, write_configuration};
use crate::route::{Announcement, Route};
use crate::wait;

pub(super) const PROGRAM: &str = "/usr/bin/gobgpd";

/// A running gobgpd.
pub(super) struct GoBgp {
    process: Process,
    setup: Setup,
}

impl GoBgp {
    pub(super) fn start(namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        let path = folder.path();
        write_configuration(&path.join("gobgpd.toml"), &configuration(setup))?;
        let mut command = Command::new(PROGRAM);
        command.args(["-f", "gobgpd.toml", "-l", "debug", "--pprof-disable", "--api-hosts"]);
        command.arg(format!("unix://{}", path.join("api").display()));
        let process = Process::start(namespace, folder, &mut command)?;
        let mut gobgp = Self { process, setup: setup.clone() };
        gobgp.process.await_file("api")?;
        // The API answers a little before the configuration is in force.
        wait::until("gobgpd has read its configuration", || {
            let shown = gobgp.json(&["neighbor"])?;
            Ok(if shown.as_array().is_some_and(|peers| peers.len() == 2) {
                Ok(())
            } else {
                Err(shown.to_string())
            })
        })?;
        for announcement in &setup.announcements {
            gobgp.announce(announcement)?;
        }
        Ok(gobgp)
    }

    fn client(&self) -> Command {
        let mut command = Command::new("/usr/bin/gobgp");
        command.arg("--target").arg(format!("unix://{}", self.process.path("api").display()));
        command
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        ask_json(self.client().args(words).arg("-j"))
    }
}

fn configuration(setup: &Setup) -> String {
    let Setup { own, peer, hold_time, .. } = setup;
    let neighbor = |address: &dyn std::fmt::Display, family: &str| {
        format!(
            "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{address}\"\npeer-as = {asn}\n\
             [neighbors.timers.config]\nconnect-retry = 1\nidle-hold-time-after-reset = 1\nhold-time = {hold_time}\n\
             keepalive-interval = {keepalive}\n\
             [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"{family}\"\n\
             [neighbors.graceful-restart.config]\nenabled = true\nrestart-time = 20\n\
             [neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true\n",
            asn = peer.asn,
            keepalive = hold_time / 3,
        )
    };
    format!(
        "[global.config]\nas = {}\nrouter-id = \"{}\"\nport = 179\nlocal-address-list = [\"{}\", \"{}\"]\n{}{}",
        own.asn,
        own.v4,
        own.v4,
        own.v6,
        neighbor(&peer.v4, "ipv4-unicast"),
        neighbor(&peer.v6, "ipv6-unicast"),
    )
}

fn family_of(prefix: IpNet) -> &'static str {
    match prefix {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}

/// Reads one path: its attributes are a list of objects with the attribute's type code.
fn route(prefix: &str, path: &Value) -> Result<Route> {
    let attribute = |code: u8| {
        path["attrs"].as_array().into_iter().flatten().find(move |attribute| attribute["type"] == code)
    };
    let number = |value: &Value| -> Result<u32> {
        value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .with_context(|| format!("number {value}"))
    };
    let field = |code: u8, name: &str| attribute(code).map(|attribute| number(&attribute[name])).transpose();
    let list = |value: Option<&Value>, name: &str| -> Vec<Value> {
        value.and_then(|value| value[name].as_array()).cloned().unwrap_or_default()
    };
    let next_hop = attribute(3).or_else(|| attribute(14)).and_then(|attribute| attribute["nexthop"].as_str());
    let mut as_path = Vec::new();
    for segment in list(attribute(2), "as_paths") {
        for asn in list(Some(&segment), "asns") {
            as_path.push(number(&asn)?);
        }
    }
    Ok(Route {
        prefix: prefix.parse()?,
        as_path,
        next_hop: next_hop.context("next hop")?.parse()?,
        med: field(4, "metric")?.unwrap_or(0),
        local_pref: field(5, "value")?.unwrap_or(100),
        communities: list(attribute(8), "communities")
            .iter()
            .map(|value| number(value).map(|number| ((number >> 16) as u16, (number & 0xffff) as u16)))
            .collect::<Result<_>>()?,
        large_communities: list(attribute(32), "value")
            .iter()
            .map(|value| {
                Ok((number(&value["ASN"])?, number(&value["LocalData1"])?, number(&value["LocalData2"])?))
            })
            .collect::<Result<_>>()?,
    })
}

impl Daemon for GoBgp {
    fn established(&mut self) -> Result<usize> {
        const ESTABLISHED: u64 = 6;
        let shown = self.json(&["neighbor"])?;
        let peers = shown.as_array().with_context(|| shown.to_string())?;
        Ok(peers.iter().filter(|peer| peer["state"]["session_state"].as_u64() == Some(ESTABLISHED)).count())
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        let mut routes = BTreeSet::new();
        for (family, peer) in
            [("ipv4", self.setup.peer.v4.to_string()), ("ipv6", self.setup.peer.v6.to_string())]
        {
            let shown = match self.json(&["neighbor", &peer, "adj-in", "-a", family]) {
                Err(error) if format!("{error:#}").contains("session is not established") => continue,
                answer => answer?,
            };
            for (prefix, paths) in shown.as_object().into_iter().flatten() {
                for path in paths.as_array().into_iter().flatten() {
                    routes.insert(route(prefix, path).with_context(|| path.to_string())?);
                }
            }
        }
        Ok(routes)
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        let Announcement { prefix, med, communities, large_communities } = announcement;
        let mut command = self.client();
        command.args([
            "global",
            "rib",
            "-a",
            family_of(*prefix),
            "add",
            &prefix.to_string(),
            "med",
            &med.to_string(),
        ]);
        command.args(["origin", "igp"]);
        if !communities.is_empty() {
            command.args(["community", &communities_text(communities).replace(' ', ",")]);
        }
        if !large_communities.is_empty() {
            command.args(["large-community", &large_communities_text(large_communities).replace(' ', ",")]);
        }
        ask(&mut command).map(drop)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        ask(self.client().args(["global", "rib", "-a", family_of(prefix), "del", &prefix.to_string()]))
            .map(drop)
    }

    fn refresh(&mut self) -> Result<()> {
        for peer in [self.setup.peer.v4.to_string(), self.setup.peer.v6.to_string()] {
            ask(self.client().args(["neighbor", &peer, "softresetin"]))?;
        }
        Ok(())
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        let key = |address: &dyn std::fmt::Display| format!("\"Key\":\"{address}\"");
        let (v4, v6) = (key(&self.setup.peer.v4), key(&self.setup.peer.v6));
        self.process.logged(&[&v4, "EOR received"], &[&v6, "EOR received"]).map(Some)
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
