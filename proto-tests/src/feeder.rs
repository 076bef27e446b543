//! A peer that has its whole table encoded beforehand and sends it as fast as it is taken.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};
use muslin_netns::{Namespace, connect};
use serde_json::Value;

use crate::daemon::Process;
use crate::tester::Tester;
use crate::wire::{self, Open};
use crate::{kernel, muslin, wait};

/// The feeder's AS.
pub const ASN: u32 = 65001;
/// The feeder's address.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 2);
/// Another feeder's address, in the same AS and on the same host.
pub const SECOND: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 102);
/// The candidate's AS.
pub const CANDIDATE_ASN: u32 = 65000;
/// The candidate's address.
pub const CANDIDATE: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 1);

/// Next hops that the routes take turns over.
const NEXT_HOPS: u32 = 16;
/// Prefixes that share attributes, as in the Internet's table on average.
const PREFIXES_PER_UPDATE: u32 = 6;

/// All UPDATEs and an End-of-RIB.
pub fn encode(routes: u32) -> Vec<u8> {
    encode_sets(routes, ADDRESS, |_| true)
}

/// What the second feeder announces: every other UPDATE of the first one, over next hops of its own.
pub fn encode_half(routes: u32) -> Vec<u8> {
    encode_sets(routes, SECOND, is_doubled)
}

/// The gateways of a prefix while only the first feeder is there.
pub fn gateways_of_first(number: u32) -> Vec<Ipv4Addr> {
    vec![next_hop(ADDRESS, number / PREFIXES_PER_UPDATE)]
}

/// The gateways of a prefix once both feeders have announced theirs, in ascending order.
pub fn gateways_of_both(number: u32) -> Vec<Ipv4Addr> {
    let set = number / PREFIXES_PER_UPDATE;
    let second = is_doubled(set).then(|| next_hop(SECOND, set));
    gateways_of_first(number).into_iter().chain(second).collect()
}

fn next_hop(from: Ipv4Addr, set: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(from) + set % NEXT_HOPS)
}

fn is_doubled(set: u32) -> bool {
    set.is_multiple_of(2)
}

fn encode_sets(routes: u32, from: Ipv4Addr, announced: impl Fn(u32) -> bool) -> Vec<u8> {
    let mut octets = Vec::new();
    for first in (0..routes).step_by(PREFIXES_PER_UPDATE as usize) {
        let set = first / PREFIXES_PER_UPDATE;
        if !announced(set) {
            continue;
        }
        let path: Vec<u32> =
            [ASN].into_iter().chain((0..set % 5).map(|hop| 100_000 + set / 7 + hop)).collect();
        let attributes = [
            wire::origin(0),
            wire::as_path(&path),
            wire::next_hop(next_hop(from, set)),
            wire::communities(&[set]),
        ];
        let nlri: Vec<u8> = (first..routes.min(first + PREFIXES_PER_UPDATE))
            .flat_map(|number| {
                let [a, b, c, _] = kernel::prefix(number).octets();
                [24, a, b, c]
            })
            .collect();
        let attributes = attributes.concat();
        // At most a hundred octets.
        let length = (attributes.len() as u16).to_be_bytes();
        octets.extend(wire::raw_update(&[], length, &attributes, &nlri));
    }
    octets.extend(wire::update(&[], &[], &[]));
    octets
}

/// The hosts of a candidate and of its feeder, joined by a link.
///
/// # Errors
/// Without the privileges for them.
pub fn hosts() -> Result<(Namespace, Namespace)> {
    let (candidate, feeder) = (Namespace::new("candidate")?, Namespace::new("feeder")?);
    connect(&candidate, "eth0", &feeder, "eth0")?;
    candidate.add_address("eth0", format!("{CANDIDATE}/24").parse()?)?;
    feeder.add_address("eth0", format!("{ADDRESS}/24").parse()?)?;
    Ok((candidate, feeder))
}

/// Our speaker as a candidate.
///
/// # Errors
/// When it does not start.
pub fn start_muslin(host: &Namespace) -> Result<Process> {
    start_muslin_with(host, "", "[IPv4]")
}

/// The same with further fields of its `BGPConfiguration`, in one line each, as `bmp: [{address: 192.0.2.1}]`, and
/// with these address families.
///
/// # Errors
/// When it does not start.
pub fn start_muslin_with(host: &Namespace, fields: &str, families: &str) -> Result<Process> {
    let fields = fields.lines().fold(String::new(), |lines, line| lines + "  " + line + "\n");
    let folder = Process::folder()?;
    let state = folder.path().join("state");
    fs::create_dir(&state)?;
    let manifests = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata:\n  name: default\nspec:\n  \
         asn: {CANDIDATE_ASN}\n  routerID: {CANDIDATE}\n  import:\n    cidrs: [0.0.0.0/0, \"::/0\"]\n{fields}---\n\
         apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata:\n  name: in\nspec:\n  import:\n  - action: Accept\n\
         ---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata:\n  name: feeder\nspec:\n  \
         peerAddress: {ADDRESS}\n  peerASN: {ASN}\n  connectMode: Passive\n  families: {families}\n  maxPrefixes: 0\n  filters: [in]\n"
    );
    fs::write(state.join("all.yaml"), manifests)?;
    let mut command = muslin::speaker(&state, folder.path())?;
    Process::start(host, folder, &mut command)
}

/// Waits until our speaker has all routes of all peers that it can wait for.
///
/// # Errors
/// Its status, when it does not come so far.
pub fn await_convergence(muslin: &Process) -> Result<()> {
    wait::until("convergence of muslin", || {
        let mut command = Command::new(muslin::binary()?);
        command.args(["status", "--output", "json", "--socket"]).arg(muslin.path("muslin.sock"));
        // Its exit code tells whether all is well, which it is not yet.
        let output = command.output()?;
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Ok(if status["readiness"]["converged"] == true { Ok(()) } else { Err(format!("{status:#}")) })
    })
}

/// What `muslin peers feeder` says of the session, as JSON.
///
/// # Errors
/// When it does not answer.
pub fn peer_status(muslin: &Process) -> Result<Value> {
    let mut command = Command::new(muslin::binary()?);
    command.args(["peers", "feeder", "--output", "json", "--socket"]).arg(muslin.path("muslin.sock"));
    // Its exit code tells whether all is well, which it is not yet.
    Ok(serde_json::from_slice(&command.output()?.stdout).unwrap_or_default())
}

/// An established session of the second feeder, whose address its host is given.
///
/// # Errors
/// When the candidate takes none.
pub fn establish_second(feeder: &Namespace) -> Result<Tester> {
    feeder.add_address("eth0", format!("{SECOND}/24").parse()?)?;
    let mut tester = Tester::connect(feeder, SECOND, CANDIDATE)?;
    tester.establish(&Open::new(ASN, SECOND, 90)).context("the second session with the candidate")?;
    Ok(tester)
}

/// An established session with the candidate, once it takes connections.
///
/// # Errors
/// When it takes none, with its log.
pub fn await_session(feeder: &Namespace, candidate: &Process) -> Result<Tester> {
    wait::until("the session", || {
        Ok(establish(feeder).map_err(|error| format!("{error:#}\n{}", candidate.log().unwrap_or_default())))
    })
}

fn establish(testers: &Namespace) -> Result<Tester> {
    let stream = testers.run(|| std::net::TcpStream::connect((CANDIDATE, 179)))??;
    let mut tester = Tester::new(stream)?;
    tester.establish(&Open::new(ASN, ADDRESS, 90)).context("session with the candidate")?;
    Ok(tester)
}
