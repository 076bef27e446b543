//! S3: a reflector of many nodes, each of which announces its blocks; then one dies, and comes back.

use std::time::Instant;

use anyhow::Result;
use muslin_proto_tests::load::{Expected, Peer, Prefixes, Relation, Sink, node, reflected};

use super::Extent;
use super::contender::{Contender, internal};
use super::rig::{ASN, MB, Rig, Turn, seconds};
use super::rounds::Wanted;
use crate::report::{Column, Section};

pub(super) const COLUMNS: [Column; 6] = [
    Column { name: "time", unit: "s" },
    Column { name: "processor", unit: "s" },
    Column { name: "establish", unit: "s" },
    Column { name: "node down", unit: "ms" },
    Column { name: "node joins", unit: "ms" },
    Column { name: "peak memory", unit: "MiB" },
];

/// A cluster with a reflector.
pub(super) struct Scenario {
    title: &'static str,
    nodes: u32,
    /// Blocks of each.
    each: u32,
    wanted: &'static [Wanted],
}

/// S3.
pub(super) const USUAL: Scenario = Scenario {
    title: "S3: a route reflector",
    nodes: 1000,
    each: 8,
    wanted: &[
        Wanted::of_best("time", 0.5),
        Wanted::of_best("processor", 0.5),
        Wanted::of_best("node down", 0.6),
        Wanted::of_best("node joins", 1.0),
        Wanted::of_best("peak memory", 1.0),
    ],
};

/// S3b.
pub(super) const LARGE: Scenario = Scenario {
    title: "S3b: a route reflector of 2,000 nodes",
    nodes: 2000,
    each: 8,
    wanted: &[Wanted::of_best("time", 0.4), Wanted::at_most("peak memory", 80.0 * MB)],
};

/// S3c.
pub(super) const HUGE: Scenario = Scenario {
    title: "S3c: a route reflector of 5,000 nodes",
    nodes: 5000,
    each: 2,
    wanted: &[Wanted::of_best("time", 0.4)],
};

pub(super) fn measure(extent: &Extent, scenario: &Scenario) -> Result<Section> {
    let Scenario { title, nodes, each, wanted } = *scenario;
    let nodes = extent.size(nodes, nodes / 10);
    let rounds = extent.rounds(5)?;
    let method = format!(
        "{nodes} nodes of one AS, each with {each} blocks and a session with a route reflector: {} deliveries. `establish` \
         is the time from the first connection until all sessions are up; `time`, from the first octet of an UPDATE until \
         every node has the right path of every block. Then one node's connection closes, until all others know, for \
         which the load waits without sleep: it keeps one processor busy; the node connects again, until it has everything \
         and all others have its blocks. {} repetitions. {}.",
        u64::from(nodes) * u64::from(nodes - 1) * u64::from(each),
        rounds.runs,
        rounds.settings()
    );
    Ok(rounds.measure(title, method, &COLUMNS, wanted, |turn| run(turn, nodes, each)))
}

/// One repetition.
pub(super) fn run(turn: Turn<'_>, nodes: u32, each: u32) -> Result<Vec<f64>> {
    let peers: Vec<Peer> =
        (0..nodes).map(|number| Peer { address: internal(number), asn: ASN, hold_time: 90 }).collect();
    let prefixes = Prefixes::blocks(nodes * each);
    let blocks = |number: u32| number * each..(number + 1) * each;
    let all: Vec<u32> = peers.iter().map(|peer| peer.address.into()).collect();
    let rig = Rig::new(turn, &peers)?;
    rig.load(|swarm| {
        let dialed = Instant::now();
        let mut sessions = Vec::new();
        for peer in &peers {
            sessions.push(swarm.connect(*peer, Some(Sink::new(Relation::Internal, prefixes.clone())))?);
        }
        let established = swarm.establish(rig.deadline(dialed))?;
        rig.await_quiet(swarm)?;
        let numbered = || (0..nodes).zip(&sessions);
        let everything = reflected(&all, each);
        for (number, session) in numbered() {
            swarm.want(*session, Expected { marks: everything.clone(), own: blocks(number) })?;
        }
        let feeds: Vec<_> =
            (0..nodes).map(|number| node(&prefixes, blocks(number), all[number as usize])).collect();
        let before = rig.usage()?;
        let begun = Instant::now();
        for (feed, session) in feeds.iter().zip(&sessions) {
            swarm.send(*session, feed.octets.clone())?;
        }
        let learned = swarm.await_right(rig.deadline(begun))?;
        let after = rig.usage()?;

        let first = sessions[0];
        let without: Vec<u32> = std::iter::once(0).chain(all[1..].iter().copied()).collect();
        let without = reflected(&without, each);
        for (number, session) in numbered().skip(1) {
            swarm.want(*session, Expected { marks: without.clone(), own: blocks(number) })?;
        }
        let died = Instant::now();
        swarm.kill(first);
        let gone = swarm.await_right_awake(rig.deadline(died))?;
        if matches!(turn.contender, Contender::Floor) {
            // It does not know what others announced before.
            return Ok(vec![
                seconds(begun, learned),
                after.cpu_seconds - before.cpu_seconds,
                seconds(dialed, established),
                seconds(died, gone) * 1000.0,
                f64::NAN,
                after.peak_mib,
            ]);
        }

        for (number, session) in numbered() {
            swarm.want(*session, Expected { marks: everything.clone(), own: blocks(number) })?;
        }
        swarm.forget(first)?;
        rig.await_quiet(swarm)?;
        let back = Instant::now();
        swarm.reconnect(first)?;
        swarm.establish(rig.deadline(back))?;
        swarm.send(first, feeds[0].octets.clone())?;
        let joined = swarm.await_right(rig.deadline(back))?;
        let peak = rig.usage()?.peak_mib;
        Ok(vec![
            seconds(begun, learned),
            after.cpu_seconds - before.cpu_seconds,
            seconds(dialed, established),
            seconds(died, gone) * 1000.0,
            seconds(back, joined) * 1000.0,
            peak,
        ])
    })
}
