//! Two hosts on one link, each with a BGP speaker, and what every pair of speakers has to do.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use ipnet::IpNet;
use muslin_bgp_packet::Family;
use muslin_netns::{Namespace, connect};

use crate::daemon::Daemon;
use crate::route::{Announcement, End, Route, compare, family};
use crate::setup::Setup;
use crate::wait;

/// Two namespaces joined by a link, and the ends of the sessions between them.
#[derive(Debug)]
pub struct Link {
    /// The left host.
    pub left: Namespace,
    /// The right host.
    pub right: Namespace,
    /// The left end.
    pub left_end: End,
    /// The right end.
    pub right_end: End,
}

impl Link {
    /// Makes the hosts and their link.
    ///
    /// # Errors
    /// Without the privileges for it.
    pub fn new(left_asn: u32, right_asn: u32) -> Result<Self> {
        Self::with(left_asn, right_asn, &Family::ALL)
    }

    /// The same with addresses of some families only; an end's IPv4 address is still its identifier.
    ///
    /// # Errors
    /// Without the privileges for it.
    pub fn with(left_asn: u32, right_asn: u32, families: &[Family]) -> Result<Self> {
        let (left, right) = (Namespace::new("left")?, Namespace::new("right")?);
        let end = |asn, host: u8| End {
            asn,
            v4: Ipv4Addr::new(192, 0, 2, host),
            v6: Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, host.into()),
        };
        let link = Self { left, right, left_end: end(left_asn, 1), right_end: end(right_asn, 2) };
        connect(&link.left, "eth0", &link.right, "eth0")?;
        for (host, end) in [(&link.left, link.left_end), (&link.right, link.right_end)] {
            for family in families {
                let length = if *family == Family::Ipv4Unicast { 24 } else { 64 };
                host.add_address("eth0", IpNet::new(end.address_in(*family), length)?)?;
            }
        }
        Ok(link)
    }

    /// What the left speaker is told.
    pub fn left_setup(&self) -> Setup {
        Setup::new(self.left_end, self.right_end, announcements(1, self.left_end.asn))
    }

    /// What the right speaker is told.
    pub fn right_setup(&self) -> Setup {
        Setup::new(self.right_end, self.left_end, announcements(2, self.right_end.asn))
    }
}

/// What an end originates from the start: both families, with and without attributes.
fn announcements(number: u8, asn: u32) -> Vec<Announcement> {
    let v4 = |third| IpNet::new(Ipv4Addr::new(10, number, third, 0).into(), 24);
    let v6 =
        |third: u8| IpNet::new(Ipv6Addr::new(0xfd00, number.into(), third.into(), 0, 0, 0, 0, 0).into(), 64);
    // Both lengths are within the family's.
    let prefixes = [v4(0), v4(1), v6(0), v6(1)].into_iter().flatten();
    prefixes
        .enumerate()
        .map(|(index, prefix)| match index % 2 {
            0 => Announcement::plain(prefix),
            _ => Announcement {
                prefix,
                med: 77,
                communities: [(65535 - u16::from(number), 1), (64512, 65535)].into(),
                extended_communities: BTreeSet::new(),
                large_communities: [(asn, 1, u32::MAX)].into(),
            },
        })
        .collect()
}

/// One speaker and what it was told.
pub struct Side<D: Daemon + ?Sized = dyn Daemon> {
    /// The speaker.
    pub daemon: Box<D>,
    /// Its setup; the announcements are kept as they change.
    pub setup: Setup,
}

impl<D: Daemon + ?Sized> Side<D> {
    /// Puts a started daemon and its setup together.
    pub fn new(daemon: Box<D>, setup: Setup) -> Self {
        Self { daemon, setup }
    }

    /// Originates one more prefix.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn announce(&mut self, announcement: Announcement) -> Result<()> {
        self.daemon.announce(&announcement)?;
        self.setup.announcements.push(announcement);
        Ok(())
    }

    /// Originates a prefix no longer.
    ///
    /// # Errors
    /// When the daemon refuses.
    pub fn withdraw(&mut self, prefix: IpNet) -> Result<()> {
        self.daemon.withdraw(prefix)?;
        self.setup.announcements.retain(|announcement| announcement.prefix != prefix);
        Ok(())
    }

    /// The routes that the other end has to have from this one.
    pub fn expected_at_peer(&self) -> BTreeSet<Route> {
        let Setup { own, sessions, announcements, .. } = &self.setup;
        let sent = |announcement: &Announcement| {
            let family = family(announcement.prefix);
            let session = sessions.iter().find(|session| session.carries(family))?;
            let next_hop = own.address_in(session.transport);
            Some(Route { next_hop, ..announcement.as_received(own, &session.peer) })
        };
        announcements.iter().filter_map(sent).collect()
    }

    /// Waits until every session is established.
    ///
    /// # Errors
    /// When they are not, with the daemon's log.
    pub fn await_established(&mut self) -> Result<()> {
        let all = self.setup.sessions.len();
        let waited = wait::until("every session established", || {
            let found = self.daemon.established()?;
            Ok(if found == all { Ok(()) } else { Err(format!("{found} of {all} established")) })
        });
        waited.with_context(|| self.log())
    }

    /// Waits until this end has exactly these routes. What it originated itself and got back is not counted: whether a
    /// route is echoed to where it came from is left to the sender (RFC 4271 §9.1.3).
    ///
    /// # Errors
    /// The difference, with the daemon's log.
    pub fn await_routes(&mut self, expected: &BTreeSet<Route>) -> Result<()> {
        let own: BTreeSet<IpNet> =
            self.setup.announcements.iter().map(|announcement| announcement.prefix).collect();
        let waited = wait::until("the routes", || {
            let found = self.daemon.received()?;
            let found = found.into_iter().filter(|route| !own.contains(&route.prefix)).collect();
            Ok(compare(expected, &found))
        });
        waited.with_context(|| self.log())
    }

    /// Waits until End-of-RIB of both families was seen, if this daemon tells.
    ///
    /// # Errors
    /// When a family's is missing.
    pub fn await_ends_of_rib(&mut self) -> Result<()> {
        let both = BTreeSet::from([Family::Ipv4Unicast, Family::Ipv6Unicast]);
        let waited = wait::until("End-of-RIB of both families", || {
            Ok(match self.daemon.ends_of_rib()? {
                Some(seen) if seen != both => Err(format!("{seen:?}")),
                Some(_) | None => Ok(()),
            })
        });
        waited.with_context(|| self.log())
    }

    /// The end of its log, for people.
    pub fn log(&self) -> String {
        let log = self.daemon.process().log().unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        format!("its log ends:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

/// What any two speakers have to do: exchange routes both ways in both families, with their attributes and End-of-RIB;
/// announce and withdraw while the session is up; answer a route refresh; and lose nothing on the way.
///
/// # Errors
/// The first thing that did not happen.
pub fn exchange<L: Daemon + ?Sized, R: Daemon + ?Sized>(
    left: &mut Side<L>,
    right: &mut Side<R>,
) -> Result<()> {
    left.await_established().context("left")?;
    right.await_established().context("right")?;
    both_have_all(left, right).context("at first")?;
    left.await_ends_of_rib().context("left")?;
    right.await_ends_of_rib().context("right")?;

    let later = |text: &str| -> Result<Announcement> {
        let communities = [(64512, 7)].into();
        Ok(Announcement { communities, ..Announcement::plain(text.parse()?) })
    };
    left.announce(later("10.1.200.0/22")?)?;
    left.announce(later("fd00:1:200::/48")?)?;
    right.announce(later("10.2.200.0/22")?)?;
    right.announce(later("fd00:2:200::/48")?)?;
    both_have_all(left, right).context("after announcing more")?;

    withdraw_some(left)?;
    withdraw_some(right)?;
    both_have_all(left, right).context("after withdrawing some")?;

    left.daemon.refresh()?;
    right.daemon.refresh()?;
    // A route announced after the request arrives after the answer to it.
    left.announce(later("10.1.240.0/24")?)?;
    right.announce(later("10.2.240.0/24")?)?;
    both_have_all(left, right).context("after a route refresh")?;
    anyhow::ensure!(left.daemon.established()? == left.setup.sessions.len(), "a session was lost on the way");
    Ok(())
}

fn withdraw_some<D: Daemon + ?Sized>(side: &mut Side<D>) -> Result<()> {
    let gone: Vec<IpNet> = side.setup.announcements.iter().step_by(2).map(|gone| gone.prefix).collect();
    gone.into_iter().try_for_each(|prefix| side.withdraw(prefix))
}

/// Waits until each end has all routes of the other and no more.
///
/// # Errors
/// The difference, with the log of the end that has it.
pub fn both_have_all<L: Daemon + ?Sized, R: Daemon + ?Sized>(
    left: &mut Side<L>,
    right: &mut Side<R>,
) -> Result<()> {
    right.await_routes(&left.expected_at_peer()).context("left to right")?;
    left.await_routes(&right.expected_at_peer()).context("right to left")
}
