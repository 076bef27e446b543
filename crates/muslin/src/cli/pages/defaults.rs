//! The reference of defaults: what is planned where nobody says anything, what the resources say of absent fields, and
//! the command line's.

use std::fmt::Write;
use std::time::Duration;

use clap::{Command, CommandFactory};
use muslin_cluster::ClusterState;
use muslin_node_plan::{KernelFacts, plan};
use muslin_route_programmer::ProgrammerConfig;
use serde_json::Value;

use super::super::Cli;
use super::reference::{hold, option, sentence};

/// A node and a peer of which nothing is said but what has to be.
const SHORTEST: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.244.1.0/24]}
status: {addresses: [{type: InternalIP, address: 172.30.1.2}]}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {peerAddress: 172.30.1.1, peerASN: 65000}
";

#[test]
fn the_reference_of_defaults_is_what_the_code_does() {
    let mut text = "# Defaults\n\nMade from the code: what holds where nobody says anything.\n".to_owned();
    text.push_str("\n## A session\n\nAs planned for a `BGPPeer` of which only address and AS are said.\n\n");
    text.push_str("| what | default |\n|---|---|\n");
    for (what, default) in session() {
        writeln!(text, "| {what} | {default} |").unwrap();
    }
    text.push_str("\n## Routes in the kernel\n\n| what | default |\n|---|---|\n");
    for (what, default) in kernel() {
        writeln!(text, "| {what} | {default} |").unwrap();
    }
    text.push_str("\n## Fields of resources\n\nThose that may be absent, and what holds then.\n\n");
    text.push_str("| kind | field | meaning |\n|---|---|---|\n");
    for crd in muslin_cluster::crds() {
        let definition: Value = serde_saphyr::from_str(&crd.yaml).unwrap();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            absent(&mut text, kind, "spec", &version["schema"]["openAPIV3Schema"]["properties"]["spec"]);
        }
    }
    text.push_str("\n## Options of commands\n\n| command | option | default |\n|---|---|---|\n");
    for command in Cli::command().get_subcommands() {
        options(&mut text, "muslin", command);
    }
    hold("docs/reference/defaults.md", &text);
}

/// The description of a field says what the plan does without it: nothing but this holds the two together.
#[test]
fn what_fields_say_of_their_absence_is_what_is_planned() {
    let state = ClusterState::from_manifest("shortest.yaml", SHORTEST);
    let speaker = plan(&state, &KernelFacts::default(), "n1").speaker;
    let [peer] = speaker.peers.as_slice() else { panic!("{:?}", speaker.peers) };
    let session = &peer.session;
    let limit = session.max_prefixes.as_ref().unwrap();
    let [listen, ..] = speaker.listen.as_slice() else { panic!("nobody listens") };
    let whole = |time: Duration| format!("{} seconds", time.as_secs());
    let said = [
        ("BGPConfiguration", "asn", speaker.asn.to_string()),
        ("BGPConfiguration", "maxPaths", speaker.max_paths.to_string()),
        ("BGPConfiguration", "listenPort", listen.port().to_string()),
        ("BGPPeer", "port", peer.port.to_string()),
        ("BGPPeer", "holdTime", whole(session.hold_time)),
        ("BGPPeer", "connectRetry", whole(session.connect_retry)),
        ("BGPPeer", "maxPrefixes", limit.most.to_string()),
        ("BGPPeer", "maxPrefixesWarning", limit.warning.to_string()),
        (
            "BGPPeer",
            "gracefulRestart.restartTime",
            format!("`{}s`", session.graceful_restart.unwrap().as_secs()),
        ),
    ];
    let definitions: Vec<Value> =
        muslin_cluster::crds().iter().map(|crd| serde_saphyr::from_str(&crd.yaml).unwrap()).collect();
    for (kind, path, planned) in said {
        let definition =
            definitions.iter().find(|definition| definition["spec"]["names"]["kind"] == kind).unwrap();
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let field = path.split('.').fold(spec, |schema, name| &schema["properties"][name]);
        let (words, absent) = (sentence(field), format!("; {planned} if absent"));
        assert!(words.contains(&absent), "{kind} {path} says '{words}', and {planned} is planned");
    }
}

fn session() -> Vec<(&'static str, String)> {
    let state = ClusterState::from_manifest("shortest.yaml", SHORTEST);
    assert!(state.problems.is_empty(), "{:?}", state.problems);
    let speaker = plan(&state, &KernelFacts::default(), "n1").speaker;
    let [peer] = speaker.peers.as_slice() else { panic!("{:?}", speaker.peers) };
    let session = &peer.session;
    let or = |time: Option<Duration>, none: &str| time.map_or_else(|| none.to_owned(), seconds);
    vec![
        ("our AS", speaker.asn.to_string()),
        ("most equal paths that are used together", speaker.max_paths.to_string()),
        ("port", peer.port.to_string()),
        ("who connects", format!("{:?}", session.connect).to_lowercase()),
        ("time between attempts to connect", seconds(session.connect_retry)),
        ("hold time", seconds(session.hold_time)),
        ("time between KEEPALIVEs", or(session.keepalive, "a third of the hold time that was agreed on")),
        ("send hold time (RFC 9687)", or(session.send_hold, "twice the hold time, 8 minutes at least")),
        ("address families", session.families.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("IPv4 routes over IPv6 next hops (RFC 8950)", yes(session.extended_next_hop)),
        ("several paths of one destination (RFC 7911) received", yes(session.add_path.receive)),
        ("paths of one destination sent", session.add_path.send.limit().to_string()),
        ("graceful restart: how long routes are kept", or(session.graceful_restart, "not at all")),
        ("long-lived graceful restart", or(session.long_lived, "none")),
        (
            "limit of prefixes",
            session.max_prefixes.as_ref().map_or("none".to_owned(), |limit| limit.most.to_string()),
        ),
        ("how often our own AS may be in a path", session.allowed_own_as.to_string()),
        ("password, TCP-AO", yes(session.password.is_some() || session.tcp_ao.is_some())),
    ]
}

fn kernel() -> Vec<(&'static str, String)> {
    let config = ProgrammerConfig::default();
    vec![
        ("protocol number that marks our routes", config.protocol.to_string()),
        ("routing table", config.table.to_string()),
        ("metric", config.metric.to_string()),
        ("next-hop objects", "where the kernel has them".to_owned()),
        ("resilient groups of next hops", yes(config.resilience.is_some())),
        ("everything is read back and compared every", seconds(config.audit_interval)),
    ]
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

fn yes(is: bool) -> String {
    if is { "yes".to_owned() } else { "no".to_owned() }
}

/// Fields that say what their absence means.
fn absent(text: &mut String, kind: &str, path: &str, schema: &Value) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let meaning = sentence(field);
        if meaning.contains("absent") {
            writeln!(text, "| {kind} | `{path}` | {meaning} |").unwrap();
        }
        absent(text, kind, &path, field);
        absent(text, kind, &format!("{path}[]"), &field["items"]);
    }
}

fn options(text: &mut String, above: &str, command: &Command) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_action().takes_values()) {
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if default.iter().any(|value| !value.is_empty()) {
            writeln!(text, "| `{name}` | {} | `{}` |", option(arg), default.join(",")).unwrap();
        }
    }
    for inner in command.get_subcommands() {
        options(text, &name, inner);
    }
}
