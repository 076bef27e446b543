//! The plan of a stand-alone speaker: a router or a reflector that has no pods.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use muslin_bgp_speaker::config::{Policy, RemoteAs, SessionConfig, SpeakerConfig};
use muslin_cluster::resources::BgpPeer;
use muslin_cluster::{ClusterState, Effect, Kind, ObjectRef, Problem};

use crate::causes::Subject;
use crate::facts::{KernelFacts, is_routable};
use crate::guard::speaker_guard;
use crate::peers::{Discovery, Kinship, Local, Peers, Policies};
use crate::plan::listen;
use crate::policy::{Direction, filtered};
use crate::settings::{Settings, unused};

/// What a stand-alone speaker is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct SpeakerPlan {
    /// The speaker.
    pub speaker: SpeakerConfig,
    /// Where peers are looked for, and which have not been found yet.
    pub discovery: Discovery,
    /// What is wrong: of the state that was read, and of what follows from it.
    pub problems: Vec<Problem>,
}

/// Decides what a stand-alone speaker is to be: `BGPConfiguration` `default` and every `BGPPeer`, without nodes.
///
/// Nothing is derived for it: an external peer without filters exchanges no routes (RFC 8212), an internal one
/// exchanges all. With filters, what they do not decide is refused for external peers.
pub fn speaker_plan(state: &ClusterState, facts: &KernelFacts) -> SpeakerPlan {
    let settings = Settings::of(state, None);
    let mut problems = state.problems.clone();
    problems.extend(unused(state, None));
    problems.extend(state.route_advertisements.iter().map(|(name, object)| {
        let message = "it says what nodes announce, and a stand-alone speaker is none";
        let remedy = "write the speaker's prefixes in BGPConfiguration .spec.originate";
        Subject::new(Kind::RouteAdvertisement, name, object).refused("", message, remedy)
    }));
    let local = Local {
        state,
        facts,
        asn: settings.asn,
        node_addresses: &[],
        chosen_addresses: &settings.local_addresses,
    };
    let peers = Peers::of(&local, state.bgp_peers.iter(), |peer, relation, problems| {
        let rest = rest(peer, relation.kinship);
        Policies {
            import: filtered(state, peer, relation, Direction::Import, &[], &rest, problems),
            export: filtered(state, peer, relation, Direction::Export, &[], &rest, problems),
            allowed_own_as: 0,
        }
    });
    problems.extend(peers.problems);
    let router_id = settings.router_id.or_else(|| first_address(facts)).unwrap_or_else(|| {
        let object = ObjectRef::new(Kind::BgpConfiguration, "default");
        let origin = state.bgp_configurations.get("default").map(|object| object.origin.clone());
        problems.push(ClusterState::problem(
            &object,
            &origin.unwrap_or_default(),
            ".spec.routerID",
            "there is none, and no interface has an IPv4 address to take it from",
            "write one that no other speaker has",
            Effect::Advice,
        ));
        Ipv4Addr::from(settings.asn.0.max(1))
    });
    SpeakerPlan {
        speaker: SpeakerConfig {
            identification: settings.names.identification(facts.host.as_deref()),
            listen: listen(settings.listen_port),
            peers: peers.named,
            listen_ranges: peers.ranges,
            originated: settings.originate.clone(),
            guard: speaker_guard(facts, &settings),
            cluster_id: settings.cluster_id,
            max_paths: settings.max_paths,
            bmp: settings.bmp.clone(),
            ..SpeakerConfig::new(settings.asn, router_id)
        },
        discovery: peers.discovery,
        problems,
    }
}

/// What happens to routes that no filter decides about.
fn rest(peer: &Subject<'_, BgpPeer>, kinship: Kinship) -> Arc<Policy> {
    match kinship {
        Kinship::Internal => SessionConfig::internal().import,
        Kinship::External if peer.object.spec.filters.is_empty() => {
            SessionConfig::external(RemoteAs::External).import
        }
        Kinship::External => Policy::reject_all("refused").into(),
    }
}

/// The lowest IPv4 address that is known beyond the host: it does not depend on the order of interfaces.
fn first_address(facts: &KernelFacts) -> Option<Ipv4Addr> {
    let addresses = facts.addresses.iter().map(|local| local.address).filter(|address| is_routable(*address));
    let v4 = addresses.filter_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    v4.min()
}
