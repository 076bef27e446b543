//! Several speakers on one link, one of them in the middle of the sessions.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};
use muslin_bgp_packet::Family;
use muslin_netns::Namespace;
use muslin_proto_tests::daemon::Daemon;
use muslin_proto_tests::daemons::Candidate;
use muslin_proto_tests::daemons::muslin::Muslin;
use muslin_proto_tests::peering::Side;
use muslin_proto_tests::route::{Announcement, End};
use muslin_proto_tests::segment::Segment;
use muslin_proto_tests::setup::{Features, Session, Setup};

/// What a session is to have.
pub(crate) type Configure<'a> = &'a dyn Fn(&mut Features);

/// A host on the link and its end.
pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    pub(crate) end: End,
}

/// The link.
pub(crate) struct Hub {
    segment: Segment,
    hosts: u8,
}

impl Hub {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { segment: Segment::new()?, hosts: 0 })
    }

    /// One more host.
    pub(crate) fn host(&mut self, asn: u32) -> Result<Host> {
        self.hosts += 1;
        let v4 = Ipv4Addr::new(192, 0, 2, self.hosts);
        let v6 = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, self.hosts.into());
        let addresses = [format!("{v4}/24"), format!("{v6}/64")];
        let namespace =
            self.segment.host(&format!("host{}", self.hosts), &addresses.each_ref().map(String::as_str))?;
        Ok(Host { namespace, end: End { asn, v4, v6 } })
    }
}

impl Host {
    /// What its speaker is told: IPv4 with each of the peers.
    pub(crate) fn setup(&self, peers: &[(&Self, Configure<'_>)], announcements: &[Announcement]) -> Setup {
        let session = |(peer, features): &(&Self, Configure<'_>)| {
            Session::new(peer.end, Family::Ipv4Unicast).with(features)
        };
        Setup {
            sessions: peers.iter().map(session).collect(),
            ..Setup::new(self.end, self.end, announcements.to_vec())
        }
    }

    /// Ours on it.
    pub(crate) fn ours(&self, setup: Setup) -> Result<Side<Muslin>> {
        let muslin = Muslin::start(&self.namespace, &setup).context("ours")?;
        Ok(Side::new(Box::new(muslin), setup))
    }

    /// Theirs on it.
    pub(crate) fn theirs(&self, candidate: &Candidate, setup: Setup) -> Result<Side<dyn Daemon>> {
        let daemon = candidate.start(&self.namespace, &setup).context("theirs")?;
        Ok(Side::new(daemon, setup))
    }
}

/// Nothing beyond routes.
pub(crate) fn plain(_: &mut Features) {}
