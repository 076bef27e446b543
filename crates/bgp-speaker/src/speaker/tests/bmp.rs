//! What a BMP collector is told, read back message by message.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use muslin_bgp_packet::{DecodeContext, FamilySet, PeerKind, UpdateView};

use super::network::Network;
use super::pair::{member, mesh};
use super::seeing::rule;
use crate::bmp::{Exporter, Progress};
use crate::config::{Action, BmpCollector};
use crate::rib::Lagged;

/// A message as the tests want it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Initiation,
    /// Of which table.
    Up(String),
    Down(String, u8),
    /// Table, what of which prefix, with which local preference.
    Route(String, String),
    End(String),
    Statistics(String),
    Termination,
}

/// Which table a per-peer header names.
fn table(header: &[u8]) -> String {
    let address = &header[22..26];
    match (header[0], header[1] & 0x40) {
        (3, _) => "loc-rib".to_owned(),
        (0, 0) => format!("{}.{} before", address[2], address[3]),
        (0, _) => format!("{}.{} after", address[2], address[3]),
        other => panic!("{other:?}"),
    }
}

fn read(mut octets: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    while !octets.is_empty() {
        assert_eq!(octets[0], 3, "version");
        let length = u32::from_be_bytes(octets[1..5].try_into().unwrap()) as usize;
        let (message, rest) = octets.split_at(length);
        octets = rest;
        let (kind, body) = (message[5], &message[6..]);
        if matches!(kind, 4 | 5) {
            told.push(if kind == 4 { Told::Initiation } else { Told::Termination });
            continue;
        }
        let (header, body) = body.split_at(42);
        let table = table(header);
        match kind {
            0 => told.extend(routes(&table, body)),
            1 => told.push(Told::Statistics(table)),
            2 => told.push(Told::Down(table, body[0])),
            3 => told.push(Told::Up(table)),
            other => panic!("type {other}"),
        }
    }
    told
}

fn routes(table: &str, message: &[u8]) -> Vec<Told> {
    let context = DecodeContext::new(PeerKind::Internal, FamilySet::ALL);
    let update = UpdateView::parse(context, &message[19..]).unwrap();
    if update.end_of_rib().is_some() {
        return vec![Told::End(table.to_owned())];
    }
    let mut scratch = Vec::new();
    let block = update.attribute_block().contiguous(&mut scratch);
    let attributes = muslin_bgp_packet::parse_attributes(context.attributes, block).attributes;
    let local_pref = attributes.local_pref.map(|value| format!(" pref {value}")).unwrap_or_default();
    let announced = update.announced();
    let withdrawn = update.withdrawn();
    let announced = announced.iter().map(|nlri| format!("+{}{local_pref}", nlri.prefix));
    let withdrawn = withdrawn.iter().map(|nlri| format!("-{}", nlri.prefix));
    announced.chain(withdrawn).map(|route| Told::Route(table.to_owned(), route)).collect()
}

fn collector() -> BmpCollector {
    BmpCollector::new("192.0.2.1:11019".parse().unwrap())
}

/// Everything that is new for a collector.
fn told(network: &Network, exporter: &mut Exporter) -> Vec<Told> {
    let mut out = BytesMut::new();
    while pull(network, exporter, network.now, &mut out).unwrap() == Progress::More {}
    read(&out)
}

fn pull(
    network: &Network,
    exporter: &mut Exporter,
    now: Instant,
    out: &mut BytesMut,
) -> Result<Progress, Lagged> {
    let room = out.len() + 100;
    exporter.pull(&network.nodes[0].speaker, now, Duration::from_secs(1_000_000), room, out)
}

fn route(table: &str, route: &str) -> Told {
    Told::Route(table.to_owned(), route.to_owned())
}

#[test]
fn a_collector_is_told_sessions_and_tables_and_their_ends() {
    let (at, mut config) = member(1, 2);
    config.peers[0].session.import = rule("in", vec![Action::LocalPref(200)]).into();
    let mut network = Network::new(1, vec![(at, config), member(2, 2)]);
    network.run(Duration::from_secs(1));
    let mut exporter = Exporter::new(collector());
    let told = told(&network, &mut exporter);
    assert_eq!(
        told[..3],
        [Told::Initiation, Told::Up("0.2 before".into()), Told::Up("loc-rib".into())],
        "sessions come before routes"
    );
    assert!(told.contains(&route("0.2 before", "+10.244.2.0/24")), "{told:?}");
    assert!(told.contains(&route("0.2 after", "+10.244.2.0/24 pref 200")), "{told:?}");
    assert!(told.contains(&route("loc-rib", "+10.244.2.0/24 pref 200")), "{told:?}");
    assert!(told.contains(&route("loc-rib", "+10.244.1.0/24")), "ours too: {told:?}");
    for table in ["0.2 before", "0.2 after", "loc-rib"] {
        let ends = told.iter().filter(|told| **told == Told::End(table.into())).count();
        assert_eq!(ends, 2, "one a family: {table}");
    }
}

#[test]
fn a_collector_follows_what_changes_and_what_goes() {
    let mut network = mesh(1, 2);
    network.run(Duration::from_secs(1));
    let mut exporter = Exporter::new(collector());
    told(&network, &mut exporter);
    let (_, mut config) = member(2, 2);
    config.originated.clear();
    let now = network.now;
    network.nodes[1].speaker.configure(now, config).unwrap();
    network.run(Duration::from_secs(1));
    let gone = told(&network, &mut exporter);
    for table in ["0.2 before", "0.2 after", "loc-rib"] {
        assert!(gone.contains(&route(table, "-10.244.2.0/24")), "{table}: {gone:?}");
    }
    network.cut(0);
    let down = told(&network, &mut exporter);
    assert_eq!(down[0], Told::Down("0.2 before".into(), 2), "the connection broke: {down:?}");
    network.run(Duration::from_secs(1));
    let back = told(&network, &mut exporter);
    assert!(back.contains(&Told::Up("0.2 before".into())), "{back:?}");
}

#[test]
fn only_the_chosen_tables_are_told_and_numbers_when_they_are_due() {
    let mut network = mesh(1, 2);
    network.run(Duration::from_secs(1));
    let mut config = collector();
    config.tables.before_policy = false;
    config.tables.loc_rib = false;
    let mut exporter = Exporter::new(config);
    let first = told(&network, &mut exporter);
    let of = |told: &Told, table: &str| match told {
        Told::Route(of, _) | Told::End(of) => of == table,
        _ => false,
    };
    assert!(first.iter().any(|told| of(told, "0.2 after")), "{first:?}");
    assert!(!first.iter().any(|told| of(told, "0.2 before") || of(told, "loc-rib")), "{first:?}");
    assert_eq!(exporter.poll_timeout(), Some(network.now + Duration::from_mins(1)));
    network.run(Duration::from_mins(1));
    assert_eq!(told(&network, &mut exporter), [Told::Statistics("0.2 before".into())]);
}

#[test]
fn a_collector_that_reads_too_slowly_is_told_that_it_must_begin_anew() {
    let mut network = mesh(1, 2);
    network.run(Duration::from_secs(1));
    let mut exporter = Exporter::new(collector());
    told(&network, &mut exporter);
    let (_, config) = member(2, 2);
    for number in 0..100 {
        let mut config = config.clone();
        config.originated[0].med = Some(number);
        let now = network.now;
        network.nodes[1].speaker.configure(now, config).unwrap();
        network.run(Duration::from_millis(20));
    }
    let mut out = BytesMut::new();
    assert_eq!(pull(&network, &mut exporter, network.now, &mut out), Err(Lagged));
}
