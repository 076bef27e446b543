//! A pod's interface: a veth pair, one end in the pod, and host routes on the node.
//!
//! ```text
//!   pod                                          node
//!   eth0  10.244.1.5/32 ───────────── veth ───── msl3f9k2m1x0ab   no IPv4 address
//!         fd00:10:244:1::5/128                       fe80::1/64, the same on every pod's link
//!   default via 169.254.1.1                      10.244.1.5/32 dev msl… proto 78
//!   default via fe80::1                          fd00:10:244:1::5/128 dev msl… proto 78
//! ```
//!
//! There is no bridge and no neighbour to be found: the gateway's hardware address is the same on every node
//! and permanent in the pod, so the first packet leaves at once and no pod can pretend to be the gateway.
//!
//! The kernel itself remembers whose interface it is: the host's side carries the attachment in its alias, so a
//! lost ledger can be rebuilt and leftovers can be told from others' interfaces.

mod check;
mod create;
mod inventory;
pub(crate) mod loopback;
mod message;
mod netns;
mod remove;
mod uplink;
mod usable;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) use check::{Expected, check};
pub(crate) use create::{Plan, create};
pub(crate) use inventory::{HostInterface, attached, inventory};
pub(crate) use netns::{Netns, NetnsError};
pub(crate) use remove::{Outcome, condemn, reap};
pub(crate) use uplink::uplink_mtu;

use crate::ipam::Attachment;
use crate::netlink::NetlinkError;

/// What the names of all host side interfaces of pods begin with.
pub const HOST_INTERFACE_PREFIX: &str = "msl";
/// The routing protocol number of pods' host routes, which tells them from those that BGP brought (77).
pub const POD_ROUTE_PROTOCOL: u8 = 78;

/// The next hop of every pod's IPv4 default route; no interface has it, the node answers for it.
pub(crate) const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// The next hop of every pod's IPv6 default route, an address of the host's side.
pub(crate) const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
/// The hardware address of every host side: locally administered, "msl".
pub(crate) const GATEWAY_MAC: Mac = Mac([0x02, 0x6d, 0x73, 0x6c, 0x00, 0x01]);

/// Why an interface could not be made, changed or looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InterfaceError {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("the pod's interface {0} exists already")]
    Exists(String),
    #[error("the node's interface {0} of this pod exists already")]
    HostExists(String),
    #[error("{path}: {source}")]
    Sysctl { path: String, source: std::io::Error },
    #[error("the kernel does not show the interface {0} that it has just made")]
    Invisible(String),
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    /// `None` unless `text` is six hexadecimal octets joined by colons, of a single station.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2)?;
            *octet = u8::from_str_radix(part, 16).ok()?;
        }
        let is_station = octets[0] & 1 == 0 && octets != [0; 6];
        (parts.next().is_none() && is_station).then_some(Self(octets))
    }

    /// The address of a pod's side: the same for the same attachment, locally administered.
    pub(crate) fn of(attachment: &Attachment) -> Self {
        let hash = fingerprint(attachment, "mac").to_be_bytes();
        Self([0x02, hash[0], hash[1], hash[2], hash[3], hash[4]])
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let octets = self.0.map(|octet| format!("{octet:02x}"));
        f.write_str(&octets.join(":"))
    }
}

/// The name of the host's side: a function of the attachment alone, so that DEL needs neither ledger nor
/// result. 15 octets, the most that Linux allows.
pub(crate) fn host_name(attachment: &Attachment) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let hash = fingerprint(attachment, "name");
    let digits = (0..12).map(|place| char::from(DIGITS[(hash >> (place * 5)) as usize & 31]));
    HOST_INTERFACE_PREFIX.chars().chain(digits).collect()
}

/// FNV-1a over the parts with separators that none of them may contain. It must stay the same for ever: names
/// of interfaces that exist depend on it.
fn fingerprint(attachment: &Attachment, purpose: &str) -> u64 {
    let parts = [purpose, &attachment.network, &attachment.container, &attachment.interface];
    let octets = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = octets.fold(0xcbf2_9ce4_8422_2325u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV mixes upwards only: without this the low digits would hardly depend on the beginning.
    hash ^ (hash >> 32)
}

/// The alias of the host's side.
fn alias(attachment: &Attachment) -> String {
    format!("muslin {} {} {}", attachment.network, attachment.container, attachment.interface)
}

/// Reads what [`alias`] wrote.
fn parse_alias(text: &str) -> Option<Attachment> {
    let mut words = text.strip_prefix("muslin ")?.split(' ');
    let mut word = || words.next().map(str::to_owned);
    let attachment = Attachment { network: word()?, container: word()?, interface: word()? };
    words.next().is_none().then_some(attachment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(container: &str) -> Attachment {
        Attachment { network: "muslin".into(), container: container.into(), interface: "eth0".into() }
    }

    #[test]
    fn host_names_fit_differ_and_never_change() {
        let names: std::collections::BTreeSet<String> =
            (0..10_000).map(|number| host_name(&pod(&number.to_string()))).collect();
        assert_eq!(names.len(), 10_000);
        assert!(names.iter().all(|name| name.len() == 15 && name.starts_with("msl")));
        assert_eq!(host_name(&pod("c1")), host_name(&pod("c1")));
    }

    #[test]
    fn an_alias_tells_whose_interface_it_is() {
        assert_eq!(parse_alias(&alias(&pod("c1"))), Some(pod("c1")));
        for other in ["", "muslin", "muslin a b", "muslin a b c d", "somebody else's"] {
            assert_eq!(parse_alias(other), None, "{other}");
        }
    }

    #[test]
    fn hardware_addresses_are_those_of_stations() {
        assert_eq!(Mac::parse("02:00:5e:10:00:ff").unwrap().to_string(), "02:00:5e:10:00:ff");
        for wrong in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ff:00",
            "2:0:5e:10:0:ff",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
        ] {
            assert_eq!(Mac::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Mac::of(&pod("c1")).0[0], 2);
    }
}
