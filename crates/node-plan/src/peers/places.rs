//! Where the peers of a `BGPPeer` are: at an address, or where the kernel's facts lead.

use std::net::IpAddr;
use std::sync::Arc;

use muslin_bgp_speaker::config::{Cause, PeerKey};
use muslin_cluster::resources::{AddressFamily, BgpPeer, interface_matches};
use serde::{Deserialize, Serialize};

use crate::causes::{Caused, Subject};
use crate::facts::{DefaultGateway, Interface, KernelFacts, Neighbour};

/// Peers that cannot be spoken to yet, and the interfaces on which they are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Interfaces on which routers are looked for, and on which we make ourselves known.
    pub interfaces: Vec<Caused<Arc<str>>>,
    /// Peers without an address so far.
    pub awaited: Vec<AwaitedPeer>,
}

/// A peer that has no address yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AwaitedPeer {
    /// The name that it will have.
    pub name: Arc<str>,
    /// The interface on which it is looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<Arc<str>>,
    /// Whether it may come by itself; an interface that this node does not have will not.
    pub expected: bool,
    /// What is waited for ("waiting for a router advertisement on eth0").
    pub reason: String,
    /// What to do if it does not come.
    pub remedy: String,
    /// The object and field that ask for the peer.
    pub cause: Cause,
}

impl std::fmt::Display for AwaitedPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "peer {}: {}; {}", self.name, self.reason, self.remedy)
    }
}

/// A peer's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) key: PeerKey,
    pub(crate) address: IpAddr,
    /// The link of a link-local address.
    pub(crate) interface: Option<Arc<str>>,
    /// The field that led here.
    pub(crate) field: String,
    pub(crate) found: FoundBy,
}

/// How a peer's address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoundBy {
    Address,
    Advertisement,
    Route,
}

/// Most gateways of one default route that become peers.
const MOST_GATEWAYS: usize = 16;

impl Discovery {
    /// The places of a `BGPPeer`; what is not known yet is awaited. None for a listen range.
    pub(crate) fn places(&mut self, peer: &Subject<'_, BgpPeer>, facts: &KernelFacts) -> Vec<Place> {
        let spec = &peer.object.spec;
        if let Some(address) = spec.peer_address {
            return vec![Place {
                key: PeerKey(peer.name().clone()),
                address,
                interface: spec.interface.as_deref().map(Into::into),
                field: ".spec.peerAddress".to_owned(),
                found: FoundBy::Address,
            }];
        }
        if let Some(discovery) = spec.auto_discovery {
            return self.gateways(peer, facts, discovery.address_family);
        }
        let mut places: Vec<Place> = Vec::new();
        for (field, pattern) in spec.unnumbered() {
            for place in self.neighbours(peer, facts, &field, pattern) {
                // Two patterns may mean the same interface.
                if places.iter().all(|known| known.key != place.key) {
                    places.push(place);
                }
            }
        }
        places
    }

    /// One peer at the other end of each interface with this name.
    fn neighbours(
        &mut self,
        peer: &Subject<'_, BgpPeer>,
        facts: &KernelFacts,
        field: &str,
        pattern: &str,
    ) -> Vec<Place> {
        let mut places = Vec::new();
        let mut none = true;
        for interface in facts.interfaces.iter().filter(|link| interface_matches(pattern, &link.name)) {
            none = false;
            let name = &interface.name;
            let key = PeerKey(format!("{}/{name}", peer.name()).into());
            if self.interfaces.iter().all(|known| known.value != *name) {
                self.interfaces.push(Caused::new(name.clone(), peer.cause(field)));
            }
            match facts.neighbours.iter().find(|neighbour| neighbour.interface == *name) {
                Some(Neighbour { address, .. }) => places.push(Place {
                    key,
                    address: (*address).into(),
                    interface: Some(name.clone()),
                    field: field.to_owned(),
                    found: FoundBy::Advertisement,
                }),
                None => self.wait_for_advertisement(peer, field, interface, key),
            }
        }
        if none {
            let message = if pattern.contains('*') {
                format!("no interface is called {pattern}")
            } else {
                format!("there is no interface {pattern}")
            };
            self.awaited.push(AwaitedPeer {
                name: format!("{}/{pattern}", peer.name()).into(),
                interface: None,
                expected: false,
                reason: message,
                remedy: "correct the name, or select nodes that have the interface".to_owned(),
                cause: peer.cause(field),
            });
        }
        places
    }

    fn wait_for_advertisement(
        &mut self,
        peer: &Subject<'_, BgpPeer>,
        field: &str,
        interface: &Interface,
        key: PeerKey,
    ) {
        let name = &interface.name;
        let (reason, remedy) = match (&interface.fault, interface.ready) {
            (Some(fault), _) => (fault.clone(), "see the log of the agent".to_owned()),
            (None, false) => (
                format!("{name} has no carrier or no link-local address"),
                format!("plug it in, set it up, and leave net.ipv6.conf.{name}.disable_ipv6 at 0"),
            ),
            (None, true) => (
                format!("waiting for a router advertisement on {name}"),
                format!(
                    "let the router send them (FRR: `neighbor {name} interface`; others: `no ipv6 nd suppress-ra`), \
                     or write its link-local `peerAddress`"
                ),
            ),
        };
        self.awaited.push(AwaitedPeer {
            name: key.0,
            interface: Some(name.clone()),
            expected: true,
            reason,
            remedy,
            cause: peer.cause(field),
        });
    }

    /// The gateways of the default route, of each family those with the lowest metric.
    fn gateways(
        &mut self,
        peer: &Subject<'_, BgpPeer>,
        facts: &KernelFacts,
        wanted: Option<AddressFamily>,
    ) -> Vec<Place> {
        let field = ".spec.autoDiscovery";
        let mut places: Vec<Place> = Vec::new();
        for family in [AddressFamily::IPv4, AddressFamily::IPv6] {
            if wanted.is_some_and(|wanted| wanted != family) {
                continue;
            }
            let gateways = || facts.default_gateways.iter().filter(|route| route.is_for(family));
            let Some(best) = gateways().map(|route| route.metric).min() else { continue };
            let best = gateways().filter(|route| route.metric == best).take(MOST_GATEWAYS);
            for DefaultGateway { address, interface, .. } in best {
                let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
                let link = link_local.then(|| interface.clone());
                let scope = link.as_ref().map(|name| format!("%{name}")).unwrap_or_default();
                let key = PeerKey(format!("{}/{address}{scope}", peer.name()).into());
                if places.iter().all(|known| known.key != key) {
                    places.push(Place {
                        key,
                        address: *address,
                        interface: link,
                        field: field.to_owned(),
                        found: FoundBy::Route,
                    });
                }
            }
        }
        if places.is_empty() {
            let family = match wanted {
                None => "",
                Some(AddressFamily::IPv4) => " for IPv4",
                Some(AddressFamily::IPv6) => " for IPv6",
            };
            self.awaited.push(AwaitedPeer {
                name: format!("{}/gateway", peer.name()).into(),
                interface: None,
                expected: true,
                reason: format!("this node has no default route{family} of its own"),
                remedy:
                    "add one, or name the peer's `peerAddress`; one that was learned by BGP does not count"
                        .to_owned(),
                cause: peer.cause(field),
            });
        }
        places
    }
}
