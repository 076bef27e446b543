//! Ours: `muslin speaker` on a folder of manifests, asked by its own commands.

mod manifests;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{as_path, community, large_community, unscoped};
use crate::daemon::{Daemon, Process, ask};
use crate::muslin;
use crate::route::{Announcement, Route};
use crate::setup::Setup;
use crate::wait;

/// A running `muslin speaker`.
pub struct Muslin {
    process: Process,
    setup: Setup,
    /// The text that peers are told when it is shut down.
    shutdown: Option<String>,
    /// Prefixes that are not accepted; a change of them makes it ask its peers again.
    refused: Option<IpNet>,
}

impl Muslin {
    /// Starts it in a namespace.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn start(namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        fs::create_dir(folder.path().join("state"))?;
        let mut command = muslin::speaker(&folder.path().join("state"), folder.path())?;
        fs::write(folder.path().join("state/configuration.yaml"), manifests::configuration(setup))?;
        fs::write(folder.path().join("state/peers.yaml"), manifests::peers(setup, None, None))?;
        let process = Process::start(namespace, folder, &mut command)?;
        let mut muslin = Self { process, setup: setup.clone(), shutdown: None, refused: None };
        muslin.await_answer()?;
        Ok(muslin)
    }

    fn await_answer(&mut self) -> Result<()> {
        wait::until("muslin speaker answers", || {
            self.process.check()?;
            Ok(self.peers().map(drop).map_err(|error| format!("{error:#}")))
        })
    }

    /// What `muslin peers` says.
    ///
    /// # Errors
    /// When it says nothing that can be read.
    pub fn peers(&self) -> Result<Vec<Value>> {
        // Its exit code tells whether all peers are well, which is asked here otherwise.
        let output = self.client(&["peers"])?.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let peers: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("muslin peers: {said}{}", String::from_utf8_lossy(&output.stderr)))?;
        peers.as_array().cloned().with_context(|| peers.to_string())
    }

    /// Waits until a peer is as wanted, which is asked about each of its peers.
    ///
    /// # Errors
    /// What the peers are when none becomes so.
    pub fn await_peer(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let waited = wait::until(what, || {
            let peers = self.peers()?;
            Ok(peers.iter().find(|peer| wanted(peer)).cloned().ok_or_else(|| format!("{peers:#?}")))
        });
        waited.with_context(|| self.process.log().unwrap_or_default())
    }

    /// What it has of every route, in its own words.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn shown_routes(&self) -> Result<Vec<Value>> {
        let answer: Value = serde_json::from_str(&ask(&mut self.client(&["routes", "received"])?)?)?;
        let mut routes = Vec::new();
        for table in answer["bgp"].as_array().with_context(|| answer.to_string())? {
            routes.extend(table["routes"].as_array().with_context(|| table.to_string())?.iter().cloned());
        }
        Ok(routes)
    }

    fn client(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(muslin::binary()?);
        command.args(words).args(["--output", "json", "--socket"]).arg(self.process.path("muslin.sock"));
        Ok(command)
    }

    fn configure(&self) -> Result<()> {
        self.write("configuration.yaml", &manifests::configuration(&self.setup))
    }

    fn configure_peers(&self) -> Result<()> {
        self.write("peers.yaml", &manifests::peers(&self.setup, self.shutdown.as_deref(), self.refused))
    }

    /// Not to be seen half-written.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let new = self.process.path(&format!(".{name}.new"));
        fs::write(&new, text)?;
        Ok(fs::rename(new, self.process.path("state").join(name))?)
    }
}

fn route(shown: &Value) -> Result<Route> {
    let text = |name: &str| shown[name].as_str().with_context(|| format!("{name} of {shown}"));
    let number = |name: &str| shown[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let mut route = Route {
        prefix: text("prefix")?.parse()?,
        as_path: as_path(text("asPath")?)?,
        next_hop: unscoped(text("nextHop")?).parse()?,
        med: number("med").unwrap_or(0),
        local_pref: number("localPref").unwrap_or(100),
        communities: BTreeSet::new(),
        extended_communities: BTreeSet::new(),
        large_communities: BTreeSet::new(),
    };
    for word in shown["communities"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if word.starts_with("rt:") || word.starts_with("ro:") {
            route.extended_communities.insert(word.to_owned());
            continue;
        }
        match word.matches(':').count() {
            1 => drop(route.communities.insert(community(word)?)),
            2 => drop(route.large_communities.insert(large_community(word)?)),
            // Well known ones have names.
            0 => {}
            _ => bail!("community {word:?}"),
        }
    }
    Ok(route)
}

impl Daemon for Muslin {
    fn established(&mut self) -> Result<usize> {
        self.process.check()?;
        Ok(self.peers()?.iter().filter(|peer| peer["established"] == true).count())
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        // Only what is in use: a looped path that a peer sends back is kept for people to see.
        let shown = self.shown_routes()?;
        shown.iter().filter(|shown| shown["state"] != "refused").map(route).collect()
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        self.setup.announcements.push(announcement.clone());
        self.configure()
    }

    fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.setup.announcements.retain(|announcement| announcement.prefix != prefix);
        self.configure()
    }

    /// There is no command for it: a policy that changes has the same effect, and must reset nothing.
    fn refresh(&mut self) -> Result<()> {
        ensure!(self.refused.is_none(), "the filter is as it was");
        self.refused = Some("203.0.113.0/24".parse()?);
        self.configure_peers()
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        let mut seen = BTreeSet::new();
        for peer in self.peers()? {
            for family in peer["families"].as_array().into_iter().flatten() {
                if family["endOfRibReceived"] == true {
                    let name = family["family"].as_str().unwrap_or_default().to_lowercase();
                    let v4 = name.contains("ipv4");
                    seen.insert(if v4 { Family::Ipv4Unicast } else { Family::Ipv6Unicast });
                }
            }
        }
        Ok(Some(seen))
    }

    fn reload(&mut self, setup: &Setup) -> Result<()> {
        self.setup.sessions.clone_from(&setup.sessions);
        self.configure_peers()
    }

    fn shut_down(&mut self, text: &str) -> Result<()> {
        self.shutdown = Some(text.to_owned());
        self.configure_peers()
    }

    fn crash(&mut self, namespace: &Namespace) -> Result<()> {
        let mut command = muslin::speaker(&self.process.path("state"), &self.process.path(""))?;
        self.process.replace(Signal::SIGKILL, namespace, &mut command)?;
        self.await_answer()
    }

    fn refreshes(&mut self) -> Result<Vec<u64>> {
        let peers = self.peers()?;
        Ok(peers.iter().filter_map(|peer| peer["messages"]["received"]["refresh"].as_u64()).collect())
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
