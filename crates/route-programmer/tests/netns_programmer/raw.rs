//! The hand of another program: route messages of any protocol and metric, and an ear for all changes.

use std::net::IpAddr;

use muslin_netns::Namespace;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use crate::host::{OURS, net};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// What another program does.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    Append,
    Replace,
    Delete,
}

/// A route message of another program.
#[derive(Clone, Copy)]
pub(crate) struct ForeignMessage<'a> {
    pub(crate) act: Act,
    pub(crate) prefix: &'a str,
    pub(crate) protocol: u8,
    pub(crate) metric: u32,
    pub(crate) gateway: Option<&'a str>,
}

impl ForeignMessage<'_> {
    fn encode(&self) -> Vec<u8> {
        let (kind, flags) = match self.act {
            Act::Append => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_APPEND),
            Act::Replace => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE),
            Act::Delete => (RTM_DELROUTE, 0),
        };
        let prefix = net(self.prefix);
        let family = if prefix.addr().is_ipv4() { 2 } else { 10 };
        let scope = if matches!(self.act, Act::Delete) { 255 } else { 0 };
        let route_kind = u8::from(!matches!(self.act, Act::Delete));
        let mut body =
            vec![family, prefix.prefix_len(), 0, 0, 254, self.protocol, scope, route_kind, 0, 0, 0, 0];
        body.extend(attribute(1, &octets(prefix.addr())));
        body.extend(attribute(6, &self.metric.to_ne_bytes()));
        if let Some(gateway) = self.gateway {
            body.extend(attribute(5, &octets(gateway.parse().unwrap())));
        }
        message(kind, NLM_F_REQUEST | flags, &body)
    }
}

/// Has another program send these messages, many in a system call; fails if the last one is refused.
pub(crate) fn send_foreign(namespace: &Namespace, messages: &[ForeignMessage<'_>]) {
    let encoded: Vec<_> = messages.iter().map(ForeignMessage::encode).collect();
    let sent = namespace.run(|| {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        for batch in encoded.chunks(256) {
            let mut bytes = batch.concat();
            let last = bytes.len() - batch.last().unwrap().len();
            bytes[last + 6] |= NLM_F_ACK as u8;
            socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).unwrap();
            let (answer, _) = socket.recv_from_full().unwrap();
            assert_eq!(answer[16..20], [0; 4], "the kernel refused a message of another program");
        }
    });
    sent.unwrap();
}

/// Hears every change of a route or next-hop object of ours in a namespace.
pub(crate) struct Ear {
    socket: Socket,
}

impl Ear {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        let socket = namespace.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
            socket.bind_auto().unwrap();
            socket.set_non_blocking(true).unwrap();
            for group in [7, 11, 32] {
                socket.add_membership(group).unwrap();
            }
            socket
        });
        Self { socket: socket.unwrap() }
    }

    /// How many messages came since the last call. The kernel delivers them before the change returns.
    pub(crate) fn heard(&self) -> usize {
        let datagrams = std::iter::from_fn(|| self.socket.recv_from_full().ok());
        // The protocol is the sixth byte of a `struct rtmsg` and the third of a `struct nhmsg`.
        let ours = |bytes: &[u8]| match kinds(bytes)[..] {
            [RTM_NEWROUTE | RTM_DELROUTE] => bytes[16 + 5] == OURS,
            _ => bytes[16 + 2] == OURS,
        };
        datagrams.filter(|(bytes, _)| ours(bytes)).count()
    }
}

/// The number of next-hop objects in a namespace, whoever's they are.
pub(crate) fn next_hop_objects(namespace: &Namespace) -> usize {
    let counted = namespace.run(|| {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        let request = message(RTM_GETNEXTHOP, NLM_F_REQUEST | NLM_F_DUMP, &[0; 8]);
        socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
        let mut count = 0;
        loop {
            let (bytes, _) = socket.recv_from_full().unwrap();
            let kinds = kinds(&bytes);
            count += kinds.iter().filter(|kind| **kind == 104).count();
            if kinds.contains(&3) {
                return count;
            }
        }
    });
    counted.unwrap()
}

/// Has another program delete every next-hop object, and with them the routes that lead over them.
pub(crate) fn delete_next_hop_objects(namespace: &Namespace) {
    let sent = namespace.run(|| {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind_auto().unwrap();
        for id in 1..100_u32 {
            let body = [&[0; 8][..], &attribute(1, &id.to_ne_bytes())].concat();
            let request = message(RTM_DELNEXTHOP, NLM_F_REQUEST | NLM_F_ACK, &body);
            socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
            socket.recv_from_full().unwrap();
        }
    });
    sent.unwrap();
}

fn kinds(datagram: &[u8]) -> Vec<u16> {
    let mut kinds = Vec::new();
    let mut rest = datagram;
    while let Some(header) = rest.get(..16) {
        let length = u32::from_ne_bytes(header[..4].try_into().unwrap()) as usize;
        kinds.push(u16::from_ne_bytes(header[4..6].try_into().unwrap()));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    kinds
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (4 + value.len()) as u16;
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len()) as u32;
    [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8], body].concat()
}
