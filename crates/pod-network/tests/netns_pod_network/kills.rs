//! The plugin killed at any moment, hundreds of times, and what is left of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use crate::node::{Node, PATIENCE, PLUGIN, Pod, await_readable};

/// With those of the agent, which `netns_kills` makes, a thousand.
const KILLS: usize = 968;
const PODS: usize = 6;

/// A sequence that its seed decides (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What the runtime knows of a pod.
#[derive(Clone, Debug, PartialEq)]
enum Known {
    /// No ADD, or a DEL that succeeded.
    Nothing,
    /// An ADD succeeded, with these addresses.
    Runs(Vec<IpAddr>),
    /// A call was cut short.
    Unsure,
}

/// Runs the plugin and kills it after `life`; its answer if it had given one by then.
fn call_for(node: &Node, command: &str, pod: Option<&Pod>, config: &Value, life: Duration) -> Option<Value> {
    let mut plugin = Command::new(PLUGIN);
    plugin.env_clear().env("CNI_COMMAND", command).env("CNI_PATH", "/opt/cni/bin");
    if let Some(pod) = pod {
        plugin.env("CNI_CONTAINERID", &pod.container).env("CNI_IFNAME", "eth0");
        plugin.env("CNI_NETNS", pod.netns.path());
    }
    plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut running = node.host.spawn(&mut plugin).unwrap();
    let deadline = Instant::now() + life;
    // One that is dead already does not read this.
    let _ = running.stdin.take().unwrap().write_all(config.to_string().as_bytes());
    let end = pidfd_open(Pid::from_child(&running), PidfdFlags::empty()).unwrap();
    if !await_readable(end.as_fd(), deadline) {
        running.kill().unwrap();
    }
    let mut answer = String::new();
    running.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    let ended = running.wait().unwrap();
    match ended.code() {
        None => None,
        Some(0) if answer.is_empty() => Some(Value::Null),
        Some(_) => Some(serde_json::from_str(&answer).unwrap()),
    }
}

/// As many addresses as pods: one that leaks is missing at the next ADD. A runtime that never learned how a call
/// ended repeats it, deletes, or collects garbage.
#[test]
fn fault_31_hundreds_of_kills_leave_no_address_twice_and_none_lost() {
    let seed = std::env::var("MUSLIN_SEED").map_or(20_240_806, |seed| seed.parse().unwrap());
    println!("MUSLIN_SEED={seed}");
    let mut random = Random(seed);
    let node = Node::with_blocks(&["10.244.1.0/29", "fd00:10:244:1::/125"]);
    let config = node.config_with(json!({ "restSeconds": 0 }));
    let pods: [Pod; PODS] = std::array::from_fn(|number| Pod::new(&format!("pod-{number}")));
    let mut known = vec![Known::Nothing; PODS];
    // Nobody kills these; they tell how long a life is.
    let mut usual = BTreeMap::<&str, Duration>::new();
    for command in ["ADD", "DEL"].repeat(5) {
        let begun = Instant::now();
        call_for(&node, command, Some(&pods[0]), &config, PATIENCE).unwrap();
        *usual.entry(command).or_default() += begun.elapsed() / 5;
    }
    usual.insert("GC", usual["DEL"]);
    let (mut killed, mut finished) = (BTreeMap::<&str, usize>::new(), 0);
    while killed.values().sum::<usize>() < KILLS {
        let number = random.below(PODS as u64) as usize;
        let pod = &pods[number];
        let command = match (&known[number], random.below(10)) {
            (_, 0) => "GC",
            (Known::Nothing, _) | (Known::Unsure, 1..=4) => "ADD",
            (Known::Runs(_) | Known::Unsure, _) => "DEL",
        };
        // Some may live longer than usual; most die, and at every step.
        let life = usual[command] * random.below(1250) as u32 / 1000;
        let begun = Instant::now();
        let mut input = config.clone();
        if command == "GC" {
            let valid = pods.iter().zip(&known).filter(|(_, known)| matches!(known, Known::Runs(_)));
            let valid = valid.map(|(pod, _)| json!({ "containerID": pod.container, "ifname": "eth0" }));
            input["cni.dev/valid-attachments"] = valid.collect();
        }
        let pod = (command != "GC").then_some(pod);
        let outcome = call_for(&node, command, pod, &input, life);
        // The machine may have more or less to do meanwhile.
        let usually = usual.get_mut(command).unwrap();
        *usually = match outcome {
            Some(_) => (*usually * 3 + begun.elapsed()) / 4,
            None => *usually * 51 / 50,
        };
        match (outcome, command) {
            (None, _) => {
                *killed.entry(command).or_default() += 1;
                if pod.is_some() {
                    known[number] = Known::Unsure;
                }
            }
            // What a call left half done is in the way of another ADD until a DEL or GC.
            (Some(refusal), "ADD") if known[number] == Known::Unsure && refusal["code"] == 101 => {}
            (Some(error), _) if !error["code"].is_null() => {
                panic!("{command} of {:?}: {error}", known[number])
            }
            (Some(result), "ADD") => {
                finished += 1;
                let ips = result["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap());
                known[number] =
                    Known::Runs(ips.map(|ip| ip.split('/').next().unwrap().parse().unwrap()).collect());
            }
            (Some(_), "DEL") => {
                finished += 1;
                known[number] = Known::Nothing;
            }
            (Some(_), _) => finished += 1,
        }
        assert_sound(&node, &pods, &known);
    }
    println!("{killed:?} killed, {finished} finished, which usually take {usual:?}");
    assert!(
        finished > 20 && killed["ADD"] > 50 && killed["DEL"] > 20,
        "too much of one kind to tell anything"
    );

    // Garbage alone puts the rest right, and then every address is there to be had.
    let mut nobody = config.clone();
    nobody["cni.dev/valid-attachments"] = json!([]);
    assert!(node.call("GC", None, &nobody, &[]).succeeded);
    node.assert_empty();
    let mut all: Vec<_> =
        pods.iter().flat_map(|pod| node.call("ADD", Some(pod), &config, &[]).addresses()).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), PODS * 2);
    for pod in &pods {
        node.del(pod);
    }
    node.assert_empty();
}

/// Every pod that runs has its addresses in the ledger, an interface and routes, and nobody else has them.
fn assert_sound(node: &Node, pods: &[Pod], known: &[Known]) {
    let leases: BTreeMap<IpAddr, String> = node.leases().into_iter().collect();
    let routes = node.pod_routes();
    for (pod, known) in pods.iter().zip(known) {
        let Known::Runs(addresses) = known else { continue };
        assert_eq!(addresses.len(), 2, "{}", pod.container);
        for address in addresses {
            assert_eq!(leases.get(address), Some(&pod.container), "{address}: {known:?}, {leases:?}");
            assert_eq!(routes.iter().filter(|route| route.addr() == *address).count(), 1, "{address}");
        }
        assert!(pod.netns.links().unwrap().iter().any(|link| link.name == "eth0"), "{}", pod.container);
    }
    let distinct: std::collections::BTreeSet<_> = routes.iter().collect();
    assert_eq!(distinct.len(), routes.len(), "two interfaces have one address: {routes:?}");
}
