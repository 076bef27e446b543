//! OpenBGPD: three processes behind one, asked and told by bgpctl.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use serde_json::Value;

use super::{as_path, ask_json, community, large_community};
use crate::daemon::{Daemon, Process, Setup, ask, write_configuration};
use crate::route::{Announcement, Route};

pub(super) const PROGRAM: &str = "/usr/sbin/bgpd";

/// A running bgpd of OpenBGPD.
pub(super) struct OpenBgpd {
    process: Process,
    setup: Setup,
}

impl OpenBgpd {
    pub(super) fn start(namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        let file = folder.path().join("bgpd.conf");
        let socket = folder.path().join("control");
        write_configuration(&file, &configuration(setup, &socket.display()))?;
        // Its children change root to the home of their user below /run, which only a service manager makes: they get
        // a /run of their own.
        let script =
            "mount -t tmpfs run /run && mkdir -m 755 /run/openbgpd && exec /usr/sbin/bgpd -d -v -f \"$0\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(&file);
        let process = Process::start(namespace, folder, &mut command)?;
        let mut bgpd = Self { process, setup: setup.clone() };
        bgpd.process.await_file("control")?;
        for announcement in &setup.announcements {
            bgpd.announce(announcement)?;
        }
        Ok(bgpd)
    }

    fn client(&self) -> Command {
        let mut command = Command::new("/usr/sbin/bgpctl");
        command.arg("-s").arg(self.process.path("control"));
        command
    }
}

fn configuration(setup: &Setup, socket: &dyn std::fmt::Display) -> String {
    let Setup { own, peer, hold_time, .. } = setup;
    format!(
        "AS {asn}\nrouter-id {id}\nholdtime {hold_time}\nholdtime min 3\nconnect-retry 1\nfib-update no\n\
         socket \"{socket}\"\nlisten on {v4}\nlisten on {v6}\n\
         neighbor {peer4} {{\n remote-as {peer_as}\n announce IPv4 unicast\n announce IPv6 none\n}}\n\
         neighbor {peer6} {{\n remote-as {peer_as}\n announce IPv4 none\n announce IPv6 unicast\n}}\n\
         allow from any\nallow to any\n",
        asn = own.asn,
        id = own.v4,
        v4 = own.v4,
        v6 = own.v6,
        peer4 = peer.v4,
        peer6 = peer.v6,
        peer_as = peer.asn,
    )
}

fn route(shown: &Value) -> Result<Route> {
    let text = |name: &str| shown[name].as_str().with_context(|| format!("{name} of {shown}"));
    let number = |name: &str| shown[name].as_u64().and_then(|number| u32::try_from(number).ok());
    let words = |name: &str| shown[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Route {
        prefix: text("prefix")?.parse()?,
        as_path: as_path(text("aspath")?)?,
        next_hop: text("exit_nexthop")?.parse()?,
        med: number("metric").unwrap_or(0),
        local_pref: number("localpref").unwrap_or(100),
        communities: words("communities").map(community).collect::<Result<_>>()?,
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
        for peer in [self.setup.peer.v4.to_string(), self.setup.peer.v6.to_string()] {
            let shown =
                ask_json(self.client().args(["-j", "show", "rib", "in", "detail", "neighbor", &peer]))?;
            for path in shown["rib"].as_array().into_iter().flatten() {
                routes.insert(route(path)?);
            }
        }
        Ok(routes)
    }

    fn announce(&mut self, announcement: &Announcement) -> Result<()> {
        let Announcement { prefix, med, communities, large_communities } = announcement;
        let mut command = self.client();
        command.args(["network", "add", &prefix.to_string(), "med", &med.to_string()]);
        for (a, b) in communities {
            command.args(["community", &format!("{a}:{b}")]);
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
        for peer in [self.setup.peer.v4.to_string(), self.setup.peer.v6.to_string()] {
            ask(self.client().args(["neighbor", &peer, "refresh"]))?;
        }
        Ok(())
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        self.process
            .logged(&["received IPv4 unicast EOR marker"], &["received IPv6 unicast EOR marker"])
            .map(Some)
    }

    fn process(&self) -> &Process {
        &self.process
    }
}
