//! Our speaker with each of the others: routes both ways, and the ways in which a session ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::daemon::{Daemon, Setup};
use muslin_proto_tests::daemons::Kind;
use muslin_proto_tests::daemons::muslin::Muslin;
use muslin_proto_tests::peering::{Link, Side, exchange};
use muslin_proto_tests::wait;

/// Ours on the left, the other on the right.
fn exchanges(kind: Kind, our_asn: u32, their_asn: u32) -> Result<()> {
    let link = Link::new(our_asn, their_asn)?;
    let mut ours = Side::new(Box::new(Muslin::start(&link.left, &link.left_setup())?), link.left_setup());
    let mut theirs = Side::new(kind.start(&link.right, &link.right_setup())?, link.right_setup());
    exchange(&mut ours, &mut theirs)
}

/// Ours expects another AS than theirs: it says so on the wire and to its operator, and never exchanges a route.
fn refuses_a_wrong_as(kind: Kind) -> Result<()> {
    let link = Link::new(65001, 65002)?;
    let mut setup = link.left_setup();
    setup.peer.asn = 65003;
    let mut ours = Muslin::start(&link.left, &setup)?;
    let mut theirs = kind.start(&link.right, &link.right_setup())?;
    wait::until("both peers name the fault", || {
        let peers = ours.peers()?;
        let named = |peer: &serde_json::Value| {
            let text = peer["lastError"]["text"].as_str().unwrap_or_default();
            text.contains("2/2") || text.contains("65002")
        };
        Ok(if peers.len() == 2 && peers.iter().all(named) { Ok(()) } else { Err(format!("{peers:#?}")) })
    })?;
    ensure!(ours.established()? == 0 && theirs.established()? == 0);
    ensure!(
        theirs
            .received()?
            .iter()
            .all(|route| !setup.announcements.iter().any(|own| own.prefix == route.prefix))
    );
    Ok(())
}

/// A peer that hangs is given up after the hold time, its routes go, and it is welcome when it wakes.
fn gives_up_a_peer_that_hangs(kind: Kind) -> Result<()> {
    let link = Link::new(65001, 65002)?;
    let short = |setup: Setup| Setup { hold_time: 3, ..setup };
    let mut ours =
        Side::new(Box::new(Muslin::start(&link.left, &short(link.left_setup()))?), short(link.left_setup()));
    let mut theirs =
        Side::new(kind.start(&link.right, &short(link.right_setup()))?, short(link.right_setup()));
    ours.await_routes(&theirs.expected_at_peer())?;
    theirs.daemon.process().freeze()?;
    let frozen = Instant::now();
    wait::until("both sessions are given up", || {
        let established = ours.daemon.established()?;
        Ok(if established == 0 { Ok(()) } else { Err(format!("{established} established")) })
    })?;
    let took = frozen.elapsed();
    // Their last KEEPALIVE may have come up to a second before; a second is for a machine under load.
    ensure!(took > Duration::from_secs(1) && took < Duration::from_secs(6), "given up after {took:?}");
    ours.await_routes(&std::collections::BTreeSet::new()).context("its routes are gone")?;
    theirs.daemon.process().thaw()?;
    ours.await_routes(&theirs.expected_at_peer()).context("after it woke up")?;
    theirs.await_routes(&ours.expected_at_peer()).context("after it woke up")
}

macro_rules! with {
    ($($name:ident: $kind:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn exchanges_routes_as_an_external_peer() -> Result<()> {
                exchanges($kind, 65001, 65002)
            }

            #[test]
            fn exchanges_routes_with_four_octet_as_numbers() -> Result<()> {
                exchanges($kind, 4_200_000_001, 4_200_000_002)
            }

            #[test]
            fn exchanges_routes_as_an_internal_peer() -> Result<()> {
                exchanges($kind, 65001, 65001)
            }

            #[test]
            fn is_refused_with_a_wrong_as() -> Result<()> {
                refuses_a_wrong_as($kind)
            }

            #[test]
            fn is_given_up_when_it_hangs_and_welcome_when_it_wakes() -> Result<()> {
                gives_up_a_peer_that_hangs($kind)
            }
        }
    )*};
}

with! {
    bird: Kind::Bird;
    exabgp: Kind::ExaBgp;
    frr: Kind::Frr;
    gobgp: Kind::GoBgp;
    openbgpd: Kind::OpenBgpd;
}
