//! Peers that mean harm: they cost themselves, not us and not the others.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::arena::{Arena, Peer, announce};
use muslin_proto_tests::tester::Tester;
use muslin_proto_tests::wire::{self, KEEPALIVE, Open, UPDATE};

use crate::scene::Scene;

/// Memory that a speaker may grow by over anything that one peer does, table aside.
const ROOM: u64 = 32 << 20;

/// Octets that depend on a seed and nothing else (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % limit.max(1) as u64).unwrap_or(0)
    }

    /// A right announcement with a few octets of its body changed, or a message of nothing but noise.
    fn message(&mut self) -> Vec<u8> {
        if self.below(4) == 0 {
            let kind = u8::try_from(self.below(8)).unwrap_or(0);
            let body: Vec<u8> = (0..self.below(200)).map(|_| self.roll().to_le_bytes()[0]).collect();
            return wire::message(kind, &body);
        }
        let mut message = announce(Peer::A, &["10.66.0.0/24", "10.67.0.0/16"]);
        for _ in 0..=self.below(3) {
            let at = 19 + self.below(message.len() - 19);
            message[at] = self.roll().to_le_bytes()[0];
        }
        message
    }
}

/// A session of the peer that watches which is still the same, and a peer that is heard on it.
fn others_are_well(scene: &mut Scene, marker: &str) -> Result<()> {
    let mut internal = scene.arena.establish(Peer::Internal)?;
    internal.send(&announce(Peer::Internal, &[marker]))?;
    scene.b.await_route(marker).map(drop).with_context(|| scene.arena.log())
}

#[test]
fn fault_48_a_peer_that_sends_anything_at_all_harms_itself_only() -> Result<()> {
    let mut scene = Scene::new()?;
    let before = scene.arena.footprint()?;
    for seed in 1..=40_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // Refused while it is held off, or welcomed: both are right.
        let Ok(mut a) = scene.arena.connect(Peer::A) else { continue };
        if seed % 4 != 0 {
            a.send_if_open(&Peer::A.open().message());
            a.send_if_open(&wire::keepalive());
        }
        for _ in 0..50 {
            a.send_if_open(&dice.message());
        }
    }
    others_are_well(&mut scene, "10.90.0.0/24")?;
    let after = scene.arena.footprint()?;
    ensure!(after.resident < before.resident + ROOM, "{before:?}, then {after:?}");
    Ok(())
}

#[test]
fn fault_13_a_thousand_connections_leave_nothing_behind_and_one_line_each_way() -> Result<()> {
    let mut scene = Scene::new()?;
    let before = scene.arena.footprint()?;
    let lines = scene.arena.log_lines()?;
    for peer in [Peer::Stranger, Peer::A] {
        for _ in 0..1000 {
            // Opened and left at once, with an OPEN or without.
            if let Ok(mut connection) = scene.arena.connect(peer) {
                connection.send_if_open(&wire::message(UPDATE, &[]));
            }
        }
    }
    others_are_well(&mut scene, "10.91.0.0/24")?;
    let after = scene.arena.footprint()?;
    ensure!(after.files <= before.files + 4, "{before:?}, then {after:?}: connections were left open");
    ensure!(after.resident < before.resident + ROOM, "{before:?}, then {after:?}");
    let said = scene.arena.log_lines()? - lines;
    ensure!(said < 100, "2000 connections wrote {said} lines:\n{}", scene.arena.log());
    Ok(())
}

#[test]
fn fault_11_half_open_connections_hold_no_place() -> Result<()> {
    let mut scene = Scene::new()?;
    let before = scene.arena.footprint()?;
    // A's session is up; these say nothing and are never closed by A. What we close first lingers for a moment, so
    // that A may read why.
    let silent: Vec<Tester> = (0..800).filter_map(|_| scene.arena.connect(Peer::A).ok()).collect();
    scene.a_is_heard()?;
    let during = scene.arena.footprint()?;
    let held = during.files.saturating_sub(before.files);
    ensure!(held < 300, "{held} of {} silent connections are open", silent.len());
    others_are_well(&mut scene, "10.92.0.0/24")
}

/// One peer sends a hundred thousand prefixes, one a message; another one has the shortest hold time there is.
#[test]
fn fault_39_a_flood_of_updates_arrives_whole_and_delays_nobodys_keepalives() -> Result<()> {
    const ROUTES: u32 = 100_000;
    let arena = Arena::with(&[(Peer::A, "maxPrefixes: 0"), (Peer::Internal, "holdTime: 3s")])?;
    let before = arena.footprint()?;
    let mut b = arena.establish(Peer::B)?;
    let mut a = arena.establish(Peer::A)?;
    let internal = arena
        .establish_with(Peer::Internal, &Open::new(Peer::Internal.asn(), Peer::Internal.address(), 3))?;
    let (done, is_done) = mpsc::channel();
    let keeper = thread::spawn(move || keep(internal, &is_done));

    let prefix = |number: u32| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("{}.{b}.{c}.0/24", 20 + a)
    };
    let flood: Vec<u8> = (0..ROUTES).flat_map(|number| announce(Peer::A, &[&prefix(number)])).collect();
    let mut feeder: TcpStream = a.stream()?;
    let feeding = thread::spawn(move || feeder.write_all(&flood));
    b.await_table("the whole flood", |table| table.len() == ROUTES as usize).with_context(|| arena.log())?;
    feeding.join().map_err(|_| anyhow::anyhow!("the feeder failed"))??;
    drop(done);
    keeper.join().map_err(|_| anyhow::anyhow!("the keeper failed"))?.with_context(|| arena.log())?;
    // The peer that flooded is still heard, and the table costs what a table costs.
    a.send(&announce(Peer::A, &["10.255.1.0/24"]))?;
    b.await_route("10.255.1.0/24")?;
    let after = arena.footprint()?;
    ensure!(after.resident < before.resident + 4 * ROOM, "{before:?}, then {after:?}");
    Ok(())
}

/// Answers keepalives until told to stop. Fails when the speaker is silent for as long as its hold time.
fn keep(mut session: Tester, is_done: &mpsc::Receiver<()>) -> Result<()> {
    while is_done.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
        let message = session.receive_within(Duration::from_secs(3)).context("the hold time is over")?;
        if message.kind == KEEPALIVE {
            session.send(&wire::keepalive())?;
        }
    }
    Ok(())
}
