//! The usual scene: A misbehaves, B watches.

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, announce};
use muslin_proto_tests::tester::{Route, Tester};
use muslin_proto_tests::wire::mp_unreach;
use muslin_proto_tests::{arena, wire};

/// The IPv4 prefix that a bad message is about.
pub(crate) const P4: &str = "10.66.0.0/24";
/// The IPv6 prefix that a bad message is about.
pub(crate) const P6: &str = "fd66::/64";

/// A subject with two established external peers.
pub(crate) struct Scene {
    pub(crate) arena: Arena,
    pub(crate) a: Tester,
    pub(crate) b: Tester,
    markers: u8,
}

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        Self::with(&[])
    }

    pub(crate) fn with(extra: &[(Peer, &str)]) -> Result<Self> {
        let arena = Arena::with(extra)?;
        let (a, b) = (arena.establish(Peer::A)?, arena.establish(Peer::B)?);
        Ok(Self { arena, a, b, markers: 0 })
    }

    /// A right message of A still reaches B: A's session is up and its stream is read at the right place.
    pub(crate) fn a_is_heard(&mut self) -> Result<()> {
        let marker = format!("10.255.{}.0/24", self.markers);
        self.markers += 1;
        self.a.send(&announce(Peer::A, &[&marker])).with_context(|| self.arena.log())?;
        self.b.await_route(&marker).map(drop).with_context(|| self.arena.log())
    }

    /// Right routes for both prefixes are at B.
    pub(crate) fn routes_are_known(&mut self) -> Result<()> {
        self.a.send(&announce(Peer::A, &[P4]))?;
        self.a.send(&announce_v6(&[]))?;
        self.b.await_route(P4)?;
        self.b.await_route(P6).map(drop)
    }

    /// RFC 7606 treat-as-withdraw: the message takes the route away from B, and A is still heard.
    pub(crate) fn is_treated_as_withdrawal(
        &mut self,
        what: &str,
        prefix: &str,
        message: &[u8],
    ) -> Result<()> {
        self.routes_are_known().context(what.to_owned())?;
        self.a.send(message)?;
        self.b.await_withdrawal(prefix).with_context(|| format!("{what}\n{}", self.arena.log()))?;
        self.a_is_heard().context(what.to_owned())
    }

    /// RFC 7606 attribute discard: B gets the route; its attributes are returned; A is still heard.
    pub(crate) fn is_accepted(&mut self, what: &str, message: &[u8]) -> Result<Route> {
        self.a.send(&wire::update(&[P4], &[mp_unreach(&[P6])], &[]))?;
        self.b.await_withdrawal(P4)?;
        self.a.send(message)?;
        let route = self.b.await_route(P4).with_context(|| format!("{what}\n{}", self.arena.log()))?;
        self.a_is_heard().context(what.to_owned())?;
        ensure!(self.b.has(P4), "{what}: the route was withdrawn afterwards");
        Ok(route)
    }

    /// A session reset: A is told so, B loses A's routes, and A may come back.
    pub(crate) fn resets(&mut self, what: &str, message: &[u8], code: u8, subcode: u8) -> Result<()> {
        self.routes_are_known().context(what.to_owned())?;
        self.a.send(message)?;
        self.a
            .expect_notification(code, subcode, None)
            .with_context(|| format!("{what}\n{}", self.arena.log()))?;
        self.b.await_withdrawal(P4).context(what.to_owned())?;
        self.a = self.arena.establish(Peer::A).with_context(|| format!("{what}: coming back"))?;
        Ok(())
    }

    /// Whatever becomes of A: the subject lives, B is undisturbed and A can be heard again.
    pub(crate) fn survives(&mut self, what: &str, message: &[u8]) -> Result<()> {
        self.a.send_if_open(message);
        self.a.send_if_open(&wire::keepalive());
        if self.a_is_heard().is_err() {
            self.a = self.arena.establish(Peer::A).with_context(|| format!("{what}: coming back"))?;
            self.a_is_heard().context(what.to_owned())?;
        }
        Ok(())
    }
}

/// A right IPv6 announcement of A with further attributes.
pub(crate) fn announce_v6(further: &[Vec<u8>]) -> Vec<u8> {
    let mut attributes =
        vec![wire::mp_reach(arena::TESTER_V6, &[P6]), wire::origin(0), wire::as_path(&[Peer::A.asn()])];
    attributes.extend(further.iter().cloned());
    wire::update(&[], &attributes, &[])
}
