//! Whatever happens in whatever order: the kernel ends as desired, and nothing foreign is touched.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::Change;
use super::*;

#[derive(Clone, Debug)]
enum Action {
    Apply { prefix: usize, hops: Option<Vec<(u32, u8)>> },
    Foreign { prefix: usize, metric: u32, change: Change },
    Steal(usize),
    StealObject(usize),
    LinkDown(u32),
    LinkUp(u32),
    LoseEvents,
    LoseAnswers(Answers),
    FailRead,
    Audit,
    NextHopLost(u32, u8),
    MarkSynced,
    Settle,
    Restart,
}

const PREFIXES: [&str; 5] = ["10.1.0.0/16", "10.2.0.0/16", "10.2.1.0/24", "10.3.0.0/16", "0.0.0.0/0"];

fn action() -> impl Strategy<Value = Action> {
    let prefix = 0..PREFIXES.len();
    let hop = (1..4_u32, 1..3_u8);
    let change = prop_oneof![Just(Change::Added), Just(Change::Replaced), Just(Change::Deleted)];
    let metric = prop_oneof![Just(METRIC), Just(0), Just(1000)];
    prop_oneof![
        8 => (prefix.clone(), prop::option::weighted(0.8, prop::collection::vec(hop.clone(), 0..4)))
            .prop_map(|(prefix, hops)| Action::Apply { prefix, hops }),
        2 => (prefix.clone(), metric, change)
            .prop_map(|(prefix, metric, change)| Action::Foreign { prefix, metric, change }),
        1 => prefix.prop_map(Action::Steal),
        1 => (0..6_usize).prop_map(Action::StealObject),
        1 => (1..4_u32).prop_map(Action::LinkDown),
        2 => (1..4_u32).prop_map(Action::LinkUp),
        1 => Just(Action::LoseEvents),
        1 => prop_oneof![Just(Answers::Lost), Just(Answers::Unknown)].prop_map(Action::LoseAnswers),
        1 => Just(Action::FailRead),
        2 => Just(Action::Audit),
        1 => hop.prop_map(|(link, last)| Action::NextHopLost(link, last)),
        1 => Just(Action::MarkSynced),
        4 => Just(Action::Settle),
        1 => Just(Action::Restart),
    ]
}

/// An empty list of hops stands for a blackhole.
fn desired(hops: &[(u32, u8)]) -> DesiredRoute {
    match hops {
        [] => DesiredRoute::blackhole(),
        hops => DesiredRoute::over(hops.iter().map(|(link, last)| gateway(*link, *last))),
    }
}

fn run(actions: Vec<Action>, objects: NextHopObjects, without_objects: bool) {
    let mut machine = Machine::new(objects);
    machine.kernel.without_objects = without_objects;
    let mut wanted: BTreeMap<usize, Vec<(u32, u8)>> = BTreeMap::new();
    let mut lost = Vec::new();
    for action in actions {
        let net = |prefix: usize| PREFIXES[prefix].parse::<IpNet>().unwrap();
        match action {
            Action::Apply { prefix, hops } => {
                machine.apply(PREFIXES[prefix], hops.as_deref().map(desired));
                match hops {
                    Some(hops) => wanted.insert(prefix, hops),
                    None => wanted.remove(&prefix),
                };
            }
            Action::Foreign { prefix, metric, change } => machine.kernel.foreign(net(prefix), metric, change),
            Action::Steal(prefix) => machine.kernel.steal(net(prefix), METRIC),
            Action::StealObject(nth) => machine.kernel.steal_object(nth),
            Action::LinkDown(link) => machine.kernel.link_down(link),
            Action::LinkUp(link) => machine.kernel.link_up(link),
            Action::LoseEvents => machine.kernel.lose_events(),
            Action::LoseAnswers(answers) => machine.answers = answers,
            Action::FailRead => machine.read_fails = true,
            Action::Audit => machine.reconciler.handle_timeout(machine.reconciler.poll_timeout()),
            Action::NextHopLost(link, last) => {
                machine.reconciler.next_hop_lost(&gateway(link, last));
                lost.push((link, last));
            }
            Action::MarkSynced => machine.reconciler.mark_synced(),
            Action::Settle => machine.settle(),
            Action::Restart => {
                machine = machine.restart(objects);
                machine.kernel.events.clear();
                for (prefix, hops) in &wanted {
                    machine.apply(PREFIXES[*prefix], Some(desired(hops)));
                }
            }
        }
    }
    machine.reconciler.mark_synced();
    machine.settle();
    // A disturbance may have brought a read of its own; one more finds nothing to do.
    machine.reconciler.handle_overrun();
    machine.settle();
    check(&machine, &wanted, &lost);
}

fn check(machine: &Machine, wanted: &BTreeMap<usize, Vec<(u32, u8)>>, lost: &[(u32, u8)]) {
    let plain = !machine.reconciler.status().uses_next_hop_objects;
    for (prefix, text) in PREFIXES.iter().enumerate() {
        let net: IpNet = text.parse().unwrap();
        let found = machine.hops(text);
        let Some(hops) = wanted.get(&prefix) else {
            assert_eq!(found, None, "{text} is not desired");
            continue;
        };
        let blocked =
            machine.kernel.foreign_routes().iter().any(|route| (route.prefix, route.metric) == (net, METRIC));
        let up: Vec<_> = hops.iter().filter(|(link, _)| machine.kernel.is_up(*link)).collect();
        let possible = hops.is_empty() || if plain { up.len() == hops.len() } else { !up.is_empty() };
        match found {
            None => assert!(blocked || !possible, "{text} is missing: {:#?}", machine.reconciler.status()),
            Some(found) => {
                assert!(possible, "{text} is there by {found:?}");
                for hop in &found {
                    assert!(up.iter().any(|(link, last)| gateway(*link, *last).gateway == hop.gateway));
                }
                for (link, last) in up {
                    let there = found.iter().any(|hop| hop.gateway == gateway(*link, *last).gateway);
                    assert!(there || lost.contains(&(*link, *last)), "{text} lacks a next hop: {found:?}");
                }
            }
        }
    }
    // Kept for routes that are blocked, and for groups that do without it for now.
    let named = |hop: &NextHop| {
        wanted.values().flatten().any(|(link, last)| gateway(*link, *last).gateway == hop.gateway)
    };
    let unused = machine.kernel.unused_objects();
    assert!(unused.iter().all(named), "{unused:?} are left over");
    let status = machine.reconciler.status();
    assert_eq!(status.pending, 0);
    assert_eq!(status.installed, machine.kernel.own_routes().len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_ends_in_agreement_over_objects(actions in prop::collection::vec(action(), 0..40)) {
        run(actions, NextHopObjects::WherePossible, false);
    }

    #[test]
    fn any_history_ends_in_agreement_without_objects(actions in prop::collection::vec(action(), 0..40)) {
        run(actions, NextHopObjects::Never, false);
    }

    #[test]
    fn any_history_ends_in_agreement_on_an_old_kernel(actions in prop::collection::vec(action(), 0..40)) {
        run(actions, NextHopObjects::WherePossible, true);
    }
}
