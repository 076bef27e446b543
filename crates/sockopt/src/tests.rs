use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{SockAddr, Socket, Type};

use super::*;

const LOOPBACK4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// The kernel answers within microseconds or, when it drops a segment, not at all.
const PATIENCE: Duration = Duration::from_millis(700);

fn socket(address: IpAddr) -> Socket {
    let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::STREAM, None).unwrap()
}

fn listener(address: IpAddr) -> (Socket, u16) {
    let listener = socket(address);
    listener.bind(&SocketAddr::new(address, 0).into()).unwrap();
    listener.listen(8).unwrap();
    let port = listener.local_addr().unwrap().as_socket().unwrap().port();
    (listener, port)
}

fn connects(client: &Socket, address: IpAddr, port: u16) -> bool {
    match client.connect_timeout(&SockAddr::from(SocketAddr::new(address, port)), PATIENCE) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => false,
        Err(error) => panic!("neither accepted nor ignored: {error}"),
    }
}

fn connects_with_key(address: IpAddr, port: u16, scope: Md5Scope, key: &[u8]) -> bool {
    let client = socket(address);
    set_md5_key(&client, scope, key).unwrap();
    connects(&client, address, port)
}

#[test]
fn equal_keys_connect_and_others_do_not() {
    for address in [LOOPBACK4, LOOPBACK6] {
        let (listener, port) = listener(address);
        set_md5_key(&listener, Md5Scope::Host(address), b"right").unwrap();
        assert!(connects_with_key(address, port, Md5Scope::Host(address), b"right"));
        assert!(!connects_with_key(address, port, Md5Scope::Host(address), b"wrong"));
        assert!(!connects(&socket(address), address, port), "without a key");
    }
}

#[test]
fn a_key_is_replaced_and_removed_while_the_listener_stays() {
    let (listener, port) = listener(LOOPBACK4);
    let scope = Md5Scope::Host(LOOPBACK4);
    set_md5_key(&listener, scope, b"old").unwrap();
    set_md5_key(&listener, scope, b"new").unwrap();
    assert!(connects_with_key(LOOPBACK4, port, scope, b"new"));
    assert!(!connects_with_key(LOOPBACK4, port, scope, b"old"));
    remove_md5_key(&listener, scope).unwrap();
    assert!(connects(&socket(LOOPBACK4), LOOPBACK4, port));
    remove_md5_key(&listener, scope).unwrap();
}

#[test]
fn a_key_for_a_prefix_is_for_all_its_addresses() {
    let (listener, port) = listener(LOOPBACK4);
    let range = Md5Scope::Prefix(Ipv4Addr::new(127, 0, 0, 0).into(), 8);
    set_md5_key(&listener, range, b"range").unwrap();
    assert!(connects_with_key(LOOPBACK4, port, Md5Scope::Host(LOOPBACK4), b"range"));
    assert!(!connects(&socket(LOOPBACK4), LOOPBACK4, port));
    remove_md5_key(&listener, range).unwrap();
    assert!(connects(&socket(LOOPBACK4), LOOPBACK4, port));
}

#[test]
fn an_ipv6_listener_takes_keys_for_ipv4_peers() {
    let listener = socket(LOOPBACK6);
    listener.set_only_v6(false).unwrap();
    listener.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).unwrap();
    listener.listen(8).unwrap();
    let port = listener.local_addr().unwrap().as_socket().unwrap().port();
    set_md5_key(&listener, Md5Scope::Prefix(Ipv4Addr::new(127, 0, 0, 0).into(), 8), b"mapped").unwrap();
    assert!(connects_with_key(LOOPBACK4, port, Md5Scope::Host(LOOPBACK4), b"mapped"));
    assert!(!connects(&socket(LOOPBACK4), LOOPBACK4, port));
}

#[test]
fn keys_of_impossible_lengths_are_refused() {
    let client = socket(LOOPBACK4);
    set_md5_key(&client, Md5Scope::Host(LOOPBACK4), &[b'k'; MD5_KEY_MAX]).unwrap();
    for length in [0, MD5_KEY_MAX + 1] {
        let error = set_md5_key(&client, Md5Scope::Host(LOOPBACK4), &vec![b'k'; length]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&length.to_string()));
    }
    let prefix = set_md5_key(&client, Md5Scope::Prefix(LOOPBACK4, 33), b"key").unwrap_err();
    assert_eq!(prefix.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn rfc5082_1_packets_from_far_away_never_reach_the_listener() {
    for address in [LOOPBACK4, LOOPBACK6] {
        let (listener, port) = listener(address);
        set_minimum_ttl(&listener, 255).unwrap();
        let connects_with_ttl = |ttl| {
            let client = socket(address);
            if address.is_ipv4() {
                client.set_ttl_v4(ttl).unwrap();
            } else {
                client.set_unicast_hops_v6(ttl).unwrap();
            }
            connects(&client, address, port)
        };
        assert!(connects_with_ttl(255));
        assert!(!connects_with_ttl(254));
    }
}

#[test]
fn a_receive_buffer_is_forced_or_the_lack_of_privilege_is_told() {
    let client = socket(LOOPBACK4);
    let size = 64 << 20;
    match force_receive_buffer(&client, size) {
        Ok(()) => assert!(client.recv_buffer_size().unwrap() >= size),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
    }
}

#[test]
fn rfc5925_1_equal_keys_connect_and_others_do_not_where_the_kernel_can_sign() {
    let key = |key| AoKey { algorithm: AoAlgorithm::HmacSha1, send_id: 7, receive_id: 7, key };
    if !has_tcp_ao() {
        // Past the harness, which would keep it to itself.
        let mut output = io::stdout();
        io::Write::write_all(&mut output, b"SKIPPED: this kernel has no TCP-AO\n").unwrap();
        let error = add_ao_key(&socket(LOOPBACK4), LOOPBACK4, 32, key(b"right")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT));
        return;
    }
    for address in [LOOPBACK4, LOOPBACK6] {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let (listener, port) = listener(address);
        add_ao_key(&listener, address, bits, key(b"right")).unwrap();
        let connects_with = |octets| {
            let client = socket(address);
            add_ao_key(&client, address, bits, key(octets)).unwrap();
            connects(&client, address, port)
        };
        assert!(connects_with(b"right"));
        assert!(!connects_with(b"wrong"));
        assert!(!connects(&socket(address), address, port), "without a key");
    }
}

#[test]
fn tcp_ao_keys_of_impossible_lengths_are_refused() {
    for length in [0, AO_KEY_MAX + 1] {
        let key =
            AoKey { algorithm: AoAlgorithm::AesCmac, send_id: 1, receive_id: 1, key: &vec![b'k'; length] };
        let error = add_ao_key(&socket(LOOPBACK4), LOOPBACK4, 32, key).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn fewer_octets_than_the_mark_are_no_news() {
    use std::io::Write;
    let (listener, port) = listener(LOOPBACK4);
    let mut peer = socket(LOOPBACK4);
    assert!(connects(&peer, LOOPBACK4, port));
    let (ours, _) = listener.accept().unwrap();
    ours.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    set_low_water_mark(&ours, 20).unwrap();
    let mut octets = [std::mem::MaybeUninit::uninit(); 64];
    peer.write_all(&[1; 19]).unwrap();
    // A blocking read waits for the mark, and takes what is there when its time is over.
    let before = std::time::Instant::now();
    assert_eq!(ours.recv(&mut octets).unwrap(), 19);
    assert!(before.elapsed() >= Duration::from_millis(50));
    assert!(silent_for(&ours).unwrap() >= Duration::from_millis(40), "a tick is 10 ms at most");
    set_low_water_mark(&ours, 1).unwrap();
    peer.write_all(&[1]).unwrap();
    assert_eq!(ours.recv(&mut octets).unwrap(), 1);
    assert!(silent_for(&ours).unwrap() < PATIENCE);
}
