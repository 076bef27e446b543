//! Routes in the one form that all daemons' answers are brought into.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use muslin_bgp_packet::Family;

/// A standard community (RFC 1997), as its two halves.
pub type Community = (u16, u16);
/// A large community (RFC 8092), as its three parts.
pub type LargeCommunity = (u32, u32, u32);

/// A route target or route origin (RFC 4360), as `rt:AS:number` or `ro:AS:number`.
pub type ExtendedCommunity = String;

/// One end of the sessions of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its autonomous system.
    pub asn: u32,
    /// Its IPv4 address, which is its BGP identifier too.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// What an end originates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Destination.
    pub prefix: IpNet,
    /// MED; zero is sent or left out, as the daemon likes.
    pub med: u32,
    /// Standard communities.
    pub communities: BTreeSet<Community>,
    /// Extended communities.
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Large communities.
    pub large_communities: BTreeSet<LargeCommunity>,
}

/// A route as its receiver has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Destination.
    pub prefix: IpNet,
    /// AS_PATH, a sequence.
    pub as_path: Vec<u32>,
    /// NEXT_HOP, the global one in IPv6.
    pub next_hop: IpAddr,
    /// MED; a missing one is zero (RFC 4271 §9.1.2.2).
    pub med: u32,
    /// LOCAL_PREF; a missing one is 100, the default of every daemon here.
    pub local_pref: u32,
    /// Standard communities.
    pub communities: BTreeSet<Community>,
    /// Extended communities.
    pub extended_communities: BTreeSet<ExtendedCommunity>,
    /// Large communities.
    pub large_communities: BTreeSet<LargeCommunity>,
}

/// The family of a prefix.
pub fn family(of: IpNet) -> Family {
    match of {
        IpNet::V4(_) => Family::Ipv4Unicast,
        IpNet::V6(_) => Family::Ipv6Unicast,
    }
}

impl End {
    /// Its address in a family.
    pub fn address_in(&self, family: Family) -> IpAddr {
        match family {
            Family::Ipv4Unicast => self.v4.into(),
            Family::Ipv6Unicast => self.v6.into(),
        }
    }

    /// Its address in the family of a prefix.
    pub fn address(&self, of: IpNet) -> IpAddr {
        self.address_in(family(of))
    }
}

impl Announcement {
    /// A prefix without attributes beyond the mandatory ones.
    pub fn plain(prefix: IpNet) -> Self {
        Self {
            prefix,
            med: 0,
            communities: BTreeSet::new(),
            extended_communities: BTreeSet::new(),
            large_communities: BTreeSet::new(),
        }
    }

    /// What the peer of `origin` has to receive, by RFC 4271 §5.1: the AS once towards an external peer, and
    /// the origin's own address of the session as next hop.
    pub fn as_received(&self, origin: &End, receiver: &End) -> Route {
        Route {
            prefix: self.prefix,
            as_path: if origin.asn == receiver.asn { vec![] } else { vec![origin.asn] },
            next_hop: origin.address(self.prefix),
            med: self.med,
            local_pref: 100,
            communities: self.communities.clone(),
            extended_communities: self.extended_communities.clone(),
            large_communities: self.large_communities.clone(),
        }
    }
}

/// Says what is missing and what is too much, or nothing when both are the same.
///
/// # Errors
/// One line per route that differs, missing ones with `-` and unexpected ones with `+`.
pub fn compare(expected: &BTreeSet<Route>, found: &BTreeSet<Route>) -> Result<(), String> {
    let missing = expected.difference(found).map(|route| format!("- {route}"));
    let unexpected = found.difference(expected).map(|route| format!("+ {route}"));
    let lines: Vec<String> = missing.chain(unexpected).collect();
    if lines.is_empty() { Ok(()) } else { Err(lines.join("\n")) }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} via {} path {:?} med {} local-pref {} communities {:?} {:?} {:?}",
            self.prefix,
            self.next_hop,
            self.as_path,
            self.med,
            self.local_pref,
            self.communities,
            self.extended_communities,
            self.large_communities
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let a = End { asn: 65001, v4: Ipv4Addr::new(192, 0, 2, 1), v6: Ipv6Addr::LOCALHOST };
        let b = End { asn: 65002, ..a };
        Announcement::plain("10.0.0.0/24".parse().unwrap()).as_received(&a, &b)
    }

    /// Each field of an expectation, tampered with, must make the comparison fail.
    #[test]
    fn a_tampered_expectation_never_passes() {
        let found = BTreeSet::from([route()]);
        assert_eq!(compare(&found, &found), Ok(()));
        let tampered = [
            Route { prefix: "10.0.0.0/25".parse().unwrap(), ..route() },
            Route { as_path: vec![65001, 65001], ..route() },
            Route { next_hop: "192.0.2.9".parse().unwrap(), ..route() },
            Route { med: 1, ..route() },
            Route { local_pref: 99, ..route() },
            Route { communities: [(65001, 1)].into(), ..route() },
            Route { extended_communities: ["rt:65001:1".to_owned()].into(), ..route() },
            Route { large_communities: [(65001, 1, 1)].into(), ..route() },
        ];
        for expectation in tampered {
            let difference = compare(&BTreeSet::from([expectation]), &found).unwrap_err();
            assert_eq!(difference.lines().count(), 2, "{difference}");
        }
        assert!(compare(&BTreeSet::new(), &found).unwrap_err().starts_with("+ 10.0.0.0/24"));
        assert!(compare(&found, &BTreeSet::new()).unwrap_err().starts_with("- 10.0.0.0/24"));
    }

    #[test]
    fn an_internal_peer_sees_no_as_and_an_external_one_sees_it_once() {
        assert_eq!(route().as_path, [65001]);
        let a = End { asn: 65001, v4: Ipv4Addr::new(192, 0, 2, 1), v6: Ipv6Addr::LOCALHOST };
        let internal = Announcement::plain("fd00::/64".parse().unwrap()).as_received(&a, &a);
        assert!(internal.as_path.is_empty());
        assert_eq!(internal.next_hop, IpAddr::V6(Ipv6Addr::LOCALHOST));
    }
}
