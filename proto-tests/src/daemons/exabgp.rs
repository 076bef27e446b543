//! ExaBGP: it has no table. A process of ours reads its events and hands it commands.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::{communities_text, large_communities_text};
use crate::daemon::{Daemon, Process, Refused, write_configuration};
use crate::release::Release;
use crate::route::{Announcement, End, Route, family};
use crate::setup::{AddPath, Session, Setup};
use crate::wait;

/// Names of its program: the one of the package, and the one that an alternative would lead to.
pub(super) const PROGRAMS: [&str; 2] = ["/usr/sbin/exabgp", "/usr/sbin/python3-exabgp"];

/// A prefix and, where there may be several paths to it, the identifier of one.
type Key = (IpNet, Option<String>);

/// A running exabgp.
pub(super) struct ExaBgp {
    process: Process,
    release: Release,
    setup: Setup,
    commands: File,
}

impl ExaBgp {
    pub(super) fn start(release: &Release, namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        let path = folder.path();
        mkfifo(&path.join("commands"), Mode::S_IRUSR | Mode::S_IWUSR)?;
        // The background job would lose its standard input, so it is kept as descriptor 3.
        let helper = format!(
            "#!/bin/sh\n: >{helped}\nexec 3<&0\ncat <&3 >>{events} &\ncat {first}\nexec cat {commands}\n",
            first = path.join("first").display(),
            helped = path.join("helped").display(),
            events = path.join("events").display(),
            commands = path.join("commands").display()
        );
        fs::write(path.join("helper"), helper)?;
        fs::set_permissions(path.join("helper"), fs::Permissions::from_mode(0o755))?;
        File::create(path.join("events"))?;
        File::create(path.join("first"))?;
        let text = configuration(setup, &path.join("helper").display());
        write_configuration(&path.join("exabgp.conf"), &text)?;
        // Both directions: opening a pipe for writing alone would wait for its reader.
        let commands = File::options().read(true).write(true).open(path.join("commands"))?;
        let mut command = command(release, setup, path);
        let process = Process::start(namespace, folder, &mut command)?;
        let mut exabgp = Self { process, release: release.clone(), setup: setup.clone(), commands };
        exabgp.await_helper()?;
        for announcement in &setup.announcements {
            let line = exabgp.announcing(announcement);
            exabgp.command(&line)?;
        }
        Ok(exabgp)
    }

    /// Its process of ours is the first thing that it starts once it has understood its configuration.
    fn await_helper(&mut self) -> Result<()> {
        let waited = wait::until("exabgp has read its configuration", || {
            self.process.check()?;
            Ok(
                match self
                    .process
                    .complaint(&["problem parsing configuration", "error parsing configuration"])
                {
                    Some(_) => Ok(false),
                    None if self.process.path("helped").exists() => Ok(true),
                    None => Err("it has not started its process".to_owned()),
                },
            )
        });
        if !matches!(waited, Ok(true)) {
            let said = self.process.log()?;
            bail!(Refused(complaint(&said).with_context(|| said.clone())?));
        }
        Ok(())
    }

    fn command(&mut self, line: &str) -> Result<()> {
        writeln!(self.commands, "{line}").context("commands of exabgp")
    }

    /// Those of its sessions that carry the family of a prefix, as its commands name them.
    fn neighbors(&self, prefix: IpNet) -> String {
        let sessions = self.setup.sessions.iter().filter(|session| session.carries(family(prefix)));
        let neighbors: Vec<String> =
            sessions.map(|session| format!("neighbor {}", session.remote())).collect();
        neighbors.join(", ")
    }

    /// The command that announces.
    fn announcing(&self, announcement: &Announcement) -> String {
        let Announcement { prefix, med, communities, extended_communities, large_communities } = announcement;
        let next_hop = self.next_hop(*prefix);
        let mut line =
            format!("{} announce route {prefix} next-hop {next_hop} med {med}", self.neighbors(*prefix));
        if !communities.is_empty() {
            line.push_str(" community [ ");
            line.push_str(&communities_text(communities));
            line.push_str(" ]");
        }
        if !extended_communities.is_empty() {
            let words = extended_communities.iter().cloned().collect::<Vec<_>>().join(" ");
            let words = words.replace("rt:", "target:").replace("ro:", "origin:");
            line.push_str(&format!(" extended-community [ {words} ]"));
        }
        if !large_communities.is_empty() {
            line.push_str(" large-community [ ");
            line.push_str(&large_communities_text(large_communities));
            line.push_str(" ]");
        }
        line
    }

    /// Its own address of the session; `self` would have to be of the prefix's family (RFC 8950).
    fn next_hop(&self, prefix: IpNet) -> IpAddr {
        let session = self.setup.session_for(family(prefix));
        session.map_or(self.setup.own.address(prefix), |session| session.local(&self.setup.own))
    }

    /// What it answered to commands.
    fn answers(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(self.process.path("events"))?;
        let answers = text.lines().filter(|line| line.starts_with("done") || line.starts_with("error"));
        Ok(answers.map(str::to_owned).collect())
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

fn command(release: &Release, setup: &Setup, folder: &Path) -> Command {
    let mut command = release.command(release.first(&PROGRAMS));
    // It cannot listen on an address with an interface.
    let addresses: Vec<String> = setup.addresses().iter().map(ToString::to_string).collect();
    // With underscores: a shell on the way would drop the names with dots.
    command.arg(folder.join("exabgp.conf")).envs([
        ("exabgp_daemon_user", "root"),
        ("exabgp_daemon_drop", "false"),
        ("exabgp_tcp_delay", "0"),
        ("exabgp_tcp_bind", &addresses.join(" ")),
        ("exabgp_api_cli", "false"),
        ("exabgp_log_destination", "stdout"),
    ]);
    command
}

/// What it says of a configuration that it does not understand.
fn complaint(log: &str) -> Option<String> {
    let words = ["unknown command", "invalid keyword", "invalid", "unexpected", "not supported"];
    log.lines().find_map(|line| Some(line[words.iter().find_map(|word| line.find(word))?..].to_owned()))
}

fn configuration(setup: &Setup, helper: &dyn std::fmt::Display) -> String {
    let sessions: String =
        setup.sessions.iter().map(|session| neighbor(&setup.own, setup.hold_time, session)).collect();
    format!("process table {{\n run {helper};\n encoder json;\n}}\n{sessions}")
}

fn neighbor(own: &End, hold_time: u16, session: &Session) -> String {
    let features = &session.features;
    let remote = match features.range {
        Some(range) => range.to_string(),
        None => session.scoped(session.remote()),
    };
    let mut text = format!(
        "neighbor {remote} {{\n router-id {};\n local-address {};\n local-as {};\n peer-as {};\n hold-time {hold_time};\n",
        own.v4,
        session.local(own),
        own.asn,
        session.peer.asn
    );
    if let Some(password) = &features.password {
        text += &format!(" md5-password {password};\n");
    }
    if features.ttl_security {
        text += " outgoing-ttl 255;\n incoming-ttl 255;\n";
    }
    if features.passive || features.range.is_some() {
        text += " passive true;\n";
    }
    let families = [(Family::Ipv4Unicast, "ipv4 unicast;"), (Family::Ipv6Unicast, "ipv6 unicast;")];
    let carried = families.iter().filter(|(family, _)| session.carries(*family)).map(|(_, words)| *words);
    let carried: Vec<&str> = carried.collect();
    text += &format!(" family {{ {} }}\n", carried.join(" "));
    let mut capabilities = "route-refresh enable; asn4 enable; graceful-restart 20;".to_owned();
    if features.extended_next_hop {
        text += " nexthop { ipv4 unicast ipv6; }\n";
        capabilities += " nexthop enable;";
    }
    match features.add_path {
        Some(AddPath::Receive) => capabilities += " add-path receive;",
        Some(AddPath::Send) => capabilities += " add-path send;",
        None => {}
    }
    if features.extended_messages {
        capabilities += " extended-message enable;";
    }
    if features.reflector_client {
        text += " route-reflector-client;\n";
    }
    if let Some(role) = features.role {
        capabilities += &format!(" role {};", role.name());
    }
    if let Some(most) = features.max_prefixes {
        text += &format!(" maximum-prefix {most};\n");
    }
    text += &format!(" capability {{ {capabilities} }}\n");
    text + " api { processes [ table ]; neighbor-changes; receive { parsed; update; notification; refresh; } }\n}\n"
}

/// Adds what an update announces to the table and takes away what it withdraws.
fn apply(table: &mut BTreeMap<Key, Route>, update: &Value) -> Result<()> {
    for nlri in update["withdraw"].as_object().into_iter().flat_map(|families| families.values()) {
        for key in keys(nlri)? {
            table.remove(&key);
        }
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let attributes = &update["attribute"];
    for hops in update["announce"].as_object().into_iter().flat_map(|families| families.values()) {
        // It lists the prefixes once for the global next hop and once for the link-local one beside it.
        let several = hops.as_object().is_some_and(|hops| hops.len() > 1);
        let hops = hops.as_object().into_iter().flatten();
        for (next_hop, nlri) in hops.filter(|(next_hop, _)| !(several && next_hop.starts_with("fe80:"))) {
            for key in keys(nlri)? {
                let route = Route {
                    prefix: key.0,
                    as_path: as_path(&attributes["as-path"])?,
                    next_hop: next_hop.parse()?,
                    med: attributes.get("med").map_or(Ok(0), number)?,
                    local_pref: attributes.get("local-preference").map_or(Ok(100), number)?,
                    communities: list(&attributes["community"])
                        .iter()
                        .map(|pair| {
                            Ok((u16::try_from(number(&pair[0])?)?, u16::try_from(number(&pair[1])?)?))
                        })
                        .collect::<Result<_>>()?,
                    extended_communities: list(&attributes["extended-community"])
                        .iter()
                        .filter_map(|community| extended_community(community["value"].as_u64()?))
                        .collect(),
                    large_communities: list(&attributes["large-community"])
                        .iter()
                        .map(|three| Ok((number(&three[0])?, number(&three[1])?, number(&three[2])?)))
                        .collect::<Result<_>>()?,
                };
                table.insert(key, route);
            }
        }
    }
    Ok(())
}

fn number(value: &Value) -> Result<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).with_context(|| format!("number {value}"))
}

/// A route target or origin of an AS of two octets.
fn extended_community(value: u64) -> Option<String> {
    let kind = match value >> 48 {
        0x0002 => "rt",
        0x0003 => "ro",
        _ => return None,
    };
    Some(format!("{kind}:{}:{}", value >> 32 & 0xffff, value & 0xffff_ffff))
}

/// A list of numbers up to version 4, segments by their place from version 5 on.
fn as_path(path: &Value) -> Result<Vec<u32>> {
    let segments: Vec<&Value> = match path {
        Value::Object(segments) => segments.values().map(|segment| &segment["value"]).collect(),
        numbers => vec![numbers],
    };
    segments.into_iter().flat_map(|numbers| numbers.as_array().into_iter().flatten()).map(number).collect()
}

fn keys(nlri: &Value) -> Result<Vec<Key>> {
    let nlri = nlri.as_array().into_iter().flatten();
    nlri.map(|nlri| {
        let prefix = nlri["nlri"].as_str().with_context(|| nlri.to_string())?.parse()?;
        Ok((prefix, nlri["path-information"].as_str().map(str::to_owned)))
    })
    .collect()
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
        let mut tables: BTreeMap<String, BTreeMap<Key, Route>> = BTreeMap::new();
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
        let line = self.announcing(announcement);
        self.setup.announcements.push(announcement.clone());
        self.command(&line)
    }

    fn announce_path(&mut self, prefix: IpNet, identifier: u8, as_path: &[u32]) -> Result<()> {
        let numbers: Vec<String> = as_path.iter().map(u32::to_string).collect();
        self.command(&format!(
            "{} announce route {prefix} next-hop {} as-path [ {} ] path-information 0.0.0.{identifier}",
            self.neighbors(prefix),
            self.next_hop(prefix),
            numbers.join(" ")
        ))
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.setup.announcements.retain(|announcement| announcement.prefix != prefix);
        self.command(&format!(
            "{} withdraw route {prefix} next-hop {}",
            self.neighbors(prefix),
            self.next_hop(prefix)
        ))
    }

    fn refresh(&mut self) -> Result<()> {
        for session in self.setup.sessions.clone() {
            for (family, name) in [(Family::Ipv4Unicast, "ipv4"), (Family::Ipv6Unicast, "ipv6")] {
                if session.carries(family) {
                    self.command(&format!(
                        "neighbor {} announce route-refresh {name} unicast",
                        session.remote()
                    ))?;
                }
            }
        }
        Ok(())
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        // It does not hand the marker to its processes.
        Ok(None)
    }

    fn reload(&mut self, setup: &Setup) -> Result<()> {
        self.setup.sessions.clone_from(&setup.sessions);
        let text = configuration(&self.setup, &self.process.path("helper").display());
        write_configuration(&self.process.path("exabgp.conf"), &text)?;
        self.process.signal(Signal::SIGUSR1)
    }

    fn shut_down(&mut self, text: &str) -> Result<()> {
        let before = self.answers()?.len();
        for session in self.setup.sessions.clone() {
            self.command(&format!("neighbor {} teardown 2 {text}", session.remote()))?;
        }
        let answer = wait::until("an answer", || {
            Ok(self.answers()?.get(before).cloned().ok_or_else(|| "there is none".to_owned()))
        })?;
        ensure!(answer == "done", Refused(format!("it answers “{answer}” to `teardown 2 {text}`")));
        Ok(())
    }

    fn crash(&mut self, namespace: &Namespace) -> Result<()> {
        fs::remove_file(self.process.path("helped"))?;
        fs::write(self.process.path("events"), "")?;
        // What it announces is to be the first thing that it is told: its End-of-RIB must not come before.
        let all: Vec<String> = self
            .setup
            .announcements
            .iter()
            .map(|announcement| self.announcing(announcement) + "\n")
            .collect();
        fs::write(self.process.path("first"), all.concat())?;
        let mut command = command(&self.release, &self.setup, &self.process.path(""));
        self.process.replace(Signal::SIGKILL, namespace, &mut command)?;
        self.await_helper()
    }

    /// It hands notifications to its processes and does not log them.
    fn said(&mut self) -> Result<String> {
        Ok(self.process.log()? + &fs::read_to_string(self.process.path("events"))?)
    }

    fn refreshes(&mut self) -> Result<Vec<u64>> {
        // Version 4 quotes twice here: what it writes is not JSON.
        let text = fs::read_to_string(self.process.path("events"))?;
        let count = |session: &Session| {
            let peer = format!("\"peer\": \"{}\"", session.remote());
            let of = |line: &&str| line.contains("\"type\": \"refresh\"") && line.contains(&peer);
            text.lines().filter(of).count() as u64
        };
        Ok(self.setup.sessions.iter().map(count).collect())
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
