//! Ours: `muslin speaker` on a folder of manifests, asked by its own commands.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use serde_json::Value;

use super::{as_path, community, large_community};
use crate::daemon::{Daemon, Process, Setup, ask};
use crate::muslin;
use crate::route::{Announcement, Route};

/// A running `muslin speaker`.
pub struct Muslin {
    process: Process,
    setup: Setup,
}

impl Muslin {
    /// Starts it in a namespace.
    ///
    /// # Errors
    /// When it does not start; with its log.
    pub fn start(namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        let state = folder.path().join("state");
        fs::create_dir(&state)?;
        fs::write(state.join("configuration.yaml"), configuration(setup))?;
        fs::write(state.join("peers.yaml"), peers(setup))?;
        let mut command = muslin::speaker(&state, folder.path())?;
        let process = Process::start(namespace, folder, &mut command)?;
        let mut muslin = Self { process, setup: setup.clone() };
        muslin.process.await_file("muslin.sock")?;
        Ok(muslin)
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

    fn client(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(muslin::binary()?);
        command.args(words).args(["--output", "json", "--socket"]).arg(self.process.path("muslin.sock"));
        Ok(command)
    }

    fn configure(&self) -> Result<()> {
        let new = self.process.path(".configuration.new");
        fs::write(&new, configuration(&self.setup))?;
        Ok(fs::rename(new, self.process.path("state").join("configuration.yaml"))?)
    }
}

fn configuration(setup: &Setup) -> String {
    let own = &setup.own;
    let mut text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata:\n  name: default\nspec:\n  asn: {}\n  \
         routerID: {}\n  import:\n    cidrs: [0.0.0.0/0, \"::/0\"]\n  originate:\n",
        own.asn, own.v4
    );
    for Announcement { prefix, med, communities, large_communities } in &setup.announcements {
        let quoted = |items: Vec<String>| items.join(", ");
        let standard = quoted(communities.iter().map(|(a, b)| format!("\"{a}:{b}\"")).collect());
        let large = quoted(large_communities.iter().map(|(a, b, c)| format!("\"{a}:{b}:{c}\"")).collect());
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  - cidr: {prefix}\n    med: {med}\n    communities: [{standard}]\n    largeCommunities: [{large}]"
        );
    }
    if setup.announcements.is_empty() {
        text = text.replace("  originate:\n", "");
    }
    text
}

fn peers(setup: &Setup) -> String {
    let peer = |name: &str, address: &dyn Display| {
        format!(
            "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata:\n  name: {name}\nspec:\n  \
             peerAddress: \"{address}\"\n  peerASN: {}\n  holdTime: {}s\n  connectRetry: 1s\n  filters: [all]\n",
            setup.peer.asn, setup.hold_time
        )
    };
    format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata:\n  name: all\nspec:\n  import:\n  \
         - action: Accept\n  export:\n  - action: Accept\n{}{}",
        peer("peer4", &setup.peer.v4),
        peer("peer6", &setup.peer.v6)
    )
}

fn route(shown: &Value) -> Result<Route> {
    let text = |name: &str| shown[name].as_str().with_context(|| format!("{name} of {shown}"));
    let number = |name: &str| shown[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let mut route = Route {
        prefix: text("prefix")?.parse()?,
        as_path: as_path(text("asPath")?)?,
        next_hop: text("nextHop")?.parse()?,
        med: number("med").unwrap_or(0),
        local_pref: number("localPref").unwrap_or(100),
        communities: BTreeSet::new(),
        large_communities: BTreeSet::new(),
    };
    for word in shown["communities"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        match word.matches(':').count() {
            1 => drop(route.communities.insert(community(word)?)),
            2 => drop(route.large_communities.insert(large_community(word)?)),
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
        let answer: Value = serde_json::from_str(&ask(&mut self.client(&["routes", "received"])?)?)?;
        let mut routes = BTreeSet::new();
        for table in answer["bgp"].as_array().with_context(|| answer.to_string())? {
            for shown in table["routes"].as_array().with_context(|| table.to_string())? {
                // Only what is in use: a looped path that a peer sends back is kept for people to see.
                if shown["state"] != "refused" {
                    routes.insert(route(shown)?);
                }
            }
        }
        Ok(routes)
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
        let before = fs::read_to_string(self.process.path("state").join("peers.yaml"))?;
        let after = before.replacen(
            "  import:\n  - action: Accept",
            "  import:\n  - prefixes: [{cidr: 203.0.113.0/24}]\n    action: Reject\n  - action: Accept",
            1,
        );
        ensure!(before != after, "the filter is as it was");
        let new = self.process.path(".peers.new");
        fs::write(&new, after)?;
        Ok(fs::rename(new, self.process.path("state").join("peers.yaml"))?)
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

    fn process(&self) -> &Process {
        &self.process
    }
}
