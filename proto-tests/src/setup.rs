//! What a daemon is told to be, in the one form that every daemon's configuration is made from.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use muslin_bgp_packet::Family;

use crate::route::{Announcement, End};

/// What a daemon is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The daemon's own end.
    pub own: End,
    /// Its sessions.
    pub sessions: Vec<Session>,
    /// Hold time to offer, in seconds.
    pub hold_time: u16,
    /// What it originates from the start.
    pub announcements: Vec<Announcement>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The other end.
    pub peer: End,
    /// Which of the ends' addresses it runs between.
    pub transport: Family,
    /// What it carries.
    pub families: Vec<Family>,
    /// What it has beyond routes.
    pub features: Features,
}

/// What a session has beyond routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own in every daemon's configuration"
)]
pub struct Features {
    /// TCP-MD5 key (RFC 2385).
    pub password: Option<String>,
    /// TCP-AO key (RFC 5925).
    pub ao_key: Option<String>,
    /// The VRF that the session is bound to.
    pub vrf: Option<&'static str>,
    /// The session runs between the link-local addresses of this interface.
    pub interface: Option<Interface>,
    /// Only packets of neighbours on the link are taken (RFC 5082).
    pub ttl_security: bool,
    /// The peer connects, and from anywhere in this range; its address is not known.
    pub range: Option<IpNet>,
    /// The peer connects.
    pub passive: bool,
    /// IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Several paths for one prefix (RFC 7911).
    pub add_path: Option<AddPath>,
    /// The peer is a client of this end's route reflection (RFC 4456).
    pub reflector_client: bool,
    /// This end asks its peers to keep its routes while it restarts (RFC 4724).
    pub restarts: bool,
    /// Routes outlive even a restart that takes long (RFC 9494); the ordinary time is then two seconds.
    pub long_lived: bool,
    /// Most prefixes that the peer may send.
    pub max_prefixes: Option<u32>,
    /// What this end is to the other (RFC 9234).
    pub role: Option<Role>,
    /// Messages of up to 65535 octets (RFC 8654).
    pub extended_messages: bool,
    /// Marks of the beginning and the end of a refresh (RFC 7313).
    pub enhanced_refresh: bool,
}

/// The interface of a session between link-local addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: &'static str,
    /// How the peer on it is known.
    pub peer: Neighbour,
}

/// How the peer on an interface is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// It advertises itself as a router.
    Discovered,
    /// Its address is written down.
    Told,
}

/// What an end is to the other, in the words that most daemons have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sells transit.
    Provider,
    /// It buys transit.
    Customer,
}

impl Role {
    /// In lower case, as most daemons write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Customer => "customer",
        }
    }
}

/// In which direction several paths go, as this end sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddPath {
    /// It receives them.
    Receive,
    /// It sends them.
    Send,
}

impl Setup {
    /// A session per family, each over its own transport, with one peer.
    pub fn new(own: End, peer: End, announcements: Vec<Announcement>) -> Self {
        Self {
            own,
            sessions: [Family::Ipv4Unicast, Family::Ipv6Unicast]
                .map(|family| Session::new(peer, family))
                .into(),
            hold_time: 9,
            announcements,
        }
    }

    /// The same with a change to every session.
    #[must_use]
    pub fn with(mut self, change: impl Fn(&mut Features)) -> Self {
        for session in &mut self.sessions {
            change(&mut session.features);
        }
        self
    }

    /// This end's addresses that sessions run from, but for those that mean nothing without their interface.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let numbered = self.sessions.iter().filter(|session| session.features.interface.is_none());
        let addresses: BTreeSet<IpAddr> = numbered.map(|session| session.local(&self.own)).collect();
        addresses.into_iter().collect()
    }

    /// All of them as a daemon is told to listen on them: link-local ones with their interface.
    pub fn listens_on(&self) -> Vec<String> {
        let addresses: BTreeSet<String> =
            self.sessions.iter().map(|session| session.scoped(session.local(&self.own))).collect();
        addresses.into_iter().collect()
    }

    /// The session that carries a family to an end.
    pub fn session_for(&self, family: Family) -> Option<&Session> {
        self.sessions.iter().find(|session| session.families.contains(&family))
    }
}

impl Session {
    /// A session that carries the family of its transport.
    pub fn new(peer: End, transport: Family) -> Self {
        Self { peer, transport, families: vec![transport], features: Features::default() }
    }

    /// The same with further features.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Features)) -> Self {
        change(&mut self.features);
        self
    }

    /// A name that no other session of the daemon has and that is a word everywhere.
    pub fn name(&self) -> String {
        let version = if self.transport == Family::Ipv4Unicast { 4 } else { 6 };
        format!("peer{}v{version}", self.peer.v4.octets()[3])
    }

    /// This end's address.
    pub fn local(&self, own: &End) -> IpAddr {
        own.address_in(self.transport)
    }

    /// The other end's address.
    pub fn remote(&self) -> IpAddr {
        self.peer.address_in(self.transport)
    }

    /// An address of either end, with the interface if it is a link-local one.
    pub fn scoped(&self, address: IpAddr) -> String {
        match self.features.interface {
            Some(interface) => format!("{address}%{}", interface.name),
            None => address.to_string(),
        }
    }

    /// Whether it carries a family.
    pub fn carries(&self, family: Family) -> bool {
        self.families.contains(&family)
    }
}
