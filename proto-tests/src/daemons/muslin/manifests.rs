//! The manifests that say what a setup says.

use std::fmt::Write;

use ipnet::IpNet;
use muslin_bgp_packet::Family;

use crate::route::Announcement;
use crate::setup::{AddPath, Neighbour, Role, Session, Setup};

pub(super) fn configuration(setup: &Setup) -> String {
    let own = &setup.own;
    let mut text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata:\n  name: default\nspec:\n  asn: {}\n  \
         routerID: {}\n  import:\n    cidrs: [0.0.0.0/0, \"::/0\"]\n  originate:\n",
        own.asn, own.v4
    );
    for Announcement { prefix, med, communities, large_communities, .. } in &setup.announcements {
        let quoted = |items: Vec<String>| items.join(", ");
        let standard = quoted(communities.iter().map(|(a, b)| format!("\"{a}:{b}\"")).collect());
        let large = quoted(large_communities.iter().map(|(a, b, c)| format!("\"{a}:{b}:{c}\"")).collect());
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  - cidr: {prefix}\n    med: {med}\n    communities: [{standard}]\n    largeCommunities: [{large}]"
        );
    }
    if setup.announcements.is_empty() {
        text = text.replace("  originate:\n", "");
    }
    text
}

pub(super) fn peers(setup: &Setup, shutdown: Option<&str>, refused: Option<IpNet>) -> String {
    let refused = refused
        .map(|prefix| format!("  - prefixes: [{{cidr: {prefix}}}]\n    action: Reject\n"))
        .unwrap_or_default();
    let mut text = format!(
        "apiVersion: muslin.dev/v1alpha1\nkind: BGPFilter\nmetadata:\n  name: all\nspec:\n  import:\n{refused}  \
         - action: Accept\n  export:\n  - action: Accept\n"
    );
    for session in &setup.sessions {
        text += &peer(setup, session);
        if let Some(shutdown) = shutdown {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  shutdown: \"{shutdown}\"");
        }
    }
    text
}

fn peer(setup: &Setup, session: &Session) -> String {
    let features = &session.features;
    let name = session.name();
    let mut text = String::new();
    if let Some(password) = features.password.as_ref().or(features.ao_key.as_ref()) {
        text += &format!(
            "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: muslin-system}}\n\
             stringData: {{password: \"{password}\"}}\n"
        );
    }
    text += &format!(
        "---\napiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata:\n  name: {name}\nspec:\n  peerASN: {}\n  \
         holdTime: {}s\n  connectRetry: 1s\n  filters: [all]\n",
        session.peer.asn, setup.hold_time
    );
    let mut field = |wanted: bool, line: &str| {
        if wanted {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {line}");
        }
    };
    let discovered = features.interface.is_some_and(|interface| interface.peer == Neighbour::Discovered);
    match features.range {
        Some(range) => field(true, &format!("listenRange: \"{range}\"")),
        None => field(!discovered, &format!("peerAddress: \"{}\"", session.remote())),
    }
    if let Some(interface) = features.interface {
        field(true, &format!("interface: {}", interface.name));
    }
    if let Some(vrf) = features.vrf {
        field(true, &format!("vrf: {vrf}"));
    }
    field(features.ao_key.is_some(), &format!("tcpAO: {{secretKeyRef: {{name: {name}}}}}"));
    let families = [(Family::Ipv4Unicast, "IPv4"), (Family::Ipv6Unicast, "IPv6")];
    let carried: Vec<&str> =
        families.iter().filter(|(family, _)| session.carries(*family)).map(|(_, name)| *name).collect();
    field(true, &format!("families: [{}]", carried.join(", ")));
    field(features.password.is_some(), &format!("password: {{secretKeyRef: {{name: {name}}}}}"));
    field(features.passive, "connectMode: Passive");
    field(features.ttl_security, "ttlSecurity: 1");
    field(features.extended_next_hop, "extendedNextHop: true");
    field(features.add_path == Some(AddPath::Receive), "addPath: {receive: true}");
    field(features.add_path == Some(AddPath::Send), "addPath: {send: 4}");
    field(features.reflector_client, "routeReflectorClient: true");
    let long = "gracefulRestart: {restartTime: 2s, longLivedStaleTime: 60s}";
    field(features.long_lived, long);
    match features.role {
        Some(Role::Provider) => field(true, "role: Provider"),
        Some(Role::Customer) => field(true, "role: Customer"),
        None => {}
    }
    if let Some(most) = features.max_prefixes {
        field(true, &format!("maxPrefixes: {most}"));
    }
    text
}
