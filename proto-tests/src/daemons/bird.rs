//! BIRD: configuration is written anew and reread for every change.

mod show;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use anyhow::{Result, bail};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::signal::Signal;

use crate::daemon::{Daemon, Process, Refused, ask, write_configuration};
use crate::release::Release;
use crate::route::{Announcement, End, Route};
use crate::setup::{AddPath, Session, Setup};

pub(crate) const PROGRAM: &str = "/usr/sbin/bird";

/// Some commands are called otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Two,
    Three,
}

/// A running bird.
pub(super) struct Bird {
    version: Version,
    process: Process,
    release: Release,
    setup: Setup,
}

impl Bird {
    pub(super) fn start(
        version: Version,
        release: &Release,
        namespace: &Namespace,
        setup: &Setup,
    ) -> Result<Self> {
        let folder = Process::folder()?;
        write_configuration(&folder.path().join("bird.conf"), &configuration(setup))?;
        let process = Process::start(namespace, folder, &mut command(release, &[]))?;
        let mut bird = Self { version, process, release: release.clone(), setup: setup.clone() };
        bird.await_control()?;
        Ok(bird)
    }

    fn await_control(&mut self) -> Result<()> {
        let waited = self.process.await_file("control");
        waited.map_err(|error| match self.process.complaint(&["syntax error", "Unknown", "not supported"]) {
            Some(refused) => error.context(refused),
            None => error,
        })
    }

    fn birdc(&self, words: &[&str]) -> Result<String> {
        let mut command = self.release.command("/usr/sbin/birdc");
        ask(command.arg("-s").arg(self.process.path("control")).args(words))
    }

    fn configure(&self) -> Result<()> {
        write_configuration(&self.process.path("bird.conf"), &configuration(&self.setup))?;
        let answer = self.birdc(&["configure"])?;
        if !answer.contains("Reconfigured") && !answer.contains("Reconfiguration in progress") {
            bail!("birdc configure: {answer}");
        }
        Ok(())
    }

    fn each(&self, before: &[&str], after: &[&str]) -> Result<String> {
        let mut said = String::new();
        for session in &self.setup.sessions {
            said += &self.birdc(&[before, &[&session.name()], after].concat())?;
        }
        Ok(said)
    }
}

fn command(release: &Release, options: &[&str]) -> Command {
    let mut command = release.command(PROGRAM);
    command.args(["-f", "-c", "bird.conf", "-s", "control"]).args(options);
    command
}

fn configuration(setup: &Setup) -> String {
    let Setup { own, announcements, .. } = setup;
    let statics = |wanted: fn(&IpNet) -> bool| -> String {
        let prefixes = announcements.iter().map(|announcement| announcement.prefix).filter(wanted);
        super::joined(prefixes, |text, prefix| write!(text, "route {prefix} blackhole;"))
    };
    let attributes: String = announcements.iter().map(attributes).collect();
    let mut sessions: String = setup.sessions.iter().map(|one| session(own, setup.hold_time, one)).collect();
    for interface in setup.sessions.iter().filter_map(|session| session.features.interface) {
        let _ = writeln!(
            sessions,
            "protocol radv {{ interface \"{}\" {{ max ra interval 4; }}; }}",
            interface.name
        );
    }
    format!(
        "log stderr all;\nrouter id {};\ngraceful restart wait 20;\nprotocol device {{}}\n\
         protocol kernel kernel4 {{ persist; graceful restart; ipv4 {{ import none; export where source = RTS_BGP; }}; }}\n\
         protocol kernel kernel6 {{ persist; graceful restart; ipv6 {{ import none; export where source = RTS_BGP; }}; }}\n\
         filter outbound {{ if source != RTS_STATIC && source != RTS_BGP then reject; {attributes}accept; }}\n\
         protocol static static4 {{ ipv4; {} }}\nprotocol static static6 {{ ipv6; {} }}\n{sessions}",
        own.v4,
        statics(|prefix| matches!(prefix, IpNet::V4(_))),
        statics(|prefix| matches!(prefix, IpNet::V6(_))),
    )
}

fn session(own: &End, hold_time: u16, session: &Session) -> String {
    let features = &session.features;
    let remote = match features.range {
        Some(range) => format!("range {range}"),
        None => session.scoped(session.remote()),
    };
    let mut text = format!(
        "protocol bgp {} {{ local {} as {}; neighbor {remote} as {}; direct; hold time {hold_time}; \
         connect retry time 1; connect delay time 1; error wait time 1, 2; debug {{ states, events, packets }};",
        session.name(),
        session.local(own),
        own.asn,
        session.peer.asn
    );
    let mut channel = String::new();
    let option = |text: &mut String, wanted: bool, words: &str| {
        if wanted {
            *text += &format!(" {words};");
        }
    };
    if let Some(password) = &features.password {
        option(&mut text, true, &format!("password \"{password}\""));
    }
    if let Some(key) = &features.ao_key {
        let keys =
            format!("authentication ao; keys {{ key {{ id 1; secret \"{key}\"; algorithm hmac sha1; }}; }}");
        option(&mut text, true, &keys);
    }
    option(&mut text, features.ttl_security, "ttl security on");
    option(&mut text, features.passive, "passive on");
    option(&mut text, features.range.is_some(), &format!("dynamic name \"{}x\"", session.name()));
    option(&mut text, features.extended_messages, "enable extended messages on");
    option(&mut text, features.reflector_client, "rr client");
    if let Some(role) = features.role {
        option(&mut text, true, &format!("local role {}", role.name()));
    }
    let long = "graceful restart time 2; long lived graceful restart on; long lived stale time 60";
    option(&mut text, features.long_lived, long);
    option(&mut text, features.restarts, "graceful restart on");
    option(&mut channel, features.extended_next_hop, "extended next hop on");
    match features.add_path {
        Some(AddPath::Receive) => option(&mut channel, true, "add paths rx"),
        Some(AddPath::Send) => option(&mut channel, true, "add paths tx"),
        None => {}
    }
    if let Some(most) = features.max_prefixes {
        option(&mut channel, true, &format!("import limit {most} action disable"));
    }
    // A reflector leaves the next hop as it is.
    let reflects = features.reflector_client || own.asn == session.peer.asn;
    option(&mut channel, !reflects, "next hop self");
    for (family, name) in [(Family::Ipv4Unicast, "ipv4"), (Family::Ipv6Unicast, "ipv6")] {
        if session.carries(family) {
            text += &format!(" {name} {{ import all; export filter outbound;{channel} }};");
        }
    }
    text + " }\n"
}

/// The part of the export filter that sets an announcement's attributes; a MED set earlier does not leave the AS.
fn attributes(announcement: &Announcement) -> String {
    let Announcement { prefix, med, communities, extended_communities, large_communities } = announcement;
    let mut text = format!("if net = {prefix} && source = RTS_STATIC then {{ bgp_med = {med}; ");
    // Writing to a String cannot fail.
    for (a, b) in communities {
        let _ = write!(text, "bgp_community.add(({a}, {b})); ");
    }
    for community in extended_communities {
        let _ = write!(text, "bgp_ext_community.add(({})); ", community.replace(':', ", "));
    }
    for (a, b, c) in large_communities {
        let _ = write!(text, "bgp_large_community.add(({a}, {b}, {c})); ");
    }
    text + "} "
}

impl Daemon for Bird {
    fn established(&mut self) -> Result<usize> {
        Ok(self.birdc(&["show", "protocols"])?.lines().filter(|line| line.contains("Established")).count())
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        let mut found = BTreeSet::new();
        for protocol in show::sessions(&self.birdc(&["show", "protocols"])?) {
            found.extend(show::routes(&self.birdc(&["show", "route", "all", "protocol", protocol])?)?);
        }
        Ok(found)
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.setup.announcements.push(announcement.clone());
        self.configure()
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.setup.announcements.retain(|announcement| announcement.prefix != prefix);
        self.configure()
    }

    fn refresh(&mut self) -> Result<()> {
        let words: &[&str] = match self.version {
            Version::Two => &["reload", "in"],
            Version::Three => &["reload", "filters", "in"],
        };
        self.each(words, &[]).map(drop)
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        self.process.logged(&["v4: Got END-OF-RIB"], &["v6: Got END-OF-RIB"]).map(Some)
    }

    fn reload(&mut self, setup: &Setup) -> Result<()> {
        self.setup.sessions.clone_from(&setup.sessions);
        self.configure()
    }

    fn shut_down(&mut self, text: &str) -> Result<()> {
        let said = self.each(&["disable"], &[&format!("\"{text}\"")])?;
        match said.lines().find(|line| line.contains("syntax error")) {
            Some(line) => bail!(Refused(line.to_owned())),
            None => Ok(()),
        }
    }

    fn crash(&mut self, namespace: &Namespace) -> Result<()> {
        std::fs::remove_file(self.process.path("control"))?;
        // -R: it recovers from a crash.
        self.process.replace(Signal::SIGKILL, namespace, &mut command(&self.release, &["-R"]))?;
        self.await_control()
    }

    fn refreshes(&mut self) -> Result<Vec<u64>> {
        let log = self.process.log()?;
        let marks = |name: &str| {
            let of = format!("{name}: Got ");
            log.lines().filter(|line| line.contains(&of) && line.contains("-OF-RR")).count() as u64
        };
        Ok(self.setup.sessions.iter().map(|session| marks(&session.name())).collect())
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
