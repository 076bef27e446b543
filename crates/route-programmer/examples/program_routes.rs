//! How fast routes get into the kernel: ours, and below it the floor that raw netlink sets.
//!
//! ```text
//! cargo run --release -p muslin-route-programmer --example program_routes -- [ROUTES] [RUNS]
//! ```
//!
//! Each run is in fresh network namespaces. The floor is what the kernel itself needs: messages that were
//! encoded beforehand, 256 in a system call, only the last one acknowledged; over next-hop objects or with the
//! next hop in each route, in ascending order or scattered over the table.
//! Prints one line of JSON with the medians.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net};
use muslin_netns::{Namespace, connect};
use muslin_route_programmer::{DesiredRoute, NextHop, Programmer, ProgrammerConfig, RouteChange};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Next hops that the routes take turns over.
const NEXT_HOPS: u32 = 16;
/// Changes in one call, as a speaker hands them over.
const CHANGES: usize = 1024;
const BATCH: usize = 256;

type Failure = Box<dyn Error + Send + Sync>;

struct Times {
    add: Duration,
    delete: Duration,
    adopt: Duration,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let routes: u32 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let runs: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let (mut floor, mut inline, mut scattered, mut ours) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let (host, _router) = new_host()?;
        floor.push(run_floor(&host, routes, Over::Objects, Order::Ascending)?);
        let (host, _router) = new_host()?;
        inline.push(run_floor(&host, routes, Over::Gateways, Order::Ascending)?);
        let (host, _router) = new_host()?;
        scattered.push(run_floor(&host, routes, Over::Objects, Order::Scattered)?);
        let (host, _router) = new_host()?;
        ours.push(run_programmer(&host, routes)?);
    }
    let median = |runs: &[Times], of: fn(&Times) -> Duration| {
        let mut times: Vec<_> = runs.iter().map(of).collect();
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    };
    let (floor_add, add) = (median(&floor, |times| times.add), median(&ours, |times| times.add));
    println!(
        "{{\"routes\":{routes},\"runs\":{runs},\"floorAddSeconds\":{floor_add:.3},\"floorDeleteSeconds\":{:.3},\
         \"inlineFloorAddSeconds\":{:.3},\"inlineFloorDeleteSeconds\":{:.3},\
         \"scatteredFloorAddSeconds\":{:.3},\"scatteredFloorDeleteSeconds\":{:.3},\
         \"addSeconds\":{add:.3},\"addOverFloor\":{:.2},\"deleteSeconds\":{:.3},\"adoptSeconds\":{:.3}}}",
        median(&floor, |times| times.delete),
        median(&inline, |times| times.add),
        median(&inline, |times| times.delete),
        median(&scattered, |times| times.add),
        median(&scattered, |times| times.delete),
        add / floor_add,
        median(&ours, |times| times.delete),
        median(&ours, |times| times.adopt),
    );
    Ok(())
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

fn gateway(number: u32) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 0, (2 + number % NEXT_HOPS) as u8)
}

fn run_programmer(host: &Namespace, routes: u32) -> Result<Times, Failure> {
    host.block_on(async {
        let programmer = Programmer::spawn(ProgrammerConfig::default()).await?;
        let uplink = programmer.view().link_named("eth0").ok_or("no uplink")?.index;
        let install: Vec<RouteChange> = (0..routes)
            .map(|number| {
                let hop = NextHop::via(gateway(number), uplink);
                RouteChange::install(IpNet::V4(prefix(number)), DesiredRoute::over([hop]))
            })
            .collect();
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
        let withdraw: Vec<_> = install.iter().map(|change| RouteChange::withdraw(change.prefix)).collect();
        let delete = apply(&programmer, &withdraw).await?;
        Ok(Times { add, delete, adopt })
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

fn run_floor(host: &Namespace, routes: u32, over: Over, order: Order) -> Result<Times, Failure> {
    let links = host.links()?;
    let interface = links.iter().find(|link| link.name == "eth0").ok_or("no uplink")?.index;
    host.run(|| {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        let objects: Vec<_> = (0..NEXT_HOPS).map(|number| next_hop(number, interface)).collect();
        send(&socket, &objects)?;
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
        let add = send_all(numbers.iter().map(|number| route(*number, over)).collect())?;
        let delete = send_all(numbers.iter().map(|number| deletion(*number)).collect())?;
        Ok(Times { add, delete, adopt: Duration::ZERO })
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
    body.extend(attribute(1, (number + 1).to_ne_bytes()));
    body.extend(attribute(5, interface.to_ne_bytes()));
    body.extend(attribute(6, gateway(number).octets()));
    message(104, 0x401, &body)
}

fn route(number: u32, over: Over) -> Vec<u8> {
    // RTM_NEWROUTE with NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL; RTA_DST, RTA_PRIORITY, RTA_NH_ID or RTA_GATEWAY.
    let mut body = vec![2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    body.extend(attribute(1, prefix(number).network().octets()));
    body.extend(attribute(6, 77_u32.to_ne_bytes()));
    body.extend(match over {
        Over::Objects => attribute(30, (number % NEXT_HOPS + 1).to_ne_bytes()),
        Over::Gateways => attribute(5, gateway(number).octets()),
    });
    message(24, 0x601, &body)
}

fn deletion(number: u32) -> Vec<u8> {
    // RTM_DELROUTE with NLM_F_REQUEST, of any scope.
    let mut body = vec![2, 24, 0, 0, 254, 4, 255, 0, 0, 0, 0, 0];
    body.extend(attribute(1, prefix(number).network().octets()));
    body.extend(attribute(6, 77_u32.to_ne_bytes()));
    message(25, 1, &body)
}

fn attribute(kind: u16, value: [u8; 4]) -> Vec<u8> {
    [&8_u16.to_ne_bytes()[..], &kind.to_ne_bytes(), &value].concat()
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}
