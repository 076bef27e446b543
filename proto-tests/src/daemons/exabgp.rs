//! ExaBGP: it has no table. A process of ours reads its events and hands it commands.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::{communities_text, large_communities_text};
use crate::daemon::{Daemon, Process, Setup, write_configuration};
use crate::route::{Announcement, Route};

pub(super) const PROGRAM: &str = "/usr/sbin/exabgp";

/// A running exabgp.
pub(super) struct ExaBgp {
    process: Process,
    setup: Setup,
    commands: File,
}

impl ExaBgp {
    pub(super) fn start(namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        let path = folder.path();
        mkfifo(&path.join("commands"), Mode::S_IRUSR | Mode::S_IWUSR)?;
        // The background job would lose its standard input, so it is kept as descriptor 3.
        let helper = format!(
            "#!/bin/sh\nexec 3<&0\ncat <&3 >>{events} &\nexec cat {commands}\n",
            events = path.join("events").display(),
            commands = path.join("commands").display()
        );
        fs::write(path.join("helper"), helper)?;
        fs::set_permissions(path.join("helper"), fs::Permissions::from_mode(0o755))?;
        File::create(path.join("events"))?;
        let text = configuration(setup, &path.join("helper").display());
        write_configuration(&path.join("exabgp.conf"), &text)?;
        let mut command = Command::new(PROGRAM);
        command.arg(path.join("exabgp.conf")).envs([
            ("exabgp.daemon.user", "root"),
            ("exabgp.daemon.drop", "false"),
            ("exabgp.tcp.delay", "0"),
            ("exabgp.tcp.bind", &format!("{} {}", setup.own.v4, setup.own.v6)),
            ("exabgp.api.cli", "false"),
            ("exabgp.log.destination", "stdout"),
        ]);
        // Both directions: opening a pipe for writing alone would wait for its reader.
        let commands = File::options().read(true).write(true).open(path.join("commands"))?;
        let process = Process::start(namespace, folder, &mut command)?;
        let mut exabgp = Self { process, setup: setup.clone(), commands };
        for announcement in &setup.announcements {
            exabgp.announce(announcement)?;
        }
        Ok(exabgp)
    }

    fn command(&mut self, line: &str) -> Result<()> {
        writeln!(self.commands, "{line}").context("commands of exabgp")
    }

    fn neighbor(&self, prefix: IpNet) -> String {
        format!("neighbor {}", self.setup.peer.address(prefix))
    }

    fn events(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.process.path("events"))?;
        // A line that is being written is complete the next time; answers to commands are not JSON.
        Ok(text
            .lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}

fn configuration(setup: &Setup, helper: &dyn std::fmt::Display) -> String {
    let Setup { own, peer, hold_time, .. } = setup;
    let neighbor = |local: &dyn std::fmt::Display, remote: &dyn std::fmt::Display, family: &str| {
        format!(
            "neighbor {remote} {{\n router-id {};\n local-address {local};\n local-as {};\n peer-as {};\n \
             hold-time {hold_time};\n family {{ {family} unicast; }}\n \
             capability {{ route-refresh enable; asn4 enable; graceful-restart 20; }}\n \
             api {{ processes [ table ]; neighbor-changes; receive {{ parsed; update; notification; }} }}\n}}\n",
            own.v4, own.asn, peer.asn
        )
    };
    format!(
        "process table {{\n run {helper};\n encoder json;\n}}\n{}{}",
        neighbor(&own.v4, &peer.v4, "ipv4"),
        neighbor(&own.v6, &peer.v6, "ipv6"),
    )
}

/// Adds what an update announces to the table and takes away what it withdraws.
fn apply(table: &mut BTreeMap<IpNet, Route>, update: &Value) -> Result<()> {
    for nlri in update["withdraw"].as_object().into_iter().flat_map(|families| families.values()) {
        for prefix in prefixes(nlri)? {
            table.remove(&prefix);
        }
    }
    let number = |value: &Value| -> Result<u32> {
        value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .with_context(|| format!("number {value}"))
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let attributes = &update["attribute"];
    for hops in update["announce"].as_object().into_iter().flat_map(|families| families.values()) {
        // It lists the prefixes once for the global next hop and once for the link-local one beside it.
        let several = hops.as_object().is_some_and(|hops| hops.len() > 1);
        let hops = hops.as_object().into_iter().flatten();
        for (next_hop, nlri) in hops.filter(|(next_hop, _)| !(several && next_hop.starts_with("fe80:"))) {
            for prefix in prefixes(nlri)? {
                let route = Route {
                    prefix,
                    as_path: list(&attributes["as-path"]).iter().map(number).collect::<Result<_>>()?,
                    next_hop: next_hop.parse()?,
                    med: attributes.get("med").map_or(Ok(0), number)?,
                    local_pref: attributes.get("local-preference").map_or(Ok(100), number)?,
                    communities: list(&attributes["community"])
                        .iter()
                        .map(|pair| {
                            Ok((u16::try_from(number(&pair[0])?)?, u16::try_from(number(&pair[1])?)?))
                        })
                        .collect::<Result<_>>()?,
                    large_communities: list(&attributes["large-community"])
                        .iter()
                        .map(|three| Ok((number(&three[0])?, number(&three[1])?, number(&three[2])?)))
                        .collect::<Result<_>>()?,
                };
                table.insert(prefix, route);
            }
        }
    }
    Ok(())
}

fn prefixes(nlri: &Value) -> Result<Vec<IpNet>> {
    let nlri = nlri.as_array().into_iter().flatten();
    nlri.map(|nlri| Ok(nlri["nlri"].as_str().with_context(|| nlri.to_string())?.parse()?)).collect()
}

impl Daemon for ExaBgp {
    fn established(&mut self) -> Result<usize> {
        let mut states = BTreeMap::new();
        for event in self.events()? {
            if event["type"] == "state" {
                states.insert(
                    event["neighbor"]["address"]["peer"].to_string(),
                    event["neighbor"]["state"] == "up",
                );
            }
        }
        Ok(states.values().filter(|&&up| up).count())
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        let mut tables: BTreeMap<String, BTreeMap<IpNet, Route>> = BTreeMap::new();
        for event in self.events()? {
            let table = tables.entry(event["neighbor"]["address"]["peer"].to_string()).or_default();
            if event["neighbor"]["state"] == "down" {
                table.clear();
            }
            apply(table, &event["neighbor"]["message"]["update"]).with_context(|| event.to_string())?;
        }
        Ok(tables.into_values().flat_map(BTreeMap::into_values).collect())
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        let Announcement { prefix, med, communities, large_communities } = announcement;
        let mut line = format!("{} announce route {prefix} next-hop self med {med}", self.neighbor(*prefix));
        if !communities.is_empty() {
            line.push_str(" community [ ");
            line.push_str(&communities_text(communities));
            line.push_str(" ]");
        }
        if !large_communities.is_empty() {
            line.push_str(" large-community [ ");
            line.push_str(&large_communities_text(large_communities));
            line.push_str(" ]");
        }
        self.command(&line)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.command(&format!("{} withdraw route {prefix} next-hop self", self.neighbor(prefix)))
    }

    fn refresh(&mut self) -> Result<()> {
        self.command(&format!("neighbor {} announce route-refresh ipv4 unicast", self.setup.peer.v4))?;
        self.command(&format!("neighbor {} announce route-refresh ipv6 unicast", self.setup.peer.v6))
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        // It does not hand the marker to its processes.
        Ok(None)
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
