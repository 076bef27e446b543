use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const REST: Duration = Duration::from_mins(1);

fn at(seconds: u64) -> BootTime {
    BootTime(Duration::from_secs(seconds))
}

fn pod(container: &str) -> Attachment {
    Attachment { network: "net".into(), container: container.into(), interface: "eth0".into() }
}

fn blocks(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn wish<'a>(attachment: &'a Attachment, blocks: &'a [IpNet]) -> Wish<'a> {
    Wish { attachment, blocks, reserved: &[], exactly: &[], within: &[], rest: REST }
}

#[test]
fn addresses_are_given_out_in_turn_without_network_and_broadcast() {
    let blocks = blocks(&["10.0.0.0/29", "10.0.1.0/30"]);
    let mut ledger = Ledger::default();
    let given: Vec<String> = (0..8)
        .map(|n| {
            ledger.allocate(&wish(&pod(&n.to_string()), &blocks), at(0)).unwrap().addresses()[0].to_string()
        })
        .collect();
    assert_eq!(
        given,
        ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.1.1", "10.0.1.2"]
    );
    let full = ledger.allocate(&wish(&pod("one too many"), &blocks), at(0));
    assert_eq!(full, Err(AllocateError::Exhausted { blocks: blocks.clone() }));
}

#[test]
fn a_released_address_rests_and_then_comes_back_last() {
    let blocks = blocks(&["10.0.0.0/30"]);
    let mut ledger = Ledger::default();
    ledger.allocate(&wish(&pod("a"), &blocks), at(0)).unwrap();
    ledger.allocate(&wish(&pod("b"), &blocks), at(0)).unwrap();
    assert_eq!(ledger.release(&pod("a"), at(100)), addresses(&["10.0.0.1"]));
    assert_eq!(
        ledger.allocate(&wish(&pod("c"), &blocks), at(130)),
        Err(AllocateError::Resting { blocks: blocks.clone(), resting: 1, wait: Duration::from_secs(30) })
    );
    let again = ledger.allocate(&wish(&pod("c"), &blocks), at(160)).unwrap();
    assert_eq!(again, Grant::New(addresses(&["10.0.0.1"])));
}

#[test]
fn fault_26_unless_configured_a_released_address_rests_for_sixty_seconds() {
    let config = br#"{"cniVersion": "1.1.0", "name": "net", "type": "muslin-cni", "dataDir": "/nowhere"}"#;
    let rest = crate::cni::NetworkConfig::parse(config).unwrap().rest;
    for block in ["10.0.0.0/32", "fd00::1/128"] {
        let blocks = blocks(&[block]);
        let mut ledger = Ledger::default();
        ledger.allocate(&Wish { rest, ..wish(&pod("old"), &blocks) }, at(0)).unwrap();
        ledger.release(&pod("old"), at(1000));
        let early = ledger.allocate(&Wish { rest, ..wish(&pod("new"), &blocks) }, at(1059));
        let wait = Duration::from_secs(1);
        assert_eq!(early, Err(AllocateError::Resting { blocks: blocks.clone(), resting: 1, wait }));
        let late = ledger.allocate(&Wish { rest, ..wish(&pod("new"), &blocks) }, at(1061)).unwrap();
        assert_eq!(late, Grant::New(vec![blocks[0].addr()]));
    }
}

#[test]
fn both_families_or_none() {
    let blocks = blocks(&["10.0.0.0/31", "fd00::/127"]);
    let mut ledger = Ledger::default();
    let first = ledger.allocate(&wish(&pod("a"), &blocks), at(0)).unwrap();
    assert_eq!(first, Grant::New(addresses(&["10.0.0.0", "fd00::"])));
    // The second IPv6 address is somebody's; the IPv4 one must not leak.
    let v6_only = &blocks[1..];
    ledger.allocate(&wish(&pod("b"), v6_only), at(0)).unwrap();
    let before = ledger.clone();
    assert!(matches!(
        ledger.allocate(&wish(&pod("c"), &blocks), at(0)),
        Err(AllocateError::Exhausted { blocks }) if blocks == v6_only
    ));
    assert_eq!(ledger, before);
}

#[test]
fn the_same_attachment_twice_gets_the_same_addresses() {
    let blocks = blocks(&["10.0.0.0/24", "fd00::/64"]);
    let mut ledger = Ledger::default();
    let first = ledger.allocate(&wish(&pod("a"), &blocks), at(0)).unwrap();
    let second = ledger.allocate(&wish(&pod("a"), &blocks), at(1)).unwrap();
    assert_eq!(second, Grant::Held(first.addresses().to_vec()));
    assert_eq!(first.addresses(), addresses(&["10.0.0.1", "fd00::1"]));
}

#[test]
fn an_address_that_is_asked_for_is_given_or_refused_with_the_reason() {
    let blocks = blocks(&["10.0.0.0/24"]);
    let reserved = addresses(&["10.0.0.9"]);
    let (a, b) = (pod("a"), pod("b"));
    let mut ledger = Ledger::default();
    let mut ask = |attachment, texts: &[&str], seconds| {
        let exactly = addresses(texts);
        let wish = Wish { exactly: &exactly, reserved: &reserved, ..wish(attachment, &blocks) };
        ledger.allocate(&wish, at(seconds))
    };
    assert_eq!(ask(&a, &["10.0.0.77"], 0), Ok(Grant::New(addresses(&["10.0.0.77"]))));
    assert!(matches!(ask(&b, &["10.0.0.77"], 0), Err(AllocateError::Taken { owner, .. }) if owner == a));
    for unusable in ["10.0.0.0", "10.0.0.255", "10.0.1.1", "10.0.0.9", "fd00::1"] {
        assert!(matches!(ask(&b, &[unusable], 0), Err(AllocateError::Unusable { .. })), "{unusable}");
    }
    let two = ask(&b, &["10.0.0.5", "10.0.0.6"], 0);
    assert!(matches!(two, Err(AllocateError::TwoOfOneFamily { .. })));
    ledger.release(&a, at(10));
    let exactly = addresses(&["10.0.0.77"]);
    let resting = ledger.allocate(&Wish { exactly: &exactly, ..wish(&b, &blocks) }, at(20));
    assert!(
        matches!(resting, Err(AllocateError::TakenByRest { wait, .. }) if wait == Duration::from_secs(50))
    );
}

#[test]
fn ranges_limit_the_choice_even_in_a_block_too_large_to_search() {
    let blocks = blocks(&["10.0.0.0/24", "fd00::/64"]);
    let within = [
        "10.0.0.7".parse().unwrap()..="10.0.0.8".parse().unwrap(),
        "fd00::ffff:0".parse().unwrap()..="fd00::ffff:0".parse().unwrap(),
    ];
    let mut ledger = Ledger::default();
    let (a, b) = (pod("a"), pod("b"));
    let wish_within = |attachment| Wish { within: &within, ..wish(attachment, &blocks) };
    let first = ledger.allocate(&wish_within(&a), at(0)).unwrap();
    assert_eq!(first.addresses(), addresses(&["10.0.0.7", "fd00::ffff:0"]));
    assert!(matches!(ledger.allocate(&wish_within(&b), at(0)), Err(AllocateError::Exhausted { .. })));
}

#[test]
fn a_del_of_an_older_container_does_not_free_what_a_newer_one_has() {
    let blocks = blocks(&["10.0.0.0/31"]);
    let mut ledger = Ledger::default();
    ledger.allocate(&wish(&pod("old"), &blocks), at(0)).unwrap();
    ledger.release(&pod("old"), at(1));
    let new = ledger.allocate(&Wish { rest: Duration::ZERO, ..wish(&pod("new"), &blocks) }, at(2)).unwrap();
    assert!(ledger.release(&pod("old"), at(3)).is_empty());
    assert_eq!(ledger.addresses_of(&pod("new")), new.addresses());
}

#[test]
fn garbage_is_what_this_network_has_and_nobody_lists() {
    let blocks = blocks(&["10.0.0.0/24"]);
    let mut ledger = Ledger::default();
    let elsewhere = Attachment { network: "other".into(), ..pod("b") };
    for attachment in [&pod("a"), &pod("b"), &elsewhere] {
        ledger.allocate(&wish(attachment, &blocks), at(0)).unwrap();
    }
    let collected = ledger.collect_garbage("net", |attachment| attachment.container == "a", at(1));
    assert_eq!(collected, [pod("b")]);
    assert_eq!(ledger.addresses_of(&pod("a")).len(), 1);
    assert_eq!(ledger.addresses_of(&elsewhere).len(), 1);
}

#[test]
fn a_reboot_ends_every_lease_and_rest_counts_from_the_start_of_the_machine() {
    let blocks = blocks(&["10.0.0.0/31"]);
    let mut ledger = Ledger::default();
    ledger.allocate(&wish(&pod("a"), &blocks), at(5000)).unwrap();
    ledger.allocate(&wish(&pod("b"), &blocks), at(5000)).unwrap();
    ledger.release(&pod("b"), at(9000));
    ledger.begin_boot();
    assert!(ledger.addresses_of(&pod("a")).is_empty());
    let early = ledger.allocate(&wish(&pod("c"), &blocks), at(20));
    assert!(
        matches!(early, Err(AllocateError::Resting { resting: 2, wait, .. }) if wait == Duration::from_secs(40))
    );
    assert!(ledger.allocate(&wish(&pod("c"), &blocks), at(60)).is_ok());
}

#[test]
fn a_lost_del_is_noticed_by_comparing_with_the_kernel_but_a_young_add_is_left_alone() {
    let blocks = blocks(&["10.0.0.0/24"]);
    let mut ledger = Ledger::default();
    for (name, time) in [("alive", 0), ("gone", 0), ("young", 290)] {
        ledger.allocate(&wish(&pod(name), &blocks), at(time)).unwrap();
    }
    let unknown = Attached { attachment: pod("unknown"), addresses: addresses(&["10.0.0.50"]) };
    let alive = Attached { attachment: pod("alive"), addresses: addresses(&["10.0.0.1"]) };
    let lost = ledger.reconcile(&[alive, unknown], Duration::from_mins(1), at(300));
    assert_eq!(lost, [pod("gone")]);
    assert_eq!(ledger.addresses_of(&pod("unknown")), addresses(&["10.0.0.50"]));
    assert_eq!(ledger.addresses_of(&pod("young")), addresses(&["10.0.0.3"]));
}

#[test]
fn usage_counts_what_is_taken_rests_and_is_left() {
    let blocks = blocks(&["10.0.0.0/24", "fd00::/64"]);
    let mut ledger = Ledger::default();
    ledger.allocate(&wish(&pod("a"), &blocks), at(0)).unwrap();
    ledger.allocate(&wish(&pod("b"), &blocks), at(0)).unwrap();
    ledger.release(&pod("b"), at(0));
    assert_eq!(ledger.usage(blocks[0]), BlockUsage { block: blocks[0], allocated: 1, resting: 1, free: 252 });
    assert_eq!(ledger.usage(blocks[1]).free, (1 << 64) - 1 - 2);
}

/// The same in the plainest words: lists instead of arithmetic.
#[derive(Default)]
struct Model {
    held: BTreeMap<u8, BTreeSet<IpAddr>>,
    released: BTreeMap<IpAddr, u64>,
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Del(u8),
    Wait(u64),
    Reboot,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..12).prop_map(Step::Add),
        4 => (0u8..12).prop_map(Step::Del),
        3 => (0u64..50).prop_map(Step::Wait),
        1 => Just(Step::Reboot),
    ];
    proptest::collection::vec(step, 0..120)
}

fn usable_addresses() -> BTreeSet<IpAddr> {
    let v4 = (1..=6)
        .map(|host| IpAddr::from([10, 0, 0, host]))
        .chain([0, 1].map(|host| IpAddr::from([10, 0, 9, host])));
    let v6 = (1..=7).map(|host| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, host]));
    v4.chain(v6).collect()
}

proptest! {
    #[test]
    fn no_sequence_gives_an_address_twice_too_early_or_by_halves(steps in steps()) {
        let blocks = blocks(&["10.0.0.0/29", "10.0.9.0/31", "fd00::/125"]);
        let usable = usable_addresses();
        let mut ledger = Ledger::default();
        let mut model = Model::default();
        let mut clock = 1000;
        for step in steps {
            match step {
                Step::Wait(seconds) => clock += seconds,
                Step::Reboot => {
                    clock = 0;
                    ledger.begin_boot();
                    let held = std::mem::take(&mut model.held).into_values().flatten();
                    let before: Vec<IpAddr> = held.chain(model.released.keys().copied()).collect();
                    model.released = before.into_iter().map(|address| (address, 0)).collect();
                }
                Step::Del(id) => {
                    let expected = model.held.remove(&id).unwrap_or_default();
                    let released = ledger.release(&pod(&id.to_string()), at(clock));
                    prop_assert_eq!(BTreeSet::from_iter(released), expected.clone());
                    model.released.extend(expected.into_iter().map(|address| (address, clock)));
                }
                Step::Add(id) => {
                    let attachment = pod(&id.to_string());
                    if !model.held.contains_key(&id) {
                        // Whose rest is over is forgotten, also by a reboot, which would make it rest again.
                        model.released.retain(|_, since| clock - *since < REST.as_secs());
                    }
                    let answer = ledger.allocate(&wish(&attachment, &blocks), at(clock));
                    let free = |v4: bool| {
                        let taken: BTreeSet<IpAddr> = model.held.values().flatten().copied().collect();
                        usable.iter().filter(|address| address.is_ipv4() == v4).filter(|address| {
                            !taken.contains(address)
                                && model.released.get(address).is_none_or(|since| clock - since >= REST.as_secs())
                        }).copied().collect::<BTreeSet<_>>()
                    };
                    let (free_v4, free_v6) = (free(true), free(false));
                    match (model.held.get(&id), answer) {
                        (Some(held), Ok(Grant::Held(addresses))) => {
                            prop_assert_eq!(&BTreeSet::from_iter(addresses), held);
                        }
                        (None, Ok(Grant::New(addresses))) => {
                            prop_assert_eq!(addresses.len(), 2);
                            prop_assert!(free_v4.contains(&addresses[0]) && free_v6.contains(&addresses[1]));
                            model.held.insert(id, BTreeSet::from_iter(addresses));
                        }
                        (None, Err(AllocateError::Exhausted { .. } | AllocateError::Resting { .. })) => {
                            prop_assert!(free_v4.is_empty() || free_v6.is_empty());
                        }
                        (held, answer) => prop_assert!(false, "{held:?} got {answer:?}"),
                    }
                }
            }
            let stored = serde_json::to_vec(&ledger).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Ledger>(&stored).unwrap(), &ledger);
        }
    }
}
