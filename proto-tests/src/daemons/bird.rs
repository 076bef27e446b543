//! BIRD 2: configuration is written anew and reread for every change.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;

use super::as_path;
use crate::daemon::{Daemon, Process, Setup, ask, write_configuration};
use crate::route::{Announcement, Community, LargeCommunity, Route};

pub(super) const PROGRAM: &str = "/usr/sbin/bird";

/// A running bird.
pub(super) struct Bird {
    process: Process,
    setup: Setup,
}

impl Bird {
    pub(super) fn start(namespace: &Namespace, setup: &Setup) -> Result<Self> {
        let folder = Process::folder()?;
        write_configuration(&folder.path().join("bird.conf"), &configuration(setup))?;
        let mut command = Command::new(PROGRAM);
        command.args(["-f", "-c", "bird.conf", "-s", "control"]);
        let process = Process::start(namespace, folder, &mut command)?;
        let mut bird = Self { process, setup: setup.clone() };
        bird.process.await_file("control")?;
        Ok(bird)
    }

    fn birdc(&self, words: &[&str]) -> Result<String> {
        ask(Command::new("/usr/sbin/birdc").arg("-s").arg(self.process.path("control")).args(words))
    }

    fn configure(&self) -> Result<()> {
        write_configuration(&self.process.path("bird.conf"), &configuration(&self.setup))?;
        let answer = self.birdc(&["configure"])?;
        if !answer.contains("Reconfigured") && !answer.contains("Reconfiguration in progress") {
            bail!("birdc configure: {answer}");
        }
        Ok(())
    }
}

fn configuration(setup: &Setup) -> String {
    let Setup { own, peer, hold_time, announcements } = setup;
    let statics = |wanted: fn(&IpNet) -> bool| -> String {
        let prefixes = announcements.iter().map(|announcement| announcement.prefix).filter(wanted);
        super::joined(prefixes, |text, prefix| write!(text, "route {prefix} blackhole;"))
    };
    let attributes: String = announcements.iter().map(attributes).collect();
    let session = |name: &str,
                   local: &dyn std::fmt::Display,
                   remote: &dyn std::fmt::Display,
                   channel: &str| {
        format!(
            "protocol bgp {name} {{ local {local} as {}; neighbor {remote} as {}; hold time {hold_time}; \
             connect retry time 1; connect delay time 1; error wait time 1, 2; debug {{ states, events, packets }}; \
             {channel} {{ import all; export filter outbound; next hop self; }}; }}\n",
            own.asn, peer.asn
        )
    };
    format!(
        "log stderr all;\nrouter id {};\nprotocol device {{}}\n\
         filter outbound {{ if source != RTS_STATIC then reject; {attributes}accept; }}\n\
         protocol static static4 {{ ipv4; {} }}\nprotocol static static6 {{ ipv6; {} }}\n{}{}",
        own.v4,
        statics(|prefix| matches!(prefix, IpNet::V4(_))),
        statics(|prefix| matches!(prefix, IpNet::V6(_))),
        session("peer4", &own.v4, &peer.v4, "ipv4"),
        session("peer6", &own.v6, &peer.v6, "ipv6"),
    )
}

/// The part of the export filter that sets an announcement's attributes; a MED set earlier does not leave the AS.
fn attributes(announcement: &Announcement) -> String {
    let Announcement { prefix, med, communities, large_communities } = announcement;
    let mut text = format!("if net = {prefix} then {{ bgp_med = {med}; ");
    // Writing to a String cannot fail.
    for (a, b) in communities {
        let _ = write!(text, "bgp_community.add(({a}, {b})); ");
    }
    for (a, b, c) in large_communities {
        let _ = write!(text, "bgp_large_community.add(({a}, {b}, {c})); ");
    }
    text + "} "
}

/// Reads `show route all`: a line per route, with its attributes indented below.
fn routes(shown: &str) -> Result<Vec<Route>> {
    let mut routes: Vec<Route> = Vec::new();
    for line in shown.lines() {
        if let Some((attribute, value)) =
            line.trim_start().strip_prefix("BGP.").and_then(|rest| rest.split_once(": "))
        {
            let route = routes.last_mut().with_context(|| format!("no route before {line:?}"))?;
            set(route, attribute, value).with_context(|| line.to_owned())?;
        } else if let Some(prefix) = line.split_whitespace().next()
            && let Ok(prefix) = prefix.parse()
        {
            routes.push(Route {
                prefix,
                as_path: vec![],
                next_hop: std::net::Ipv4Addr::UNSPECIFIED.into(),
                med: 0,
                local_pref: 100,
                communities: BTreeSet::new(),
                large_communities: BTreeSet::new(),
            });
        }
    }
    Ok(routes)
}

fn set(route: &mut Route, attribute: &str, value: &str) -> Result<()> {
    match attribute {
        "as_path" => route.as_path = as_path(value)?,
        "next_hop" => route.next_hop = value.split_whitespace().next().context("empty")?.parse()?,
        "med" => route.med = value.parse()?,
        "local_pref" => route.local_pref = value.parse()?,
        "community" => {
            route.communities = tuples(value)
                .map(|parts| match *parts? {
                    [a, b] => Ok::<Community, anyhow::Error>((u16::try_from(a)?, u16::try_from(b)?)),
                    _ => bail!("not a pair"),
                })
                .collect::<Result<_>>()?;
        }
        "large_community" => {
            route.large_communities = tuples(value)
                .map(|parts| match *parts? {
                    [a, b, c] => Ok::<LargeCommunity, anyhow::Error>((a, b, c)),
                    _ => bail!("not three"),
                })
                .collect::<Result<_>>()?;
        }
        _ => {}
    }
    Ok(())
}

/// The tuples of `(1,2) (3,4)`.
fn tuples(text: &str) -> impl Iterator<Item = Result<Vec<u32>>> {
    text.split(['(', ')'])
        .filter(|part| !part.trim().is_empty())
        .map(|part| part.split(',').map(|number| Ok(number.trim().parse()?)).collect())
}

impl Daemon for Bird {
    fn established(&mut self) -> Result<usize> {
        Ok(self.birdc(&["show", "protocols"])?.lines().filter(|line| line.contains("Established")).count())
    }

    fn received(&mut self) -> Result<BTreeSet<Route>> {
        let mut found = routes(&self.birdc(&["show", "route", "all", "protocol", "peer4"])?)?;
        found.extend(routes(&self.birdc(&["show", "route", "all", "protocol", "peer6"])?)?);
        Ok(found.into_iter().collect())
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
        self.birdc(&["reload", "in", "peer4"])?;
        self.birdc(&["reload", "in", "peer6"]).map(drop)
    }

    fn ends_of_rib(&mut self) -> Result<Option<BTreeSet<Family>>> {
        self.process.logged(&["peer4", "Got END-OF-RIB"], &["peer6", "Got END-OF-RIB"]).map(Some)
    }

    fn process(&self) -> &Process {
        &self.process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_with_their_attributes() {
        let shown = "BIRD 2.0.12 ready.\nTable master6:\nfd01::/64 unicast [p6 14:27] * (100) [AS65001i]\n\
                     \tvia fd99::1 on e0\n\tType: BGP univ\n\tBGP.as_path: 65001 4200000001\n\
                     \tBGP.next_hop: fd99::1 fe80::1\n\tBGP.med: 7\n\tBGP.community: (65001,1) (65001,2)\n\
                     \tBGP.large_community: (65001, 1, 2)\nfd02::/64 unicast [p6 14:27] * (100) [AS65001i]\n";
        let routes = routes(shown).unwrap();
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[0].as_path, [65001, 4_200_000_001]);
        assert_eq!(routes[0].next_hop, "fd99::1".parse::<std::net::IpAddr>().unwrap());
        assert_eq!(routes[0].communities, [(65001, 1), (65001, 2)].into());
        assert_eq!(routes[0].large_communities, [(65001, 1, 2)].into());
        assert_eq!((routes[0].med, routes[1].med), (7, 0));
    }
}
