//! Ours and one of theirs on a link.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use muslin_proto_tests::daemon::{Daemon, Refused};
use muslin_proto_tests::daemons::Candidate;
use muslin_proto_tests::daemons::muslin::Muslin;
use muslin_proto_tests::peering::{Link, Side, both_have_all, exchange};
use muslin_proto_tests::setup::{Features, Session, Setup};
use muslin_proto_tests::wait;
use serde_json::Value;

/// Ours on the left, theirs on the right.
pub(crate) struct Pair {
    pub(crate) link: Link,
    pub(crate) ours: Side<Muslin>,
    pub(crate) theirs: Side,
}

impl Pair {
    /// External peers, with what the sessions are to have on each side.
    pub(crate) fn new(
        candidate: &Candidate,
        ours: impl Fn(&mut Features),
        theirs: impl Fn(&mut Features),
    ) -> Result<Self> {
        Self::of(candidate, (65001, 65002), |setup| setup.with(&ours), |setup| setup.with(&theirs))
    }

    /// Peers of these ASes, whose setups may be anything.
    pub(crate) fn of(
        candidate: &Candidate,
        (our_asn, their_asn): (u32, u32),
        ours: impl FnOnce(Setup) -> Setup,
        theirs: impl FnOnce(Setup) -> Setup,
    ) -> Result<Self> {
        Self::on(Link::new(our_asn, their_asn)?, candidate, ours, theirs)
    }

    /// The same on a given link.
    pub(crate) fn on(
        link: Link,
        candidate: &Candidate,
        ours: impl FnOnce(Setup) -> Setup,
        theirs: impl FnOnce(Setup) -> Setup,
    ) -> Result<Self> {
        let (ours, theirs) = (ours(link.left_setup()), theirs(link.right_setup()));
        // Theirs first: it may not understand what it is told.
        let theirs = Side::new(candidate.start(&link.right, &theirs).context("theirs")?, theirs);
        let ours = Side::new(Box::new(Muslin::start(&link.left, &ours).context("ours")?), ours);
        Ok(Self { link, ours, theirs })
    }

    /// Everything that any pair has to do.
    pub(crate) fn exchange(&mut self) -> Result<()> {
        exchange(&mut self.ours, &mut self.theirs)
    }

    /// Waits until each has all routes of the other.
    pub(crate) fn both_have_all(&mut self) -> Result<()> {
        self.ours.await_established()?;
        both_have_all(&mut self.ours, &mut self.theirs)
    }

    /// Waits until every session is established and each peer's OPEN had a capability, in the words of our status.
    pub(crate) fn needs_capability(&mut self, words: &str) -> Result<()> {
        self.ours.await_established()?;
        for peer in self.ours.daemon.peers()? {
            let theirs = &peer["negotiated"]["capabilities"]["theirs"];
            let all: Vec<&str> = theirs.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if !all.iter().any(|capability| capability.contains(words)) {
                bail!(Refused(format!("its OPEN has no capability “{words}”, but {}", names(&all))));
            }
        }
        Ok(())
    }

    /// Waits until our log says of every session something that a fault is known by.
    pub(crate) fn await_fault(&mut self, what: &str, named: impl Fn(&str) -> bool) -> Result<()> {
        let waited = wait::until(what, || {
            let log = self.ours.daemon.process().log()?;
            let said = |session: &Session| {
                let peer = format!("peer={} ", session.name());
                log.lines().any(|line| line.contains(&peer) && named(line))
            };
            let all = self.ours.setup.sessions.iter().all(said);
            Ok(if all { Ok(()) } else { Err(log) })
        });
        waited.with_context(|| self.theirs.daemon.said().unwrap_or_default())
    }

    /// Waits until their routes are gone from ours.
    pub(crate) fn await_nothing(&mut self) -> Result<()> {
        self.ours.await_routes(&BTreeSet::new())
    }
}

/// Capabilities in the words of our status.
const CAPABILITIES: [&str; 11] = [
    "route refresh",
    "enhanced route refresh",
    "extended next hop",
    "extended message",
    "role",
    "graceful restart",
    "long-lived graceful restart",
    "4-octet AS",
    "ADD-PATH",
    "name",
    "software",
];

/// Which capabilities an OPEN had, without what differs between sessions and machines.
fn names(all: &[&str]) -> String {
    let known = |name: &&&str| all.iter().any(|words| words.starts_with(**name));
    CAPABILITIES.iter().filter(known).copied().collect::<Vec<_>>().join(", ")
}
