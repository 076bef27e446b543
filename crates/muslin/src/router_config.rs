//! The configuration of the router that nodes peer with, in the words of its daemon. Pure: a plan in, text out.

mod bird;
mod frr;
mod gobgp;
mod openbgpd;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use ipnet::IpNet;
use muslin_bgp_speaker::Family;
use muslin_node_plan::{Members, NodeGroup, PrefixRange, RouterPlan};

/// Whose language is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Daemon {
    /// Free Range Routing, 8.4 and later
    Frr,
    /// BIRD, 2.0.12 and later, and 3
    Bird,
    /// GoBGP, 4.0 and later
    Gobgp,
    /// OpenBGPD, 7.7 and later
    Openbgpd,
}

/// What the cluster does not know of the router.
#[derive(Clone, Debug, Default)]
pub(crate) struct Router {
    /// Its interfaces to nodes without addresses.
    pub(crate) interfaces: Vec<String>,
    /// Its version where the language depends on it: the newest if absent.
    pub(crate) release: Option<Release>,
}

/// A version, as far as languages depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) u32, pub(crate) u32);

impl std::str::FromStr for Release {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let end = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse().map_err(|_| format!("{text}: not a version; try 8.4"))
        };
        let mut parts = text.split('.');
        Ok(Self(number(parts.next().unwrap_or_default())?, parts.next().map_or(Ok(0), number)?))
    }
}

/// What cannot be said in a daemon's language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    /// The daemon lacks it.
    #[error("{daemon} has no {what}: {remedy}")]
    Lacks { daemon: &'static str, what: &'static str, remedy: &'static str },
    /// Unnumbered nodes are found by interfaces, of which nothing is said.
    #[error(
        "nodes are found on interfaces: name the router's with --interface NAME, which may be given several times"
    )]
    NoInterface,
}

/// The whole configuration.
///
/// # Errors
///
/// If the daemon cannot do what the nodes want.
pub(crate) fn configuration(
    daemon: Daemon,
    plan: &RouterPlan,
    router: &Router,
) -> Result<String, Unsupported> {
    let unnumbered = plan.groups.iter().any(|group| group.members == Members::Links);
    if unnumbered && router.interfaces.is_empty() {
        return Err(Unsupported::NoInterface);
    }
    match daemon {
        Daemon::Frr => Ok(frr::configuration(plan, router)),
        Daemon::Bird => Ok(bird::configuration(plan, router)),
        Daemon::Gobgp => gobgp::configuration(plan, router),
        Daemon::Openbgpd => openbgpd::configuration(plan, router),
    }
}

/// The lines at the head, without their comment sign.
fn head(plan: &RouterPlan) -> Vec<String> {
    let peers: Vec<&str> = plan.peers.iter().map(|peer| &**peer).collect();
    let mut lines = vec![
        format!("Made by `muslin router-config` for BGPPeer {}.", peers.join(", ")),
        "It is whole by itself; merge it with what else this router does.".to_owned(),
    ];
    for group in &plan.groups {
        lines.push(format!("{}: {} of AS {}", group.name, nodes(group.nodes.len()), group.session.asn));
    }
    lines
}

fn nodes(count: usize) -> String {
    match count {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    }
}

/// A comment of these lines.
fn comment(sign: &str, lines: &[String]) -> String {
    lines.iter().fold(String::new(), |text, line| text + sign + " " + line + "\n")
}

/// The ranges of a family.
fn of_family(ranges: &[PrefixRange], family: Family) -> impl Iterator<Item = &PrefixRange> {
    ranges.iter().filter(move |range| range.range.addr().is_ipv4() == (family == Family::Ipv4Unicast))
}

/// What nodes are told, the default route included where they take one.
fn told(plan: &RouterPlan) -> Vec<PrefixRange> {
    let mut told = plan.tell.clone();
    if plan.default_route {
        for range in ["0.0.0.0/0", "::/0"].into_iter().filter_map(|text| text.parse::<IpNet>().ok()) {
            told.push(PrefixRange { range, min: 0, max: 0, what: "the default route" });
        }
    }
    told
}

/// What this router has itself and nodes may be told: what they take but each other's pods.
fn own(plan: &RouterPlan) -> Vec<PrefixRange> {
    let mut own = told(plan);
    own.retain(|range| !plan.accept.contains(range));
    own
}

/// The families that any session carries.
fn families(plan: &RouterPlan) -> Vec<Family> {
    let carried = |family: &Family| plan.groups.iter().any(|group| group.session.families.contains(family));
    Family::ALL.into_iter().filter(carried).collect()
}

/// The groups whose sessions carry a family.
fn carrying(plan: &RouterPlan, family: Family) -> impl Iterator<Item = &NodeGroup> {
    plan.groups.iter().filter(move |group| group.session.families.contains(&family))
}

/// A password as text; one that is no text cannot be typed into a router either.
fn password(group: &NodeGroup) -> Option<String> {
    let secret = group.session.password.as_ref()?;
    Some(String::from_utf8_lossy(&secret.0).into_owned())
}

/// A text that is put together line by line.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// One more line.
    fn add(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{line}");
    }
}
