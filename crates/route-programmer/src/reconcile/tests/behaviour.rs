//! What the core does, case by case.

use std::collections::BTreeSet;

use super::*;
use crate::status::{ClashEffect, RouteState};
use crate::wire::nexthop::Members;
use crate::wire::route::{RouteWrite, Write};

const NET: &str = "10.244.1.0/24";

fn over(hops: &[NextHop]) -> DesiredRoute {
    DesiredRoute::over(hops.iter().copied())
}

fn settled(objects: NextHopObjects, routes: &[(&str, &[NextHop])]) -> Machine {
    let mut machine = Machine::new(objects);
    for (prefix, hops) in routes {
        machine.apply(prefix, Some(over(hops)));
    }
    machine.reconciler.mark_synced();
    machine.settle();
    machine.sent.clear();
    machine
}

#[test]
fn routes_that_share_next_hops_share_an_object() {
    let (a, b) = (gateway(1, 1), gateway(2, 1));
    let routes: &[(&str, &[NextHop])] =
        &[("10.1.0.0/16", &[a]), ("10.2.0.0/16", &[a]), ("10.3.0.0/16", &[a, b]), ("10.4.0.0/16", &[b, a])];
    let machine = settled(NextHopObjects::WherePossible, routes);
    let status = machine.reconciler.status();
    assert_eq!((status.next_hop_objects, status.next_hop_groups), (3, 1));
    assert_eq!(machine.hops("10.4.0.0/16"), Some(vec![a, b]));
    assert!(status.agreement);
}

#[test]
fn a_new_path_replaces_the_old_one_in_one_message() {
    let mut machine = settled(NextHopObjects::Never, &[(NET, &[gateway(1, 1)])]);
    machine.apply(NET, Some(over(&[gateway(1, 2)])));
    machine.settle();
    assert!(matches!(machine.sent[..], [Operation::WriteRoute { write: Write::Replace, .. }]));
}

#[test]
fn many_changes_are_scattered_over_all_prefixes_and_none_is_left_out() {
    const ROUTES: u32 = 8192;
    let first = 20 << 24;
    let mut machine = settled(NextHopObjects::Never, &[]);
    for number in 0..ROUTES {
        let prefix = ipnet::Ipv4Net::new_assert((first + (number << 8)).into(), 24);
        machine.apply(&prefix.to_string(), Some(over(&[gateway(1, 1)])));
    }
    let mut batch = Vec::new();
    machine.reconciler.next_batch(ROUTES as usize + 1, &mut batch);
    let written = |operation: &Operation| match operation {
        Operation::WriteRoute { route: RouteWrite { prefix: IpNet::V4(prefix), .. }, .. } => {
            Some((u32::from(prefix.network()) - first) >> 8)
        }
        _ => None,
    };
    let mut written: Vec<u32> = batch.iter().filter_map(written).collect();
    let sixteenths: BTreeSet<u32> = written.iter().take(64).map(|number| number * 16 / ROUTES).collect();
    assert_eq!(sixteenths.len(), 16, "{:?}", &written[..64]);
    written.sort_unstable();
    assert_eq!(written, (0..ROUTES).collect::<Vec<_>>());
}

#[test]
fn a_deleted_route_comes_back() {
    let mut machine = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)])]);
    machine.kernel.steal(NET.parse().unwrap(), METRIC);
    machine.settle();
    assert_eq!(machine.hops(NET), Some(vec![gateway(1, 1)]));
    assert_eq!(machine.reconciler.status().counters.disturbed, 1);
    assert_eq!(machine.sent.len(), 1);
}

#[test]
fn a_restart_adopts_and_writes_nothing() {
    for objects in [NextHopObjects::WherePossible, NextHopObjects::Never] {
        let routes: &[(&str, &[NextHop])] =
            &[("10.1.0.0/16", &[gateway(1, 1)]), ("10.2.0.0/16", &[gateway(1, 1), gateway(2, 1)])];
        let mut machine = settled(objects, routes).restart(objects);
        machine.settle();
        assert_eq!(machine.reconciler.status().unclaimed, 2);
        for (prefix, hops) in routes {
            machine.apply(prefix, Some(over(hops)));
        }
        machine.reconciler.mark_synced();
        machine.settle();
        assert!(machine.sent.is_empty(), "{:#?}", machine.sent);
        assert!(machine.reconciler.status().agreement);
        assert_eq!(machine.reconciler.status().adopted.routes, 2);
    }
}

#[test]
fn rfc4724_1_what_was_kept_is_proven_for_each_family_alone() {
    let ipv6 = NextHop::via(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]), 1);
    for (prefix, hop, families) in [(NET, gateway(1, 1), (1, 0)), ("2001:db8::/32", ipv6, (0, 1))] {
        let mut machine = settled(NextHopObjects::WherePossible, &[(prefix, &[hop])])
            .restart(NextHopObjects::WherePossible);
        machine.settle();
        let adopted = machine.reconciler.status().adopted;
        assert_eq!((adopted.ipv4_routes, adopted.ipv6_routes), families);
        assert_eq!(adopted.routes, 1);
    }
}

#[test]
fn leftovers_stay_until_synced_and_go_then_with_their_objects() {
    let before = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1), gateway(2, 1)])]);
    let mut machine = before.restart(NextHopObjects::WherePossible);
    machine.settle();
    assert!(machine.hops(NET).is_some());
    assert_eq!(
        machine.reconciler.route(NET.parse().unwrap()).map(|report| report.state),
        Some(RouteState::Unclaimed)
    );
    machine.reconciler.mark_synced();
    machine.settle();
    assert_eq!(machine.hops(NET), None);
    assert!(machine.kernel.unused_objects().is_empty());
    assert_eq!(machine.reconciler.status().next_hop_objects, 0);
}

#[test]
fn a_withdrawal_before_synced_deletes_a_leftover_at_once() {
    let before = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)])]);
    let mut machine = before.restart(NextHopObjects::WherePossible);
    machine.settle();
    machine.apply(NET, None);
    machine.settle();
    assert_eq!(machine.hops(NET), None);
}

#[test]
fn a_former_metric_is_replaced_by_the_new_one_before_it_goes() {
    let before = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)])]);
    let mut machine = before.restart(NextHopObjects::WherePossible);
    machine.settle();
    machine.apply(NET, Some(DesiredRoute { metric: Some(5), ..over(&[gateway(1, 1)]) }));
    machine.reconciler.mark_synced();
    machine.settle();
    let metrics: Vec<_> = machine.kernel.own_routes().iter().map(|route| route.metric).collect();
    assert_eq!(metrics, [5]);
    assert!(matches!(
        machine.sent[..],
        [Operation::WriteRoute { .. }, Operation::DeleteRoute { metric: METRIC, .. }]
    ));
}

#[test]
fn fault_08_a_foreign_route_with_our_key_blocks_ours_until_it_goes() {
    let mut machine = Machine::new(NextHopObjects::WherePossible);
    machine.kernel.foreign(NET.parse().unwrap(), METRIC, super::super::Change::Added);
    machine.apply(NET, Some(over(&[gateway(1, 1)])));
    machine.reconciler.mark_synced();
    machine.settle();
    assert_eq!(machine.hops(NET), None);
    let status = machine.reconciler.status();
    assert!(!status.agreement);
    assert_eq!(status.clashes[0].effect, ClashEffect::OursBlocked);

    machine.kernel.foreign(NET.parse().unwrap(), METRIC, super::super::Change::Deleted);
    machine.settle();
    assert!(machine.hops(NET).is_some());
    assert_eq!(machine.reconciler.status().clash_count, 0);
}

#[test]
fn fault_08_a_foreign_route_with_another_metric_lives_beside_ours_and_is_reported() {
    let mut machine = Machine::new(NextHopObjects::WherePossible);
    machine.kernel.foreign(NET.parse().unwrap(), 0, super::super::Change::Added);
    machine.apply(NET, Some(over(&[gateway(1, 1)])));
    machine.reconciler.mark_synced();
    machine.settle();
    assert!(machine.hops(NET).is_some());
    assert_eq!(machine.reconciler.status().clashes[0].effect, ClashEffect::TheirsPreferred);
}

#[test]
fn fault_08_a_foreign_replacement_of_ours_is_reported_and_left_alone() {
    let mut machine = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)])]);
    machine.kernel.foreign(NET.parse().unwrap(), METRIC, super::super::Change::Replaced);
    machine.settle();
    assert_eq!(machine.hops(NET), None);
    assert_eq!(machine.reconciler.status().clashes[0].effect, ClashEffect::OursBlocked);
}

#[test]
fn a_link_that_went_takes_only_its_member_out_of_a_group_and_brings_it_back() {
    let (a, b) = (gateway(1, 1), gateway(2, 1));
    let mut machine = settled(NextHopObjects::WherePossible, &[(NET, &[a, b]), ("10.9.0.0/16", &[b])]);
    machine.kernel.link_down(2);
    machine.settle();
    assert_eq!(machine.hops(NET), Some(vec![a]));
    assert_eq!(machine.hops("10.9.0.0/16"), None);
    let status = machine.reconciler.status();
    assert_eq!(status.refusal_count, 1, "one word for the next hop, whatever the number of routes");
    assert_eq!(status.refusals[0].routes, 1);

    machine.kernel.link_up(2);
    machine.sent.clear();
    machine.settle();
    assert_eq!(machine.hops(NET), Some(vec![a, b]));
    assert_eq!(machine.hops("10.9.0.0/16"), Some(vec![b]));
    assert!(machine.reconciler.status().agreement);
    assert_eq!(
        machine.sent.len(),
        3,
        "the next hop, the group, and the route that had no other way: {:#?}",
        machine.sent
    );
}

#[test]
fn a_lost_next_hop_costs_one_message_for_each_group() {
    let (a, b) = (gateway(1, 1), gateway(2, 1));
    let routes: &[(&str, &[NextHop])] =
        &[("10.1.0.0/16", &[a, b]), ("10.2.0.0/16", &[a, b]), ("10.3.0.0/16", &[a, b])];
    let mut machine = settled(NextHopObjects::WherePossible, routes);
    machine.reconciler.next_hop_lost(&b);
    machine.settle();
    assert_eq!(machine.sent.len(), 1);
    assert_eq!(machine.hops("10.2.0.0/16"), Some(vec![a]));

    machine.apply("10.2.0.0/16", Some(over(&[a, b])));
    machine.settle();
    assert_eq!(machine.hops("10.3.0.0/16"), Some(vec![a, b]));
}

#[test]
fn a_kernel_without_next_hop_objects_gets_plain_routes() {
    let mut machine = Machine::new(NextHopObjects::WherePossible);
    machine.kernel.without_objects = true;
    machine.apply(NET, Some(over(&[gateway(1, 1), gateway(2, 1)])));
    machine.reconciler.mark_synced();
    machine.settle();
    assert_eq!(machine.hops(NET).map(|hops| hops.len()), Some(2));
    assert!(!machine.reconciler.status().uses_next_hop_objects);
}

#[test]
fn a_path_that_is_refused_does_not_leave_the_old_one_in_place() {
    let mut machine = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)])]);
    machine.kernel.link_down(2);
    machine.apply(NET, Some(over(&[gateway(2, 1)])));
    machine.settle();
    assert_eq!(machine.hops(NET), None);
    let report = machine.reconciler.route(NET.parse().unwrap()).unwrap();
    assert!(matches!(report.state, RouteState::Refused(_)));
}

#[test]
fn fault_06_lost_events_lead_to_a_full_read_that_finds_what_was_missed() {
    let mut machine = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)])]);
    machine.kernel.steal(NET.parse().unwrap(), METRIC);
    machine.kernel.lose_events();
    machine.settle();
    assert!(machine.hops(NET).is_some());
    let counters = machine.reconciler.status().counters;
    assert_eq!((counters.overruns, counters.drifted), (1, 1));
}

#[test]
fn fault_07_the_audit_comes_within_half_a_minute_and_not_before_its_time() {
    let mut machine = settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)])]);
    let due = machine.reconciler.poll_timeout();
    assert!(due <= Instant::now() + std::time::Duration::from_secs(30));
    machine.reconciler.handle_timeout(due.checked_sub(std::time::Duration::from_millis(1)).unwrap());
    assert!(!machine.reconciler.wants_audit());
    machine.reconciler.handle_timeout(due);
    assert!(machine.reconciler.wants_audit());
    assert!(machine.reconciler.poll_timeout() > due);
    machine.settle();
    assert!(!machine.reconciler.wants_audit());
}

#[test]
fn fault_07_an_audit_finds_what_no_event_told() {
    const OTHER: &str = "10.2.0.0/16";
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let disturbances: [&dyn Fn(&mut Kernel); 6] = [
        &|kernel| kernel.steal(net(NET), METRIC),
        &|kernel| kernel.steal_object(0),
        &|kernel| kernel.steal_object(2),
        &|kernel| drop(kernel.execute(&Operation::CreateGroup { object: 9, members: Members::new() })),
        &|kernel| kernel.foreign(net(NET), 1000, super::super::Change::Added),
        &|kernel| kernel.foreign(net("10.9.0.0/16"), 1000, super::super::Change::Deleted),
    ];
    let (a, b) = (gateway(1, 1), gateway(2, 1));
    for disturb in disturbances {
        let mut machine = settled(NextHopObjects::WherePossible, &[(NET, &[a, b]), (OTHER, &[a])]);
        machine.kernel.foreign(net("10.9.0.0/16"), 1000, super::super::Change::Added);
        machine.settle();
        disturb(&mut machine.kernel);
        machine.kernel.events.clear();
        machine.audit();
        assert!(machine.reconciler.wants_resync());
        machine.settle();
        assert_eq!((machine.hops(NET), machine.hops(OTHER)), (Some(vec![a, b]), Some(vec![a])));
        machine.audit();
        assert!(!machine.reconciler.wants_resync());
    }
}

#[test]
fn work_goes_on_beside_an_audit_and_is_no_difference() {
    let nets: Vec<_> = (0..40).map(|number| format!("10.{number}.0.0/16")).collect();
    let (a, b) = (gateway(1, 1), gateway(2, 1));
    let over_a = [a];
    let routes: Vec<(&str, &[NextHop])> = nets.iter().map(|net| (net.as_str(), &over_a[..])).collect();
    for objects in [NextHopObjects::WherePossible, NextHopObjects::Never] {
        let mut machine = settled(objects, &routes);
        // In each part.
        for changed in [3, 20, 35] {
            machine.apply(&nets[changed], Some(over(&[b])));
            machine.apply(&nets[changed + 1], None);
            machine.apply(&format!("10.{changed}.1.0/24"), Some(over(&[a, b])));
        }
        let before = machine.reconciler.status().counters;
        machine.audit();
        assert!(!machine.sent.is_empty());
        assert!(!machine.reconciler.wants_resync());
        let after = machine.reconciler.status().counters;
        assert_eq!((after.resyncs, after.drifted), (before.resyncs + 1, before.drifted));
    }
}

#[test]
fn an_audit_has_what_was_refused_tried_again() {
    let mut machine = settled(NextHopObjects::Never, &[]);
    machine.kernel.link_down(1);
    machine.apply(NET, Some(over(&[gateway(1, 1)])));
    machine.settle();
    assert_eq!(machine.hops(NET), None);
    machine.kernel.link_up(1);
    machine.kernel.events.clear();
    machine.audit();
    assert!(!machine.reconciler.wants_resync());
    machine.settle();
    assert!(machine.hops(NET).is_some());
}

#[test]
fn fault_46_sweeping_all_leaves_the_kernel_clean_but_for_foreign_routes() {
    let mut machine =
        settled(NextHopObjects::WherePossible, &[(NET, &[gateway(1, 1)]), ("10.2.0.0/16", &[gateway(2, 1)])]);
    machine.kernel.foreign("10.2.0.0/16".parse().unwrap(), 9, super::super::Change::Added);
    machine.reconciler.sweep_all();
    machine.settle();
    assert!(machine.kernel.own_routes().is_empty());
    assert!(machine.kernel.dump_next_hops().unwrap().is_empty());
    assert_eq!(machine.kernel.foreign_routes().len(), 1);
}
