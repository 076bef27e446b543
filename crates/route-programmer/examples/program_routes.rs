//! How fast routes get into the kernel: ours, and below it the floor that raw netlink sets.
//!
//! ```text
//! cargo run --release -p muslin-route-programmer --example program_routes -- [ROUTES] [RUNS]
//! ```
//!
//! Each run is in fresh network namespaces: all routes are added, half of them changed to two next hops and back, and all
//! deleted. The floor is what the kernel itself needs: messages that were encoded beforehand, 256 in a system call, only
//! the last one acknowledged; over next-hop objects or with the next hop in each route, in ascending order or scattered
//! over the table, with nobody who listens or, as whoever wants to know of others' changes has to, with a socket that the
//! kernel tells of each route and whose filter drops it. Prints one line of JSON with the medians.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use muslin_netns::{Namespace, connect};
use muslin_route_programmer::{DesiredRoute, NextHop, Programmer, ProgrammerConfig, RouteChange};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use socket2::{SockFilter, SockRef};

/// Next hops that the routes take turns over.
const NEXT_HOPS: u32 = 16;
/// Changes in one call, as a speaker hands them over.
const CHANGES: usize = 1024;
const BATCH: usize = 256;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
/// A program of classic BPF that takes nothing.
const RETURN_NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

type Failure = Box<dyn Error + Send + Sync>;

struct Times {
    add: Duration,
    /// Half of them to two next hops.
    double: Duration,
    /// And back to one.
    single: Duration,
    delete: Duration,
    adopt: Duration,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let routes: u32 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let runs: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let floors = [
        ("scattered", Over::Objects, Order::Scattered, Listener::None),
        ("watched", Over::Objects, Order::Scattered, Listener::ThatWantsNone),
        ("ascending", Over::Objects, Order::Ascending, Listener::None),
        ("gateways", Over::Gateways, Order::Ascending, Listener::None),
    ];
    let mut times: [Vec<Times>; 5] = Default::default();
    for _ in 0..runs {
        for ((_, over, order, listener), times) in floors.iter().zip(&mut times) {
            let (host, _router) = new_host()?;
            times.push(run_floor(&host, routes, *over, *order, *listener)?);
        }
        let (host, _router) = new_host()?;
        times[floors.len()].push(run_programmer(&host, routes)?);
    }
    let names = floors.iter().map(|(name, ..)| *name).chain(["programmer"]);
    let told: Vec<String> =
        names.zip(&times).map(|(name, times)| format!("\"{name}\":{}", tell(times))).collect();
    println!("{{\"routes\":{routes},\"runs\":{runs},{}}}", told.join(","));
    Ok(())
}

/// Medians in seconds, as JSON.
fn tell(runs: &[Times]) -> String {
    let median = |of: fn(&Times) -> Duration| {
        let mut times: Vec<_> = runs.iter().map(of).collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    format!(
        "{{\"add\":{:.3},\"double\":{:.3},\"single\":{:.3},\"delete\":{:.3},\"adopt\":{:.3}}}",
        median(|times| times.add),
        median(|times| times.double),
        median(|times| times.single),
        median(|times| times.delete),
        median(|times| times.adopt),
    )
}

/// A host with an uplink; the second namespace keeps the other end of it.
fn new_host() -> Result<(Namespace, Namespace), Failure> {
    let (host, router) = (Namespace::new("host")?, Namespace::new("router")?);
    connect(&host, "eth0", &router, "eth0")?;
    host.add_address("eth0", "172.31.0.1/24".parse()?)?;
    Ok((host, router))
}

fn prefix(number: u32) -> Ipv4Net {
    let first = u32::from(Ipv4Addr::new(20, 0, 0, 0));
    Ipv4Net::new_assert(Ipv4Addr::from(first + (number << 8)), 24)
}

/// The gateways of single next hops, and behind them those that some routes get as a second one.
fn gateway(number: u32) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 0, (2 + number % (2 * NEXT_HOPS)) as u8)
}

/// The next hops of a route, by the numbers of their gateways.
fn first_hop(number: u32) -> u32 {
    number % NEXT_HOPS
}

fn second_hop(number: u32) -> u32 {
    NEXT_HOPS + first_hop(number)
}

/// Half of the routes, some neighbours at a time as UPDATEs have them.
fn is_changed(number: u32) -> bool {
    (number / 6).is_multiple_of(2)
}

fn run_programmer(host: &Namespace, routes: u32) -> Result<Times, Failure> {
    host.block_on(async {
        let programmer = Programmer::spawn(ProgrammerConfig::default()).await?;
        let uplink = programmer.view().link_named("eth0").ok_or("no uplink")?.index;
        let via = |hop| NextHop::via(gateway(hop), uplink);
        let over = |number: u32, route| RouteChange::install(IpNet::V4(prefix(number)), route);
        let to_one = |number| over(number, DesiredRoute::over([via(first_hop(number))]));
        let to_two =
            |number| over(number, DesiredRoute::over([via(first_hop(number)), via(second_hop(number))]));
        let changed = || (0..routes).filter(|number| is_changed(*number));
        let install: Vec<RouteChange> = (0..routes).map(to_one).collect();
        let add = apply(&programmer, &install).await?;
        drop(programmer);

        // As after a restart: everything is found, nothing is written.
        let begun = Instant::now();
        let programmer = Programmer::spawn(ProgrammerConfig::default()).await?;
        apply(&programmer, &install).await?;
        programmer.mark_synced().await?;
        let status = programmer.settled().await?;
        let adopt = begun.elapsed();
        if !status.agreement || status.adopted.routes != routes as usize || status.counters.accepted != 0 {
            return Err(format!("not adopted: {status:#?}").into());
        }
        let double = apply(&programmer, &changed().map(to_two).collect::<Vec<_>>()).await?;
        let single = apply(&programmer, &changed().map(to_one).collect::<Vec<_>>()).await?;
        let withdraw: Vec<_> = install.iter().map(|change| RouteChange::withdraw(change.prefix)).collect();
        let delete = apply(&programmer, &withdraw).await?;
        Ok(Times { add, double, single, delete, adopt })
    })?
}

async fn apply(programmer: &Programmer, changes: &[RouteChange]) -> Result<Duration, Failure> {
    let begun = Instant::now();
    for changes in changes.chunks(CHANGES) {
        programmer.apply(changes.to_vec()).await?;
    }
    programmer.settled().await?;
    Ok(begun.elapsed())
}

/// What the routes of a floor lead over.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    Objects,
    Gateways,
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Ascending,
    Scattered,
}

/// Whom the kernel tells of routes.
#[derive(Clone, Copy, PartialEq)]
enum Listener {
    None,
    ThatWantsNone,
}

fn run_floor(
    host: &Namespace,
    routes: u32,
    over: Over,
    order: Order,
    listener: Listener,
) -> Result<Times, Failure> {
    let links = host.links()?;
    let interface = links.iter().find(|link| link.name == "eth0").ok_or("no uplink")?.index;
    host.run(|| {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        let mut watcher = Socket::new(NETLINK_ROUTE)?;
        watcher.bind_auto()?;
        if listener == Listener::ThatWantsNone {
            SockRef::from(&watcher).attach_filter(&[RETURN_NOTHING])?;
            watcher.add_membership(RTNLGRP_IPV4_ROUTE)?;
        }
        let objects = (0..2 * NEXT_HOPS).map(|number| next_hop(number, interface));
        send(&socket, &objects.chain((0..NEXT_HOPS).map(group)).collect::<Vec<_>>())?;
        let mut numbers: Vec<u32> = (0..routes).collect();
        if order == Order::Scattered {
            // Multiples of the golden ratio, modulo one, in the order of their size.
            numbers.sort_by_key(|number| number.wrapping_mul(0x9e37_79b9));
        }
        let send_all = |messages: Vec<Vec<u8>>| {
            let begun = Instant::now();
            messages.chunks(BATCH).try_for_each(|batch| send(&socket, batch))?;
            Ok::<_, Failure>(begun.elapsed())
        };
        let changed = || numbers.iter().filter(|number| is_changed(**number));
        let add =
            send_all(numbers.iter().map(|number| route(*number, to_one(*number, over), NEW)).collect())?;
        let double =
            send_all(changed().map(|number| route(*number, to_two(*number, over), INSTEAD)).collect())?;
        let single =
            send_all(changed().map(|number| route(*number, to_one(*number, over), INSTEAD)).collect())?;
        let delete = send_all(numbers.iter().map(|number| deletion(*number)).collect())?;
        Ok(Times { add, double, single, delete, adopt: Duration::ZERO })
    })?
}

/// Sends messages at once, the last one to be acknowledged, and takes the answer.
fn send(socket: &Socket, messages: &[Vec<u8>]) -> Result<(), Failure> {
    let mut bytes = messages.concat();
    let last = bytes.len() - messages.last().map_or(0, Vec::len);
    bytes[last + 6] |= 4; // NLM_F_ACK
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match answer.get(16..20) {
        Some([0, 0, 0, 0]) => Ok(()),
        other => Err(format!("the kernel refused a message: {other:?}").into()),
    }
}

fn next_hop(number: u32, interface: u32) -> Vec<u8> {
    // RTM_NEWNEXTHOP with NLM_F_REQUEST | NLM_F_CREATE; NHA_ID, NHA_OIF, NHA_GATEWAY.
    let mut body = vec![2, 0, 4, 0, 0, 0, 0, 0];
    body.extend(attribute(1, &(number + 1).to_ne_bytes()));
    body.extend(attribute(5, &interface.to_ne_bytes()));
    body.extend(attribute(6, &gateway(number).octets()));
    message(104, 0x401, &body)
}

/// The identifier of the group of a route's two next hops, behind those of next hops.
fn group_of(number: u32) -> u32 {
    2 * NEXT_HOPS + first_hop(number) + 1
}

fn group(number: u32) -> Vec<u8> {
    // RTM_NEWNEXTHOP as above, of no family; NHA_ID, NHA_GROUP with members of the same weight.
    let member = |hop: u32| [(hop + 1).to_ne_bytes(), [0; 4]].concat();
    let members = [member(first_hop(number)), member(second_hop(number))].concat();
    let mut body = vec![0, 0, 4, 0, 0, 0, 0, 0];
    body.extend(attribute(1, &group_of(number).to_ne_bytes()));
    body.extend(attribute(2, &members));
    message(104, 0x401, &body)
}

/// `NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL`.
const NEW: u16 = 0x601;
/// `NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE`.
const INSTEAD: u16 = 0x501;

fn to_one(number: u32, over: Over) -> Vec<u8> {
    match over {
        // RTA_NH_ID, or RTA_GATEWAY.
        Over::Objects => attribute(30, &(first_hop(number) + 1).to_ne_bytes()),
        Over::Gateways => attribute(5, &gateway(first_hop(number)).octets()),
    }
}

fn to_two(number: u32, over: Over) -> Vec<u8> {
    // An rtnexthop of 16 octets, with its RTA_GATEWAY.
    let hop = |hop| [&16_u16.to_ne_bytes()[..], &[0; 6], &attribute(5, &gateway(hop).octets())].concat();
    match over {
        // RTA_NH_ID, or RTA_MULTIPATH.
        Over::Objects => attribute(30, &group_of(number).to_ne_bytes()),
        Over::Gateways => attribute(9, &[hop(first_hop(number)), hop(second_hop(number))].concat()),
    }
}

fn route(number: u32, target: Vec<u8>, flags: u16) -> Vec<u8> {
    // RTM_NEWROUTE; RTA_DST, RTA_PRIORITY and what it leads over.
    let mut body = vec![2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    body.extend(attribute(1, &prefix(number).network().octets()));
    body.extend(attribute(6, &77_u32.to_ne_bytes()));
    body.extend(target);
    message(24, flags, &body)
}

fn deletion(number: u32) -> Vec<u8> {
    // RTM_DELROUTE with NLM_F_REQUEST, of any scope.
    let mut body = vec![2, 24, 0, 0, 254, 4, 255, 0, 0, 0, 0, 0];
    body.extend(attribute(1, &prefix(number).network().octets()));
    body.extend(attribute(6, &77_u32.to_ne_bytes()));
    message(25, 1, &body)
}

/// Of values that are multiples of four octets.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    [&(4 + value.len() as u16).to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}
