//! GoBGP.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{ask_json, communities_text, large_communities_text, unscoped};
use crate::daemon::{Daemon, Process, Refused, ask, write_configuration};
use crate::release::Release;
use crate::route::{Announcement, Route};
use crate::setup::{AddPath, Session, Setup};
use crate::wait;

pub(crate) const PROGRAM: &str = "/usr/bin/gobgpd";

/// A running gobgpd.
pub(super) struct GoBgp {
    process: Process,
    release: Release,
    setup: Setup,
}

impl GoBgp {
    pub(super) fn start(release: &Release, namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        write_configuration(&folder.path().join("gobgpd.toml"), &configuration(setup, Admin::Up))?;
        let mut command = command(release, folder.path());
        let process = Process::start(namespace, folder, &mut command)?;
        let mut gobgp = Self { process, release: release.clone(), setup: setup.clone() };
        gobgp.await_api()?;
        Ok(gobgp)
    }

    /// The API answers a little before the configuration is in force.
    fn await_api(&mut self) -> Result<()> {
        let known = self.setup.sessions.iter().filter(|session| session.features.range.is_none()).count();
        let waited = wait::until("gobgpd has read its configuration", || {
            self.process.check()?;
            let shown = match self.json(&["neighbor"]) {
                Err(error) => return Ok(Err(format!("{error:#}"))),
                Ok(shown) => shown,
            };
            let found = shown.as_array().map_or(0, Vec::len);
            Ok(if found >= known { Ok(()) } else { Err(shown.to_string()) })
        });
        waited.map_err(|error| match self.process.complaint(&["has invalid keys"]) {
            // The rest of the line tells the time, among other things.
            Some(Refused(words)) => {
                let words = words.split(['\\', '"']).next().unwrap_or_default().to_owned();
                error.context(Refused(words))
            }
            None => error,
        })?;
        self.setup.announcements.clone().iter().try_for_each(|announcement| self.originate(announcement))
    }

    fn client(&self) -> Command {
        let mut command = self.release.command("/usr/bin/gobgp");
        command.arg("--target").arg(format!("unix://{}", self.process.path("api").display()));
        command
    }

    fn originate(&self, announcement: &Announcement) -> Result<()> {
        // Extended communities are added by a policy: its client knows no word for them.
        let Announcement { prefix, med, communities, large_communities, .. } = announcement;
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

    fn json(&self, words: &[&str]) -> Result<Value> {
        ask_json(self.client().args(words).arg("-j"))
    }

    /// Addresses of its peers, those out of a range included.
    fn peers(&self) -> Result<Vec<String>> {
        let shown = self.json(&["neighbor"])?;
        let peers = shown.as_array().with_context(|| shown.to_string())?;
        Ok(peers
            .iter()
            .filter_map(|peer| peer["state"]["neighbor_address"].as_str())
            .map(str::to_owned)
            .collect())
    }
}

fn command(release: &Release, folder: &Path) -> Command {
    let mut command = release.command(PROGRAM);
    command.args(["-f", "gobgpd.toml", "-l", "debug", "--pprof-disable", "--api-hosts"]);
    command.arg(format!("unix://{}", folder.join("api").display()));
    command
}

/// What its neighbours are at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admin {
    Up,
    Down,
}

fn configuration(setup: &Setup, admin: Admin) -> String {
    let Setup { own, sessions, hold_time, .. } = setup;
    let neighbors: String =
        sessions.iter().map(|session| neighbor(session, *hold_time, own.v4, admin)).collect();
    // It takes an address with an interface for an IPv4 one, and cannot listen on it.
    let local = |session: &Session| match session.features.interface {
        Some(_) => "\"::\"".to_owned(),
        None => format!("\"{}\"", session.local(own)),
    };
    let listen: BTreeSet<String> = sessions.iter().map(local).collect();
    let listen: Vec<String> = listen.into_iter().collect();
    format!(
        "[global.config]\nas = {}\nrouter-id = \"{}\"\nport = 179\nlocal-address-list = [{}]\n{neighbors}{}",
        own.asn,
        own.v4,
        listen.join(", "),
        marking(&setup.announcements),
    )
}

/// A policy that adds extended communities to everything that is sent, if any announcement has some.
fn marking(announcements: &[Announcement]) -> String {
    let all: BTreeSet<String> = announcements
        .iter()
        .flat_map(|announcement| &announcement.extended_communities)
        .map(|community| format!("\"{}\"", community.replace("ro:", "soo:")))
        .collect();
    if all.is_empty() {
        return String::new();
    }
    let all: Vec<String> = all.into_iter().collect();
    let actions = "policy-definitions.statements.actions";
    format!(
        "[[policy-definitions]]\nname = \"mark\"\n[[policy-definitions.statements]]\nname = \"mark\"\n[{actions}]\n\
         route-disposition = \"accept-route\"\n[{actions}.bgp-actions.set-ext-community]\noptions = \"add\"\n\
         [{actions}.bgp-actions.set-ext-community.set-ext-community-method]\ncommunities-list = [{}]\n\
         [global.apply-policy.config]\nexport-policy-list = [\"mark\"]\ndefault-export-policy = \"accept-route\"\n\
         default-import-policy = \"accept-route\"\n",
        all.join(", ")
    )
}

/// A neighbour, or a group of those that may connect from a range.
fn neighbor(session: &Session, hold_time: u16, own_id: std::net::Ipv4Addr, admin: Admin) -> String {
    let (features, name) = (&session.features, session.name());
    let (kind, mut text) = match features.range {
        Some(range) => (
            "peer-groups",
            format!(
                "[[dynamic-neighbors]]\n[dynamic-neighbors.config]\nprefix = \"{range}\"\npeer-group = \"{name}\"\n\
                 [[peer-groups]]\n[peer-groups.config]\npeer-group-name = \"{name}\"\n"
            ),
        ),
        None => (
            "neighbors",
            format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{}\"\n",
                session.scoped(session.remote())
            ),
        ),
    };
    text += &format!("peer-as = {}\n", session.peer.asn);
    if admin == Admin::Down {
        text += "admin-down = true\n";
    }
    if let Some(password) = &features.password {
        text += &format!("auth-password = \"{password}\"\n");
    }
    let mut table = |wanted: bool, name: &str, lines: &str| {
        if wanted {
            text += &format!("[{kind}.{name}.config]\n{lines}\n");
        }
    };
    let timers = format!(
        "connect-retry = 1\nidle-hold-time-after-reset = 1\nhold-time = {hold_time}\nkeepalive-interval = {}",
        hold_time / 3
    );
    table(true, "timers", &timers);
    let restart = if features.long_lived {
        "enabled = true\nrestart-time = 2\nlong-lived-enabled = true"
    } else {
        "enabled = true\nrestart-time = 20"
    };
    table(true, "graceful-restart", restart);
    if let Some(role) = features.role {
        table(true, "role", &format!("role = \"{}\"", role.name()));
    }
    table(features.passive, "transport", "passive-mode = true");
    table(features.ttl_security, "ttl-security", "enabled = true\nttl-min = 255");
    let cluster = format!("route-reflector-client = true\nroute-reflector-cluster-id = \"{own_id}\"");
    table(features.reflector_client, "route-reflector", &cluster);
    for (family, name) in [(Family::Ipv4Unicast, "ipv4-unicast"), (Family::Ipv6Unicast, "ipv6-unicast")] {
        if !session.carries(family) {
            continue;
        }
        text += &format!("[[{kind}.afi-safis]]\n[{kind}.afi-safis.config]\nafi-safi-name = \"{name}\"\n");
        text += &format!("[{kind}.afi-safis.mp-graceful-restart.config]\nenabled = true\n");
        if features.long_lived {
            text += &format!(
                "[{kind}.afi-safis.long-lived-graceful-restart.config]\nenabled = true\nrestart-time = 60\n"
            );
        }
        match features.add_path {
            Some(AddPath::Receive) => {
                text += &format!("[{kind}.afi-safis.add-paths.config]\nreceive = true\n");
            }
            Some(AddPath::Send) => {
                text += &format!("[{kind}.afi-safis.add-paths.config]\nsend-max = 4\n");
            }
            None => {}
        }
        if let Some(most) = features.max_prefixes {
            text += &format!("[{kind}.afi-safis.prefix-limit.config]\nmax-prefixes = {most}\n");
        }
    }
    text
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
        next_hop: unscoped(next_hop.context("next hop")?).parse()?,
        med: field(4, "metric")?.unwrap_or(0),
        local_pref: field(5, "value")?.unwrap_or(100),
        communities: list(attribute(8), "communities")
            .iter()
            .map(|value| number(value).map(|number| ((number >> 16) as u16, (number & 0xffff) as u16)))
            .collect::<Result<_>>()?,
        extended_communities: list(attribute(16), "value")
            .iter()
            .map(|value| {
                let kind = if value["subtype"] == 3 { "ro" } else { "rt" };
                format!("{kind}:{}", value["value"].as_str().unwrap_or_default())
            })
            .collect(),
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
        for peer in self.peers()? {
            for family in ["ipv4", "ipv6"] {
                let shown = match self.json(&["neighbor", &peer, "adj-in", "-a", family]) {
                    // Of a family that the session does not carry, too.
                    Err(error) if format!("{error:#}").contains("session is not established") => continue,
                    answer => answer?,
                };
                for (prefix, paths) in shown.as_object().into_iter().flatten() {
                    for path in paths.as_array().into_iter().flatten() {
                        routes.insert(route(prefix, path).with_context(|| path.to_string())?);
                    }
                }
            }
        }
        Ok(routes)
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.setup.announcements.push(announcement.clone());
        self.originate(announcement)
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.setup.announcements.retain(|announcement| announcement.prefix != prefix);
        ask(self.client().args(["global", "rib", "-a", family_of(prefix), "del", &prefix.to_string()]))
            .map(drop)
    }

    fn refresh(&mut self) -> Result<()> {
        for peer in self.peers()? {
            ask(self.client().args(["neighbor", &peer, "softresetin"]))?;
        }
        Ok(())
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        let key = |family: Family| {
            let session = self.setup.session_for(family);
            session.map(|session| format!("\"Key\":\"{}\"", session.remote())).unwrap_or_default()
        };
        let (v4, v6) = (key(Family::Ipv4Unicast), key(Family::Ipv6Unicast));
        self.process.logged(&[&v4, "EOR received"], &[&v6, "EOR received"]).map(Some)
    }

    fn reload(&mut self, setup: &Setup) -> Result<()> {
        self.setup.sessions.clone_from(&setup.sessions);
        write_configuration(&self.process.path("gobgpd.toml"), &configuration(&self.setup, Admin::Up))?;
        self.process.signal(Signal::SIGHUP)
    }

    fn shut_down(&mut self, text: &str) -> Result<()> {
        for peer in self.peers()? {
            ask(self.client().args(["neighbor", &peer, "shutdown", "--reason", text]))?;
        }
        Ok(())
    }

    fn crash(&mut self, namespace: &Namespace) -> Result<()> {
        let mut command = command(&self.release, &self.process.path(""));
        // What it announces has to be there before its sessions: its End-of-RIB must not come first.
        write_configuration(&self.process.path("gobgpd.toml"), &configuration(&self.setup, Admin::Down))?;
        std::fs::remove_file(self.process.path("api"))?;
        // -r: it restarts.
        self.process.replace(Signal::SIGKILL, namespace, command.arg("-r"))?;
        self.await_api()?;
        for peer in self.peers()? {
            ask(self.client().args(["neighbor", &peer, "enable"]))?;
        }
        Ok(())
    }

    fn refreshes(&mut self) -> Result<Vec<u64>> {
        let shown = self.json(&["neighbor"])?;
        let peers = shown.as_array().with_context(|| shown.to_string())?;
        Ok(peers
            .iter()
            .map(|peer| peer["state"]["messages"]["received"]["refresh"].as_u64().unwrap_or(0))
            .collect())
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
