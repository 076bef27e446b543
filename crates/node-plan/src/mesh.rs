//! Sessions between nodes, without being asked for: with those that share a link, or with route reflectors.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use muslin_bgp_speaker::config::{
    ConnectMode, PeerConfig, PeerKey, Policy, ReflectorRole, RemoteAs, SessionConfig,
};
use muslin_cluster::{ClusterState, Effect, Problem};

use crate::blocks::Ownership;
use crate::causes::Caused;
use crate::peers::{Local, alike, restart_time, stale_time, transport_family, usual};
use crate::policy::reflecting;
use crate::reflectors::{self, Reflectors, Standing};
use crate::settings::{BGP_PORT, Settings};

/// The mesh as one node sees it.
#[derive(Debug, Default)]
pub(crate) struct Mesh {
    pub(crate) peers: Vec<PeerConfig>,
    pub(crate) notes: Vec<Caused<String>>,
    /// Why there are no sessions although the mesh is on.
    pub(crate) problem: Option<Problem>,
}

/// Most names that a note writes out.
const SHOWN_NAMES: usize = 3;

impl Mesh {
    /// One session per address family with every other node on a link of this one; where nodes reflect routes, with
    /// them instead, wherever they are. An address in `explicit` has a `BGPPeer` of its own and is left to it.
    pub(crate) fn of(
        local: &Local<'_>,
        settings: &Settings,
        node: &str,
        explicit: &BTreeSet<IpAddr>,
        ownership: &Ownership,
        import: &Arc<Policy>,
        export: &Arc<Policy>,
    ) -> Self {
        let mut mesh = Self::default();
        let cause = &settings.mesh.cause;
        if !settings.mesh.enabled {
            mesh.notes.push(Caused::new("the node mesh is off".to_owned(), cause.clone()));
            return mesh;
        }
        let password = match local.password(settings.mesh.password.as_ref()) {
            Ok(password) => password,
            Err((message, remedy)) => {
                mesh.problem = settings.mesh.origin.as_ref().map(|(object, origin)| {
                    let field = ".spec.nodeMesh.password";
                    ClusterState::problem(object, origin, field, message, remedy, Effect::Refused)
                });
                return mesh;
            }
        };
        let reflectors = Reflectors::of(local.state);
        let reflected = reflectors.is_reflector(node).then(|| reflecting(export, ownership, node));
        let mut elsewhere: Vec<&Arc<str>> = Vec::new();
        for (name, other) in local.state.nodes.iter().filter(|(name, _)| &***name != node) {
            let standing = reflectors.standing(node, name);
            let mut addresses = other.internal_ips().to_vec();
            match standing {
                Standing::Indirect => continue,
                Standing::Neighbour => {
                    addresses.retain(|address| local.facts.link_of(address.value).is_some());
                    if addresses.is_empty() {
                        elsewhere.push(name);
                        continue;
                    }
                }
                Standing::Fellow | Standing::Reflector | Standing::Client => {}
            }
            let cause = match standing {
                Standing::Reflector | Standing::Fellow => format!("{cause}, {}", reflectors::cause(name)),
                Standing::Client => format!("{cause}, {}", reflectors::cause(&node.into())),
                Standing::Neighbour | Standing::Indirect => cause.to_string(),
            };
            let theirs = Settings::of(local.state, Some(name));
            for (is_v4, family) in [(true, "ipv4"), (false, "ipv6")] {
                let Some(address) = addresses.iter().find(|address| address.value.is_ipv4() == is_v4) else {
                    continue;
                };
                if explicit.contains(&address.value) || local.node_addresses.contains(&address.value) {
                    continue;
                }
                let usual = usual(RemoteAs::Is(theirs.asn));
                mesh.peers.push(PeerConfig {
                    key: PeerKey(format!("node/{name}/{family}").into()),
                    address: address.value,
                    interface: None,
                    port: theirs.listen_port.unwrap_or(BGP_PORT),
                    session: alike(
                        &mesh.peers,
                        SessionConfig {
                            local_address: local.address_towards(address.value),
                            connect: match theirs.listen_port {
                                Some(_) => ConnectMode::Both,
                                None => ConnectMode::Passive,
                            },
                            graceful_restart: restart_time(settings.mesh.graceful_restart),
                            long_lived: stale_time(settings.mesh.graceful_restart),
                            hold_time: settings.mesh.hold_time.unwrap_or(usual.hold_time),
                            families: vec![transport_family(is_v4)],
                            password: password.clone(),
                            import: import.clone(),
                            export: match (standing, &reflected) {
                                (Standing::Fellow | Standing::Client, Some(reflected)) => reflected.clone(),
                                _ => export.clone(),
                            },
                            reflector: match standing {
                                Standing::Client => ReflectorRole::Client,
                                _ => ReflectorRole::NonClient,
                            },
                            ..usual
                        },
                    ),
                    cause: format!("Node {name} {}, {cause}", address.path).into(),
                });
            }
        }
        if !elsewhere.is_empty() {
            let names: Vec<_> = elsewhere.iter().take(SHOWN_NAMES).map(|name| &***name).collect();
            let more = match elsewhere.len() - names.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let note = format!(
                "no link is shared with {}{more}, which have to be reached through other peers",
                names.join(", ")
            );
            mesh.notes.push(Caused::new(note, cause.clone()));
        }
        mesh
    }
}
