//! Messages put together octet by octet, so that they can be wrong in any place.
//!
//! This is on purpose not our own codec: a tester that shares its subject's reading of the RFCs proves little.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Message types (RFC 4271 §4.1, RFC 2918 §3).
pub const OPEN: u8 = 1;
/// See [`OPEN`].
pub const UPDATE: u8 = 2;
/// See [`OPEN`].
pub const NOTIFICATION: u8 = 3;
/// See [`OPEN`].
pub const KEEPALIVE: u8 = 4;
/// See [`OPEN`].
pub const ROUTE_REFRESH: u8 = 5;

/// Attribute flags (RFC 4271 §4.3).
pub const OPTIONAL: u8 = 0x80;
/// See [`OPTIONAL`].
pub const TRANSITIVE: u8 = 0x40;
/// See [`OPTIONAL`].
pub const PARTIAL: u8 = 0x20;
/// See [`OPTIONAL`].
pub const EXTENDED_LENGTH: u8 = 0x10;

/// A message with a right header around any body.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    header(kind, u16::try_from(19 + body.len()).unwrap_or(u16::MAX))
        .into_iter()
        .chain(body.iter().copied())
        .collect()
}

/// A header that claims any length.
pub fn header(kind: u8, length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    [0xff; 16].into_iter().chain([high, low, kind]).collect()
}

/// KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    message(KEEPALIVE, &[])
}

/// An OPEN, each field at will.
#[derive(Clone, Debug)]
pub struct Open {
    /// Version, rightly 4.
    pub version: u8,
    /// The two-octet AS field.
    pub asn: u16,
    /// Hold time in seconds.
    pub hold_time: u16,
    /// BGP identifier.
    pub id: Ipv4Addr,
    /// Optional parameters with the length field before them.
    pub parameters: Vec<u8>,
}

impl Open {
    /// A right OPEN with multiprotocol for both families, route refresh and 4-octet AS.
    pub fn new(asn: u32, id: Ipv4Addr, hold_time: u16) -> Self {
        let parameters = parameters(&[capabilities(&common_capabilities(asn))]);
        Self { version: 4, asn: u16::try_from(asn).unwrap_or(23456), hold_time, id, parameters }
    }

    /// The same with further capabilities.
    #[must_use]
    pub fn with_capabilities(self, asn: u32, further: &[Vec<u8>]) -> Self {
        let all = [common_capabilities(asn), further.to_vec()].concat();
        self.with_parameters(parameters(&[capabilities(&all)]))
    }

    /// The same with other optional parameters (with their length field).
    #[must_use]
    pub fn with_parameters(self, parameters: Vec<u8>) -> Self {
        Self { parameters, ..self }
    }

    /// The message.
    pub fn message(&self) -> Vec<u8> {
        let mut body = vec![self.version];
        body.extend(self.asn.to_be_bytes());
        body.extend(self.hold_time.to_be_bytes());
        body.extend(self.id.octets());
        body.extend(&self.parameters);
        message(OPEN, &body)
    }
}

/// Multiprotocol for IPv4 and IPv6 unicast, route refresh and 4-octet AS.
pub fn common_capabilities(asn: u32) -> Vec<Vec<u8>> {
    vec![multiprotocol(1, 1), multiprotocol(2, 1), capability(2, &[]), capability(65, &asn.to_be_bytes())]
}

/// The multiprotocol capability (RFC 4760 §8).
pub fn multiprotocol(afi: u16, safi: u8) -> Vec<u8> {
    let [high, low] = afi.to_be_bytes();
    capability(1, &[high, low, 0, safi])
}

/// One capability (RFC 5492 §4).
pub fn capability(code: u8, value: &[u8]) -> Vec<u8> {
    [code, length8(value)].into_iter().chain(value.iter().copied()).collect()
}

/// The capabilities parameter, with all of these in it.
pub fn capabilities(capabilities: &[Vec<u8>]) -> Vec<u8> {
    parameter(2, &capabilities.concat())
}

/// Graceful restart for both families (RFC 4724 §3): the flags are the upper four bits, R and N the highest.
pub fn graceful_restart(flags: u8, seconds: u16, forwarding: Forwarding) -> Vec<u8> {
    let [high, low] = seconds.to_be_bytes();
    let kept = forwarding as u8;
    capability(64, &[flags | high, low, 0, 1, 1, kept, 0, 2, 1, kept])
}

/// Long-lived graceful restart for both families (RFC 9494 §3.1).
pub fn long_lived_restart(seconds: u16, forwarding: Forwarding) -> Vec<u8> {
    let [high, low] = seconds.to_be_bytes();
    let family = |afi| [0, afi, 1, forwarding as u8, 0, high, low];
    capability(71, &[family(1), family(2)].concat())
}

/// The F bit of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Packets were forwarded all the while.
    Kept = 0x80,
    /// They were not.
    Lost = 0,
}

/// R: the speaker has just restarted.
pub const RESTARTED: u8 = 0x80;
/// N: a NOTIFICATION, too, leaves routes in use (RFC 8538 §2).
pub const OVER_NOTIFICATION: u8 = 0x40;

/// The End-of-RIB of IPv4 unicast (RFC 4724 §2).
pub fn end_of_rib() -> Vec<u8> {
    update(&[], &[], &[])
}

/// A ROUTE-REFRESH for IPv4 unicast with a subtype (RFC 7313 §3.2).
pub fn refresh(subtype: u8) -> Vec<u8> {
    message(ROUTE_REFRESH, &[0, 1, subtype, 1])
}

/// One optional parameter.
pub fn parameter(kind: u8, value: &[u8]) -> Vec<u8> {
    [kind, length8(value)].into_iter().chain(value.iter().copied()).collect()
}

/// All optional parameters behind their length.
pub fn parameters(parameters: &[Vec<u8>]) -> Vec<u8> {
    let parameters = parameters.concat();
    [length8(&parameters)].into_iter().chain(parameters).collect()
}

/// All optional parameters in the extended form (RFC 9072 §2): each has a length of two octets.
pub fn extended_parameters(parameters: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (kind, value) in parameters {
        all.push(*kind);
        all.extend(length16(value));
        all.extend(value);
    }
    [255, 255].into_iter().chain(length16(&all)).chain(all).collect()
}

fn length8(value: &[u8]) -> u8 {
    u8::try_from(value.len()).unwrap_or(u8::MAX)
}

fn length16(value: &[u8]) -> [u8; 2] {
    u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes()
}

/// An UPDATE from its three parts; attributes as whole octets.
pub fn update(withdrawn: &[&str], attributes: &[Vec<u8>], announced: &[&str]) -> Vec<u8> {
    let withdrawn = prefixes(withdrawn);
    let attributes = attributes.concat();
    raw_update(&withdrawn, length16(&attributes), &attributes, &prefixes(announced))
}

/// An UPDATE whose Total Path Attribute Length may lie.
pub fn raw_update(
    withdrawn: &[u8],
    attribute_length: [u8; 2],
    attributes: &[u8],
    announced: &[u8],
) -> Vec<u8> {
    let mut body = length16(withdrawn).to_vec();
    body.extend(withdrawn);
    body.extend(attribute_length);
    body.extend(attributes);
    body.extend(announced);
    message(UPDATE, &body)
}

/// Prefixes as on the wire, their host bits left as written.
pub fn prefixes(prefixes: &[&str]) -> Vec<u8> {
    prefixes.iter().flat_map(|text| prefix(text)).collect()
}

/// Prefixes with path identifiers before them (RFC 7911 §3).
pub fn paths(paths: &[(u32, &str)]) -> Vec<u8> {
    paths.iter().flat_map(|(id, text)| id.to_be_bytes().into_iter().chain(prefix(text))).collect()
}

/// The ADD-PATH capability for IPv4 unicast: 1 receives, 2 sends, 3 does both (RFC 7911 §4).
pub fn add_path(send_receive: u8) -> Vec<u8> {
    capability(69, &[0, 1, 1, send_receive])
}

/// ORIGINATOR_ID (RFC 4456 §8).
pub fn originator_id(id: Ipv4Addr) -> Vec<u8> {
    attribute(OPTIONAL, 9, &id.octets())
}

/// CLUSTER_LIST (RFC 4456 §8).
pub fn cluster_list(clusters: &[Ipv4Addr]) -> Vec<u8> {
    attribute(OPTIONAL, 10, &clusters.iter().flat_map(Ipv4Addr::octets).collect::<Vec<_>>())
}

/// One prefix. The tests' own text is trusted: what is no prefix becomes the default route.
pub fn prefix(text: &str) -> Vec<u8> {
    let net: IpNet = text.parse().unwrap_or_default();
    let octets: Vec<u8> = match net.addr() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = net.prefix_len();
    std::iter::once(length).chain(octets.into_iter().take(usize::from(length.div_ceil(8)))).collect()
}

/// One attribute; the extended length is used when the flag or the value asks for it.
pub fn attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    if flags & EXTENDED_LENGTH != 0 || value.len() > 255 {
        octets.extend([flags | EXTENDED_LENGTH, kind]);
        octets.extend(length16(value));
    } else {
        octets.extend([flags, kind, length8(value)]);
    }
    octets.extend(value);
    octets
}

/// ORIGIN.
pub fn origin(value: u8) -> Vec<u8> {
    attribute(TRANSITIVE, 1, &[value])
}

/// AS_PATH of one sequence of 4-octet numbers; empty for none.
pub fn as_path(asns: &[u32]) -> Vec<u8> {
    attribute(TRANSITIVE, 2, &segments(&[(2, asns)]))
}

/// Segments of an AS_PATH with 4-octet numbers: (type, numbers).
pub fn segments(segments: &[(u8, &[u32])]) -> Vec<u8> {
    let mut value = Vec::new();
    for (kind, asns) in segments.iter().filter(|(_, asns)| !asns.is_empty()) {
        value.extend([*kind, u8::try_from(asns.len()).unwrap_or(u8::MAX)]);
        value.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    value
}

/// NEXT_HOP.
pub fn next_hop(address: Ipv4Addr) -> Vec<u8> {
    attribute(TRANSITIVE, 3, &address.octets())
}

/// MULTI_EXIT_DISC.
pub fn med(value: u32) -> Vec<u8> {
    attribute(OPTIONAL, 4, &value.to_be_bytes())
}

/// LOCAL_PREF.
pub fn local_pref(value: u32) -> Vec<u8> {
    attribute(TRANSITIVE, 5, &value.to_be_bytes())
}

/// COMMUNITIES.
pub fn communities(values: &[u32]) -> Vec<u8> {
    let octets: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    attribute(OPTIONAL | TRANSITIVE, 8, &octets)
}

/// MP_REACH_NLRI for IPv6 unicast.
pub fn mp_reach(next_hop: Ipv6Addr, announced: &[&str]) -> Vec<u8> {
    let mut value = vec![0, 2, 1, 16];
    value.extend(next_hop.octets());
    value.push(0);
    value.extend(prefixes(announced));
    attribute(OPTIONAL, 14, &value)
}

/// MP_UNREACH_NLRI for IPv6 unicast.
pub fn mp_unreach(withdrawn: &[&str]) -> Vec<u8> {
    let value: Vec<u8> = [0, 2, 1].into_iter().chain(prefixes(withdrawn)).collect();
    attribute(OPTIONAL, 15, &value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Put together by hand from RFC 4271 §4.3.
    #[test]
    fn an_update_is_the_octets_of_the_rfc() {
        let built = update(
            &["10.1.0.0/16"],
            &[origin(0), as_path(&[65001]), next_hop(Ipv4Addr::new(192, 0, 2, 1))],
            &["10.2.3.0/24", "0.0.0.0/0"],
        );
        let mut by_hand = vec![0xff; 16];
        by_hand.extend([0, 51, 2, 0, 3, 16, 10, 1, 0, 20]);
        by_hand.extend([0x40, 1, 1, 0]);
        by_hand.extend([0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9]);
        by_hand.extend([0x40, 3, 4, 192, 0, 2, 1]);
        by_hand.extend([24, 10, 2, 3, 0]);
        assert_eq!(built, by_hand);
    }
}
