//! Namespaces with real links and packets; needs root (of a user namespace at least).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use muslin_netns::{LinkState, Namespace, NetnsError, NextHop, Route, RouteKind, connect};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const MAIN: u32 = 254;
const PATIENCE: Duration = Duration::from_secs(5);

fn pair() -> Result<(Namespace, Namespace), NetnsError> {
    let (left, right) = (Namespace::new("left")?, Namespace::new("right")?);
    connect(&left, "eth0", &right, "eth0")?;
    for (side, host) in [(&left, 1), (&right, 2)] {
        side.add_address("eth0", format!("192.0.2.{host}/24").parse().unwrap())?;
        side.add_address("eth0", format!("2001:db8::{host}/64").parse().unwrap())?;
    }
    Ok((left, right))
}

fn route_to(routes: &[Route], prefix: &str) -> Option<Route> {
    let prefix = prefix.parse().unwrap();
    routes.iter().find(|route| route.prefix == prefix && route.table == MAIN).cloned()
}

#[test]
fn a_connected_pair_carries_tcp_in_both_families_at_once() -> Outcome {
    let (left, right) = pair()?;
    for address in ["192.0.2.2:0", "[2001:db8::2]:0"] {
        let listener = right.run(|| TcpListener::bind(address))??;
        let target = listener.local_addr()?;
        left.run(|| TcpStream::connect_timeout(&target, PATIENCE)?.write_all(b"hello"))??;
        let mut text = String::new();
        listener.accept()?.0.read_to_string(&mut text)?;
        assert_eq!(text, "hello");
    }
    Ok(())
}

#[test]
fn namespaces_do_not_see_each_other_without_a_link() -> Outcome {
    let (left, right) = (Namespace::new("left")?, Namespace::new("right")?);
    let listener = right.run(|| TcpListener::bind("127.0.0.1:0"))??;
    let target = listener.local_addr()?;
    assert!(left.run(|| TcpStream::connect(target))?.is_err());
    assert_eq!(left.links()?.iter().map(|link| link.name.as_str()).collect::<Vec<_>>(), ["lo"]);
    Ok(())
}

#[test]
fn a_child_starts_inside_the_namespace_that_its_path_names() -> Outcome {
    let namespace = Namespace::new("alone")?;
    let inside = namespace.spawn(Command::new("readlink").arg("/proc/self/ns/net").stdout(Stdio::piped()))?;
    let seen = String::from_utf8(inside.wait_with_output()?.stdout)?;
    assert_eq!(seen.trim(), std::fs::read_link(namespace.path())?.to_string_lossy());
    assert_ne!(seen.trim(), std::fs::read_link("/proc/self/ns/net")?.to_string_lossy());
    Ok(())
}

#[test]
fn a_future_runs_inside_the_namespace() -> Outcome {
    let (_left, right) = pair()?;
    let bound = right
        .block_on(async { tokio::net::UdpSocket::bind("192.0.2.2:0").await.map(|s| s.local_addr()) })??;
    assert_eq!(bound?.ip(), "192.0.2.2".parse::<IpAddr>()?);
    Ok(())
}

#[test]
fn a_static_route_appears_with_its_gateway_and_goes_when_removed() -> Outcome {
    let (left, _right) = pair()?;
    let interface = left.links()?.iter().find(|link| link.name == "eth0").map(|link| link.index).unwrap();
    for (prefix, gateway) in [("198.51.100.0/24", "192.0.2.2"), ("2001:db8:1::/48", "2001:db8::2")] {
        left.add_route(prefix.parse()?, gateway.parse()?)?;
        let route = route_to(&left.routes()?, prefix).expect("the route is there");
        assert_eq!(route.kind, RouteKind::Unicast);
        assert_eq!(route.protocol, 4);
        assert_eq!(route.next_hops, [NextHop { gateway: Some(gateway.parse()?), interface, weight: 1 }]);
        left.remove_route(prefix.parse()?)?;
        assert_eq!(route_to(&left.routes()?, prefix), None);
    }
    Ok(())
}

#[test]
fn a_multipath_route_reads_back_with_every_gateway() -> Outcome {
    let (left, _right) = pair()?;
    for (prefix, gateways) in
        [("198.51.100.0/24", ["192.0.2.2", "192.0.2.3"]), ("2001:db8:1::/48", ["2001:db8::2", "2001:db8::3"])]
    {
        let gateways = gateways.map(|gateway| gateway.parse::<IpAddr>().unwrap());
        left.add_multipath_route(prefix.parse()?, &gateways)?;
        let found = route_to(&left.routes()?, prefix).expect("the route is there").next_hops;
        assert_eq!(found.iter().map(|hop| hop.gateway).collect::<Vec<_>>(), gateways.map(Some));
    }
    Ok(())
}

#[test]
fn waiting_for_routes_ends_with_the_change_and_gives_up_in_time() -> Outcome {
    let (left, _right) = pair()?;
    let there = |routes: &[Route]| route_to(routes, "198.51.100.0/24").is_some();
    assert!(!left.await_routes(Duration::from_millis(50), there)?);
    let came = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| left.await_routes(PATIENCE, there));
        left.add_route("198.51.100.0/24".parse().unwrap(), "192.0.2.2".parse().unwrap())?;
        waiting.join().expect("the waiter ends")
    })?;
    assert!(came);
    Ok(())
}

#[test]
fn a_link_that_goes_down_takes_its_routes_along() -> Outcome {
    let (left, _right) = pair()?;
    left.set_link("eth0", LinkState::Down)?;
    assert_eq!(route_to(&left.routes()?, "192.0.2.0/24"), None);
    let link = left.links()?.into_iter().find(|link| link.name == "eth0").unwrap();
    assert!(!link.up);
    assert_eq!(link.kind.as_deref(), Some("veth"));
    Ok(())
}

#[test]
fn a_renewed_namespace_keeps_its_hardware_and_nothing_else() -> Outcome {
    let (left, right) = pair()?;
    let clone = right.clone();
    let card = |at: &Namespace| at.links().map(|links| links.into_iter().find(|link| link.name == "eth0"));
    let before = card(&right)?.unwrap();
    right.sysctl("net/ipv4/ip_forward", "1")?;
    right.add_route("198.51.100.0/24".parse()?, "192.0.2.1".parse()?)?;
    right.add_address("lo", "192.0.2.99/32".parse()?)?;
    // Somebody inside keeps the old one, as pods of a machine do for as long as somebody looks at them.
    let inside = right.run(|| TcpListener::bind("192.0.2.2:7000"))??;
    let knock = |patience| {
        let closed = "192.0.2.2:7001".parse().unwrap();
        left.run(|| TcpStream::connect_timeout(&closed, patience)).unwrap().unwrap_err().kind()
    };
    assert_eq!(knock(PATIENCE), ErrorKind::ConnectionRefused, "a kernel answers");
    right.renew(&["eth0"])?;
    assert_ne!(knock(Duration::from_millis(300)), ErrorKind::ConnectionRefused, "nothing answers");
    let after = card(&right)?.unwrap();
    assert_eq!((after.up, after.hardware_address), (false, before.hardware_address));
    assert_eq!(clone.links()?, right.links()?, "a clone is the same");
    let names: Vec<_> = right.links()?.into_iter().filter(|link| link.up).map(|link| link.name).collect();
    assert_eq!(names, ["lo"]);
    assert_eq!(route_to(&right.routes()?, "198.51.100.0/24"), None);
    assert_eq!(right.run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward"))??, "0\n");
    right.set_link("eth0", LinkState::Up)?;
    right.add_address("eth0", "192.0.2.2/24".parse()?)?;
    let opened = left.run(|| TcpStream::connect_timeout(&"192.0.2.2:7000".parse().unwrap(), PATIENCE))?;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::ConnectionRefused, "what was inside is not heard");
    drop(inside);
    Ok(())
}

#[test]
fn a_bridge_joins_its_ports_on_one_link() -> Outcome {
    let switch = Namespace::new("switch")?;
    switch.bridge("br0")?;
    let mut hosts = Vec::new();
    for number in 1..=3u8 {
        let host = Namespace::new("host")?;
        let port = format!("port{number}");
        connect(&host, "eth0", &switch, &port)?;
        switch.attach("br0", &port)?;
        host.add_address("eth0", format!("192.0.2.{number}/24").parse()?)?;
        hosts.push(host);
    }
    let listener = hosts[2].run(|| TcpListener::bind("192.0.2.3:0"))??;
    let target = listener.local_addr()?;
    for host in &hosts[..2] {
        host.run(|| TcpStream::connect_timeout(&target, PATIENCE))??;
    }
    Ok(())
}

#[test]
fn settings_belong_to_the_namespace() -> Outcome {
    let (left, right) = pair()?;
    left.sysctl("net/ipv4/ip_forward", "1")?;
    let read = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward");
    assert_eq!(left.run(read)??.trim(), "1");
    assert_eq!(right.run(read)??.trim(), "0");
    assert!(matches!(left.sysctl("net/ipv4/no_such_key", "1"), Err(NetnsError::Sysctl { .. })));
    Ok(())
}

#[test]
fn mtu_and_addresses_read_back_as_set() -> Outcome {
    let (left, _right) = pair()?;
    left.set_mtu("eth0", 9000)?;
    assert_eq!(left.links()?.iter().find(|link| link.name == "eth0").unwrap().mtu, 9000);
    left.remove_address("eth0", "192.0.2.1/24".parse()?)?;
    let addresses = left.addresses("eth0")?;
    assert!(addresses.contains(&"2001:db8::1/64".parse()?), "{addresses:?}");
    assert!(!addresses.contains(&"192.0.2.1/24".parse()?), "{addresses:?}");
    Ok(())
}

#[test]
fn errors_name_the_namespace_and_the_object() -> Outcome {
    let namespace = Namespace::new("n1")?;
    let error = namespace.set_mtu("eth7", 1500).unwrap_err().to_string();
    assert_eq!(error, "n1: there is no link eth7");
    let error =
        namespace.add_route("198.51.100.0/24".parse()?, "192.0.2.9".parse()?).unwrap_err().to_string();
    assert!(error.starts_with("n1: cannot add a route to 198.51.100.0/24: "), "{error}");
    Ok(())
}

#[test]
fn a_panic_inside_comes_out() -> Outcome {
    let namespace = Namespace::new("n1")?;
    let caught = std::panic::catch_unwind(|| namespace.run(|| assert_eq!(1, 2, "as expected")));
    assert!(caught.is_err());
    Ok(())
}
