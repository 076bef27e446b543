//! The messages of RFC 7854 §4, of which only a speaker's side is needed: writing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use muslin_bgp_packet::{Family, Notification};

/// The protocol's version.
const VERSION: u8 = 3;

/// Message types (RFC 7854 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RouteMonitoring = 0,
    StatisticsReport = 1,
    PeerDown = 2,
    PeerUp = 3,
    Initiation = 4,
    Termination = 5,
}

/// Whose routes a message is about (RFC 7854 §4.2, RFC 9069 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A peer.
    Peer(IpAddr),
    /// The Loc-RIB of this speaker.
    LocRib,
}

/// Which table of a peer (RFC 7854 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Adj-RIB-In before policy.
    Before,
    /// Adj-RIB-In after policy.
    After,
}

/// The per-peer header, the time of the event excepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerHeader {
    pub(super) source: Source,
    pub(super) asn: u32,
    pub(super) id: Ipv4Addr,
}

/// Why a session ended (RFC 7854 §4.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// We sent this.
    Sent(Notification),
    /// We closed because of this event of RFC 4271 §8.1.
    Event(u16),
    /// The peer sent this.
    Received(Notification),
    /// The peer closed and said nothing.
    Closed,
    /// The peer is no longer configured.
    Removed,
}

/// A number of a statistics report (RFC 7854 §4.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statistic {
    /// Prefixes rejected by inbound policy.
    Rejected(u32),
    /// Routes in Adj-RIB-In.
    AdjRibIn(u64),
    /// Routes in Loc-RIB.
    LocRib(u64),
    /// Routes of a family in Adj-RIB-In.
    AdjRibInOf(Family, u64),
    /// UPDATEs that were treated as withdraw.
    TreatedAsWithdraw(u32),
}

impl Statistic {
    fn code(self) -> u16 {
        match self {
            Self::Rejected(_) => 0,
            Self::AdjRibIn(_) => 7,
            Self::LocRib(_) => 8,
            Self::AdjRibInOf(..) => 9,
            Self::TreatedAsWithdraw(_) => 11,
        }
    }
}

/// Who we are (RFC 7854 §4.3): sysDescr and sysName.
pub(super) fn initiation(description: &str, name: &str, out: &mut BytesMut) {
    message(out, Kind::Initiation, |out| {
        information(out, 1, description);
        information(out, 2, name);
    });
}

/// We close, and that is meant (RFC 7854 §4.5, reason 0).
pub(super) fn termination(out: &mut BytesMut) {
    message(out, Kind::Termination, |out| {
        out.put_u16(1);
        out.put_u16(2);
        out.put_u16(0);
    });
}

/// A session is up (RFC 7854 §4.10): both ends, ours first, and both OPENs, ours first, as whole messages.
pub(super) fn peer_up(
    header: PeerHeader,
    at: Duration,
    ends: [SocketAddr; 2],
    opens: [&[u8]; 2],
    out: &mut BytesMut,
) {
    message(out, Kind::PeerUp, |out| {
        header.write(Policy::Before, at, out);
        address(ends[0].ip(), out);
        out.put_u16(ends[0].port());
        out.put_u16(ends[1].port());
        for open in opens {
            out.put_slice(open);
        }
        if header.source == Source::LocRib {
            // RFC 9069 §5.2.1: the name of the table.
            information(out, 3, "global");
        }
    });
}

/// A session is down.
pub(super) fn peer_down(header: PeerHeader, at: Duration, why: &Down, out: &mut BytesMut) {
    message(out, Kind::PeerDown, |out| {
        header.write(Policy::Before, at, out);
        match why {
            Down::Sent(notification) => {
                out.put_u8(1);
                notification.encode(out);
            }
            Down::Event(event) => {
                out.put_u8(2);
                out.put_u16(*event);
            }
            Down::Received(notification) => {
                out.put_u8(3);
                notification.encode(out);
            }
            Down::Closed => out.put_u8(4),
            Down::Removed => out.put_u8(5),
        }
    });
}

/// A route (RFC 7854 §4.6): one UPDATE, which `update` writes. Nothing is written if it writes nothing.
pub(super) fn route(
    header: PeerHeader,
    policy: Policy,
    at: Duration,
    out: &mut BytesMut,
    update: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    let mut empty = false;
    message(out, Kind::RouteMonitoring, |out| {
        header.write(policy, at, out);
        let before = out.len();
        update(out);
        empty = out.len() == before;
    });
    if empty {
        out.truncate(start);
    }
}

/// Numbers (RFC 7854 §4.8).
pub(super) fn statistics(header: PeerHeader, at: Duration, numbers: &[Statistic], out: &mut BytesMut) {
    message(out, Kind::StatisticsReport, |out| {
        header.write(Policy::Before, at, out);
        // There are five of them at most.
        out.put_u32(numbers.len() as u32);
        for number in numbers {
            out.put_u16(number.code());
            match *number {
                Statistic::Rejected(count) | Statistic::TreatedAsWithdraw(count) => {
                    out.put_u16(4);
                    out.put_u32(count);
                }
                Statistic::AdjRibIn(count) | Statistic::LocRib(count) => {
                    out.put_u16(8);
                    out.put_u64(count);
                }
                Statistic::AdjRibInOf(family, count) => {
                    let family = muslin_bgp_packet::AfiSafi::from(family);
                    out.put_u16(11);
                    out.put_u16(family.afi);
                    out.put_u8(family.safi);
                    out.put_u64(count);
                }
            }
        }
    });
}

impl PeerHeader {
    fn write(self, policy: Policy, at: Duration, out: &mut BytesMut) {
        let (kind, ipv6) = match self.source {
            Source::Peer(address) => (0, address.is_ipv6()),
            Source::LocRib => (3, false),
        };
        out.put_u8(kind);
        // AS_PATHs always have four octets a number, so the A flag is never set.
        out.put_u8(u8::from(ipv6) << 7 | u8::from(policy == Policy::After) << 6);
        out.put_u64(0);
        match self.source {
            Source::Peer(peer) => address(peer, out),
            Source::LocRib => out.put_bytes(0, 16),
        }
        out.put_u32(self.asn);
        out.put_slice(&self.id.octets());
        // Seconds since 1970 fit until 2106.
        out.put_u32(at.as_secs() as u32);
        out.put_u32(at.subsec_micros());
    }
}

fn message(out: &mut BytesMut, kind: Kind, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u8(VERSION);
    out.put_u32(0);
    out.put_u8(kind as u8);
    body(out);
    // No message is longer than two OPENs or one UPDATE and a header.
    let length = (out.len() - start) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

/// An information TLV (RFC 7854 §4.4).
fn information(out: &mut BytesMut, kind: u16, text: &str) {
    let text = &text.as_bytes()[..text.len().min(255)];
    out.put_u16(kind);
    out.put_u16(text.len() as u16);
    out.put_slice(text);
}

/// An address in 16 octets, an IPv4 one in the last four.
fn address(address: IpAddr, out: &mut BytesMut) {
    match address {
        IpAddr::V4(address) => {
            out.put_bytes(0, 12);
            out.put_slice(&address.octets());
        }
        IpAddr::V6(address) => out.put_slice(&address.octets()),
    }
}
