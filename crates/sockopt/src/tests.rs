use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn listener_with_key(key: &[u8]) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_md5_key(&listener, IpAddr::from([127, 0, 0, 0]), 8, key).unwrap();
    listener
}

fn connect(listener: &TcpListener, prepare: impl FnOnce(&Socket)) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    prepare(&socket);
    socket.connect_timeout(&listener.local_addr()?.into(), Duration::from_millis(300))?;
    Ok(socket.into())
}

#[test]
fn the_size_is_that_of_the_kernel() {
    assert_eq!(size_of::<TcpMd5Sig>(), 128 + 8 + 80);
}

#[test]
fn equal_keys_connect_and_carry_octets() {
    let listener = listener_with_key(b"secret");
    let mut client =
        connect(&listener, |socket| set_md5_key(socket, LOOPBACK, 32, b"secret").unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"signed").unwrap();
    let mut octets = [0; 6];
    server.read_exact(&mut octets).unwrap();
    assert_eq!(&octets, b"signed");
}

#[test]
fn a_wrong_or_missing_key_is_met_by_silence() {
    let listener = listener_with_key(b"secret");
    let wrong = connect(&listener, |socket| set_md5_key(socket, LOOPBACK, 32, b"other").unwrap());
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::TimedOut);
    let missing = connect(&listener, |_| ());
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_removed_key_is_no_longer_asked_for() {
    let listener = listener_with_key(b"secret");
    set_md5_key(&listener, IpAddr::from([127, 0, 0, 0]), 8, b"").unwrap();
    connect(&listener, |_| ()).unwrap();
}

#[test]
fn impossible_keys_and_prefixes_are_refused_before_the_kernel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let long = set_md5_key(&listener, LOOPBACK, 32, &[0; MD5_KEY_MAX + 1]);
    assert_eq!(long.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(set_md5_key(&listener, LOOPBACK, 33, b"k").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn rfc5082_a_listener_with_minimum_ttl_does_not_see_packets_that_crossed_a_router() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_min_ttl(&listener, 255).unwrap();
    assert!(connect(&listener, |socket| socket.set_ttl_v4(64).unwrap()).is_err());
    connect(&listener, |socket| socket.set_ttl_v4(255).unwrap()).unwrap();
}

#[test]
fn rfc5082_the_hop_limit_of_ipv6_works_the_same() {
    let listener = TcpListener::bind("[::1]:0").unwrap();
    set_min_hop_limit(&listener, 255).unwrap();
    let attempt = |hops| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
        socket.set_unicast_hops_v6(hops).unwrap();
        socket.connect_timeout(&listener.local_addr().unwrap().into(), Duration::from_millis(300))
    };
    assert!(attempt(64).is_err());
    attempt(255).unwrap();
}
