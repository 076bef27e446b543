//! Restarts, the subject's and its peers': RFC 4724, 8538 and 9494, and the marked refresh of RFC 7313.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, announce, announce_with};
use muslin_proto_tests::tester::{Message, Route, Tester};
use muslin_proto_tests::wire::{
    self, Forwarding, KEEPALIVE, NOTIFICATION, OPEN, OVER_NOTIFICATION, Open, RESTARTED, ROUTE_REFRESH,
    UPDATE,
};
use nix::sys::signal::Signal;

/// Two routes of A, and one that tells that everything before it was heard.
const FIRST: &str = "10.66.0.0/24";
const SECOND: &str = "10.66.1.0/24";
const MARKER: &str = "10.255.0.0/24";

const LLGR_STALE: u32 = 0xffff_0006;
const NO_LLGR: u32 = 0xffff_0007;

/// A's OPEN with further capabilities.
fn open(further: &[Vec<u8>]) -> Open {
    Peer::A.open().with_capabilities(Peer::A.asn(), further)
}

/// A's OPEN with graceful restart.
fn graceful(flags: u8, seconds: u16, forwarding: Forwarding) -> Open {
    open(&[wire::graceful_restart(flags, seconds, forwarding)])
}

/// A subject, A with this OPEN and two routes, and B that has them.
fn watched(first: &Open) -> Result<(Arena, Tester, Tester)> {
    let arena = Arena::new()?;
    let mut b = arena.establish(Peer::B)?;
    let mut a = arena.establish_with(Peer::A, first)?;
    a.send(&announce(Peer::A, &[FIRST, SECOND]))?;
    b.await_route(SECOND).with_context(|| arena.log())?;
    Ok((arena, a, b))
}

/// A comes back, repeats its first route, and is heard; what B was told until then is what it has.
fn returns(arena: &Arena, b: &mut Tester, open: &Open) -> Result<Tester> {
    let mut a = arena.establish_with(Peer::A, open)?;
    a.send(&announce(Peer::A, &[FIRST]))?;
    a.send(&announce(Peer::A, &[MARKER]))?;
    b.await_route(MARKER).with_context(|| arena.log())?;
    Ok(a)
}

#[test]
fn rfc4724_2_a_lost_connection_is_no_withdrawal_and_end_of_rib_sweeps() -> Result<()> {
    let (arena, a, mut b) = watched(&graceful(0, 60, Forwarding::Kept))?;
    drop(a);
    let mut a = returns(&arena, &mut b, &graceful(RESTARTED, 60, Forwarding::Kept))?;
    ensure!(b.has(SECOND), "it was withdrawn before the End-of-RIB\n{}", arena.log());
    a.send(&wire::end_of_rib())?;
    b.await_withdrawal(SECOND).with_context(|| arena.log())?;
    ensure!(b.has(FIRST) && b.has(MARKER), "what was repeated stays");
    Ok(())
}

#[test]
fn rfc4724_2_an_open_without_the_f_bit_or_the_capability_deletes_at_once() -> Result<()> {
    for second in [graceful(RESTARTED, 60, Forwarding::Lost), Peer::A.open()] {
        let (arena, a, mut b) = watched(&graceful(0, 60, Forwarding::Kept))?;
        drop(a);
        let _a = arena.establish_with(Peer::A, &second)?;
        b.await_withdrawal(FIRST).with_context(|| arena.log())?;
        b.await_withdrawal(SECOND)?;
    }
    Ok(())
}

#[test]
fn rfc4724_2_the_restart_time_ends_it() -> Result<()> {
    let (arena, a, mut b) = watched(&graceful(0, 2, Forwarding::Kept))?;
    drop(a);
    let lost = Instant::now();
    b.await_withdrawal(FIRST).with_context(|| arena.log())?;
    let kept = lost.elapsed();
    ensure!(kept >= Duration::from_millis(1900), "withdrawn after {kept:?}");
    Ok(())
}

#[test]
fn rfc4724_2_a_second_loss_deletes_what_was_stale_and_keeps_what_was_repeated() -> Result<()> {
    let open = graceful(RESTARTED, 60, Forwarding::Kept);
    let (arena, a, mut b) = watched(&open)?;
    drop(a);
    drop(returns(&arena, &mut b, &open)?);
    b.await_withdrawal(SECOND).with_context(|| arena.log())?;
    ensure!(b.has(FIRST), "it was announced in the lost session");
    Ok(())
}

#[test]
fn rfc4724_3_a_new_connection_of_a_restarting_peer_replaces_the_established_one() -> Result<()> {
    let open = graceful(RESTARTED, 60, Forwarding::Kept);
    let (arena, mut old, mut b) = watched(&Open { hold_time: 6, ..open.clone() })?;
    // Their next KEEPALIVE is 1.5 s away: by then a new connection is no collision any more.
    old.await_kind(KEEPALIVE)?;
    let began = Instant::now();
    let _new = returns(&arena, &mut b, &open)?;
    ensure!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
    ensure!(b.has(SECOND), "nothing was withdrawn for it");
    closes_without_a_word(&mut old)
}

/// The connection ends, and nothing that came on it before was a NOTIFICATION.
fn closes_without_a_word(tester: &mut Tester) -> Result<()> {
    loop {
        match tester.receive() {
            Ok(Message { kind: NOTIFICATION, body }) => anyhow::bail!("NOTIFICATION {body:02x?}"),
            Ok(_) => {}
            Err(error) if format!("{error:#}").contains("closed the connection") => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[test]
fn rfc8538_1_a_notification_keeps_routes_only_if_both_sides_have_the_n_bit() -> Result<()> {
    let reset = wire::message(NOTIFICATION, &[6, 4]);
    let open = graceful(OVER_NOTIFICATION, 60, Forwarding::Kept);
    let (arena, mut a, mut b) = watched(&open)?;
    a.send(&reset)?;
    a.expect_end()?;
    let mut a = returns(&arena, &mut b, &open)?;
    ensure!(b.has(SECOND), "it was withdrawn for a NOTIFICATION\n{}", arena.log());
    // Cease/9 is a reset that is meant (RFC 8538 §3.1).
    a.send(&wire::message(NOTIFICATION, &[6, 9, 6, 4]))?;
    b.await_withdrawal(SECOND).with_context(|| arena.log())?;

    let mut a = arena.establish_with(Peer::A, &graceful(0, 60, Forwarding::Kept))?;
    a.send(&announce(Peer::A, &[SECOND]))?;
    b.await_route(SECOND)?;
    a.send(&reset)?;
    b.await_withdrawal(SECOND).with_context(|| arena.log())
}

#[test]
fn fault_12_a_peer_that_stalls_past_its_hold_time_loses_no_route() -> Result<()> {
    let open = Open { hold_time: 3, ..graceful(OVER_NOTIFICATION, 60, Forwarding::Kept) };
    let (arena, mut a, mut b) = watched(&open)?;
    a.expect_notification(4, 0, None).with_context(|| arena.log())?;
    let mut a = returns(&arena, &mut b, &graceful(OVER_NOTIFICATION, 60, Forwarding::Kept))?;
    ensure!(b.has(SECOND), "it was withdrawn when the hold timer expired\n{}", arena.log());
    a.send(&wire::end_of_rib())?;
    b.await_withdrawal(SECOND)
}

/// The graceful-restart capability in the subject's OPEN: flags, and the flags of IPv4 and IPv6.
fn offered(message: &Message) -> Result<[u8; 3]> {
    let value = capability(message, 64).context("no graceful restart offered")?;
    let flags =
        |afi: u8| value[2..].chunks(4).find(|family| family[..3] == [0, afi, 1]).map(|family| family[3]);
    Ok([value[0] & 0xf0, flags(1).context("IPv4")?, flags(2).context("IPv6")?])
}

/// The value of a capability in an OPEN of ours, which has one parameter with all of them.
fn capability(open: &Message, code: u8) -> Option<Vec<u8>> {
    let mut rest = open.body.get(12..)?;
    while let [found, length, after @ ..] = rest {
        let (value, after) = after.split_at_checked(usize::from(*length))?;
        if *found == code {
            return Some(value.to_vec());
        }
        rest = after;
    }
    None
}

#[test]
fn fault_02_sigterm_is_a_restart_without_a_cease_that_the_next_process_owns_up_to() -> Result<()> {
    for how in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut arena = Arena::new()?;
        let open = graceful(0, 60, Forwarding::Kept);
        let mut a = arena.meet(Peer::A)?;
        ensure!(offered(a.peek()?)? == [OVER_NOTIFICATION, 0, 0], "a first start claims nothing");
        a.establish(&open)?;
        let mut b = arena.establish(Peer::B)?;
        a.send(&announce(Peer::A, &[FIRST, SECOND]))?;
        b.await_route(SECOND)?;
        arena.await_kernel(SECOND)?;
        arena.restart(how)?;
        closes_without_a_word(&mut a).with_context(|| arena.log())?;
        closes_without_a_word(&mut b)?;
        // R, and F only where the kernel held routes: there were none of IPv6.
        let mut a = arena.meet(Peer::A)?;
        let flags = offered(a.peek()?)?;
        ensure!(flags == [RESTARTED | OVER_NOTIFICATION, 0x80, 0], "{flags:02x?}\n{}", arena.log());
        a.establish(&open)?;
        ensure!(arena.in_kernel(SECOND)?, "the route outlives the process");
        // What A does not repeat goes when A has said all.
        a.send(&announce(Peer::A, &[FIRST]))?;
        a.send(&wire::end_of_rib())?;
        a.send(&wire::update(&[], &[wire::mp_unreach(&[])], &[]))?;
        let mut b = arena.establish(Peer::B)?;
        b.await_route(FIRST).with_context(|| arena.log())?;
        ensure!(!b.has(SECOND));
    }
    Ok(())
}

#[test]
fn fault_45_a_restart_waits_for_no_peer_that_does_not_come_back() -> Result<()> {
    let mut arena = Arena::new()?;
    let open = graceful(0, 60, Forwarding::Kept);
    let mut a = arena.establish_with(Peer::A, &open)?;
    let b = arena.establish(Peer::B)?;
    a.send(&announce(Peer::A, &[FIRST]))?;
    arena.await_kernel(FIRST)?;
    arena.restart(Signal::SIGKILL)?;
    drop(b);
    // B stays away, and the internal peer has no graceful restart.
    let mut a = arena.establish_with(Peer::A, &open)?;
    let mut internal = arena.establish(Peer::Internal)?;
    let began = Instant::now();
    a.send(&announce(Peer::A, &[FIRST]))?;
    a.send(&wire::end_of_rib())?;
    a.send(&wire::update(&[], &[wire::mp_unreach(&[])], &[]))?;
    internal.await_route(FIRST).with_context(|| arena.log())?;
    ensure!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    Ok(())
}

#[test]
fn rfc7313_1_a_marked_refresh_of_a_peer_sweeps_what_it_does_not_repeat() -> Result<()> {
    const REFRESH: [u8; 3] = [0, 1, 2];
    let [_, begin, end] = REFRESH;
    let (arena, mut a, mut b) = watched(&open(&[wire::capability(70, &[])]))?;
    // An end without a beginning means nothing, and a second beginning starts over.
    a.send(&wire::refresh(end))?;
    a.send(&wire::refresh(begin))?;
    a.send(&announce(Peer::A, &[SECOND]))?;
    a.send(&wire::refresh(begin))?;
    a.send(&announce(Peer::A, &[FIRST, MARKER]))?;
    b.await_route(MARKER).with_context(|| arena.log())?;
    ensure!(b.has(SECOND), "nothing goes before the end");
    a.send(&wire::refresh(end))?;
    b.await_withdrawal(SECOND).with_context(|| arena.log())?;
    ensure!(b.has(FIRST) && b.has(MARKER));
    // An unknown subtype is ignored, and a wrong length is 7/1 between peers that know it.
    a.send(&wire::refresh(9))?;
    a.send(&wire::message(ROUTE_REFRESH, &[0, 1, 1, 1, 0]))?;
    a.expect_notification(7, 1, None).with_context(|| arena.log())
}

#[test]
fn rfc7313_1_what_is_sent_again_stands_between_marks_where_the_peer_knows_them() -> Result<()> {
    let (arena, _a, b) = watched(&Peer::A.open())?;
    drop(b);
    for (further, marks) in [(vec![wire::capability(70, &[])], true), (vec![], false)] {
        let open = Peer::B.open().with_capabilities(Peer::B.asn(), &further);
        let mut b = arena.establish_with(Peer::B, &open)?;
        b.await_route(SECOND)?;
        b.send(&wire::refresh(0))?;
        let mut seen = Vec::new();
        while !seen.contains(&"routes") || (marks && !seen.contains(&"end")) {
            let Message { kind, body } = b.receive().with_context(|| format!("{seen:?}\n{}", arena.log()))?;
            seen.extend(match (kind, &*body) {
                (ROUTE_REFRESH, [0, 1, 1, 1]) => Some("begin"),
                (ROUTE_REFRESH, [0, 1, 2, 1]) => Some("end"),
                (UPDATE, body) if body.ends_with(&wire::prefix(SECOND)) => Some("routes"),
                _ => None,
            });
        }
        ensure!(seen == if marks { vec!["begin", "routes", "end"] } else { vec!["routes"] }, "{seen:?}");
    }
    Ok(())
}

fn has_community(route: &Route, community: u32) -> bool {
    route
        .attributes
        .get(&8)
        .is_some_and(|(_, value)| value.chunks(4).any(|found| found == community.to_be_bytes()))
}

/// A peer whose restart time and stale time are over in a moment, one that knows RFC 9494 and one that does not.
#[test]
fn rfc9494_1_routes_outlive_the_restart_time_as_a_last_resort_for_those_who_know() -> Result<()> {
    let long_lived = "gracefulRestart: {longLivedStaleTime: 60s}";
    let arena = Arena::with(&[(Peer::A, long_lived), (Peer::B, long_lived)])?;
    let knows =
        [wire::graceful_restart(0, 60, Forwarding::Kept), wire::long_lived_restart(60, Forwarding::Kept)];
    let mut b = arena.establish_with(Peer::B, &Peer::B.open().with_capabilities(Peer::B.asn(), &knows))?;
    let mut internal = arena.establish(Peer::Internal)?;
    let brief =
        [wire::graceful_restart(0, 1, Forwarding::Kept), wire::long_lived_restart(3, Forwarding::Kept)];

    let mut a = arena.meet(Peer::A)?;
    let value = capability(a.peek()?, 71).context("RFC 9494 is not offered")?;
    ensure!(value == [0, 1, 1, 0, 0, 0, 60, 0, 2, 1, 0, 0, 0, 60], "{value:02x?}");
    a.establish(&open(&brief))?;
    a.send(&announce(Peer::A, &[FIRST]))?;
    a.send(&announce_with(Peer::A, &[wire::communities(&[NO_LLGR])], &[SECOND]))?;
    b.await_route(SECOND)?;
    internal.await_route(SECOND)?;
    ensure!(internal.has(FIRST));
    drop(a);

    let first: ipnet::IpNet = FIRST.parse()?;
    b.await_table("marked", |table| table.get(&first).is_some_and(|route| has_community(route, LLGR_STALE)))
        .with_context(|| arena.log())?;
    b.await_withdrawal(SECOND)?;
    internal.await_withdrawal(FIRST).context("who does not know it is not sent it")?;
    ensure!(b.has(FIRST), "its stale time has not passed");
    b.await_withdrawal(FIRST).with_context(|| arena.log())?;

    // A route that comes marked is marked on, and a returned peer's End-of-RIB sweeps.
    let patient =
        [wire::graceful_restart(0, 1, Forwarding::Kept), wire::long_lived_restart(60, Forwarding::Kept)];
    let mut a = arena.establish_with(Peer::A, &open(&patient))?;
    a.send(&announce(Peer::A, &[FIRST, SECOND]))?;
    b.await_route(SECOND)?;
    drop(a);
    b.await_table("marked", |table| table.get(&first).is_some_and(|route| has_community(route, LLGR_STALE)))?;
    let mut a = returns(&arena, &mut b, &open(&patient))?;
    ensure!(b.has(SECOND));
    a.send(&wire::end_of_rib())?;
    b.await_withdrawal(SECOND).with_context(|| arena.log())?;
    // And without the F bit at once.
    drop(a);
    b.await_table("marked", |table| table.get(&first).is_some_and(|route| has_community(route, LLGR_STALE)))?;
    let lost =
        [wire::graceful_restart(0, 1, Forwarding::Kept), wire::long_lived_restart(60, Forwarding::Lost)];
    let _a = arena.establish_with(Peer::A, &open(&lost))?;
    b.await_withdrawal(FIRST).with_context(|| arena.log())
}

#[test]
fn rfc9494_1_switched_off_it_is_not_offered() -> Result<()> {
    let mut a = Arena::new()?.meet(Peer::A)?;
    let open = a.peek()?;
    ensure!(open.kind == OPEN && capability(open, 71).is_none(), "{open:02x?}");
    Ok(())
}
