//! How many instructions a route takes on its way to the kernel, there and back, held to `counts.json`.
#![cfg_attr(debug_assertions, allow(dead_code, unused_imports, reason = "only a release is counted"))]

use std::net::Ipv4Addr;
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net};
use muslin_counts::{Paths, tell_times, timed};

use super::{METRIC, OURS};
use crate::config::ProgrammerConfig;
use crate::reconcile::{Operation, Outcome, Reconciler};
use crate::route::{DesiredRoute, NextHop, RouteChange};
use crate::wire::constants::{RT_TABLE_MAIN, RTM_DELROUTE, RTM_NEWROUTE};
use crate::wire::message::{MessageBuffer, messages};
use crate::wire::route::{Owner, RouteMessage};
use crate::writer::BATCH;

const ROUTES: u32 = 12_000;
const OWNER: Owner = Owner { protocol: OURS, table: RT_TABLE_MAIN };

fn prefix(number: u32) -> IpNet {
    Ipv4Net::new_assert(Ipv4Addr::from_bits((20 << 24) + (number << 8)), 24).into()
}

/// Every fourth route goes over two of eight routers, the others over one.
fn route(number: u32) -> DesiredRoute {
    let router = |number: u32| NextHop::via([10, 0, 0, 1 + (number % 8) as u8], 2);
    let second = number.is_multiple_of(4).then(|| router(number + 1));
    DesiredRoute::over([router(number)].into_iter().chain(second))
}

/// What is desired, taken in.
#[inline(never)]
fn apply(reconciler: &mut Reconciler, changes: &[RouteChange]) {
    for change in changes {
        reconciler.apply(change);
    }
}

/// Desired and actual compared.
#[inline(never)]
fn plan(reconciler: &mut Reconciler, batch: &mut Vec<Operation>) {
    reconciler.next_batch(BATCH, batch);
}

/// Operations into messages.
#[inline(never)]
fn encode(batch: &[Operation], buffer: &mut MessageBuffer) {
    for (sequence, operation) in (0..).zip(batch) {
        operation.encode(buffer, OWNER, None, sequence);
    }
}

/// What the kernel has done, taken in.
#[inline(never)]
fn settle(reconciler: &mut Reconciler, batch: &[Operation], ids: &mut u32) {
    for operation in batch {
        let id = operation.creates().then(|| {
            *ids += 1;
            *ids
        });
        reconciler.handle_outcome(operation, Outcome::Done(id));
    }
}

/// Messages of the kernel into routes: they look like ours to it.
#[inline(never)]
fn decode(buffer: &MessageBuffer) -> usize {
    messages(buffer.bytes())
        .filter(|message| matches!(message.kind, RTM_NEWROUTE | RTM_DELROUTE))
        .filter_map(|message| RouteMessage::parse(message.body))
        .count()
}

fn bring_about(reconciler: &mut Reconciler, changes: &[RouteChange], ids: &mut u32) -> usize {
    timed("apply", || apply(reconciler, changes));
    let (mut batch, mut routes) = (Vec::new(), 0);
    loop {
        batch.clear();
        timed("plan", || plan(reconciler, &mut batch));
        if batch.is_empty() {
            return routes;
        }
        let mut buffer = MessageBuffer::default();
        timed("encode", || encode(&batch, &mut buffer));
        timed("settle", || settle(reconciler, &batch, ids));
        routes += timed("decode", || decode(&buffer));
    }
}

/// What valgrind watches.
#[test]
fn ways_of_routes() {
    let mut reconciler = Reconciler::new(ProgrammerConfig::default(), Instant::now());
    let nothing = reconciler.begin_resync(Some(&[]));
    reconciler.end_resync(nothing);
    let mut ids = 0;
    let install: Vec<_> =
        (0..ROUTES).map(|number| RouteChange::install(prefix(number), route(number))).collect();
    assert!(bring_about(&mut reconciler, &install, &mut ids) >= ROUTES as usize);
    assert_eq!(reconciler.route(prefix(7)).map(|report| report.metric), Some(METRIC));
    let withdraw: Vec<_> = (0..ROUTES).map(|number| RouteChange::withdraw(prefix(number))).collect();
    assert!(bring_about(&mut reconciler, &withdraw, &mut ids) >= ROUTES as usize);
    tell_times(ROUTES);
}

// The development profile counts other things: checks, and calls that a release has none of.
#[cfg(not(debug_assertions))]
#[test]
fn ways_of_routes_take_no_more_instructions_than_their_budgets() {
    let functions = &["apply", "plan", "encode", "settle", "decode"];
    let paths = Paths { module: module_path!(), test: "ways_of_routes", functions, items: ROUTES };
    paths.check(concat!(env!("CARGO_MANIFEST_DIR"), "/src/reconcile/tests/counts.json"));
}
