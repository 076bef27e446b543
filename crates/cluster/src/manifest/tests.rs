mod filters;

use crate::ClusterState;

fn problems(text: &str) -> Vec<String> {
    ClusterState::from_manifest("a.yaml", text).problems.iter().map(ToString::to_string).collect()
}

/// A peer whose specification is `spec`, each line of it indented by two; the first is line 6.
fn peer(spec: &str) -> String {
    format!("apiVersion: muslin.dev/v1alpha1\nkind: BGPPeer\nmetadata:\n  name: tor\nspec:\n{spec}")
}

#[test]
fn an_unknown_field_is_named_with_its_line_and_the_field_that_was_meant() {
    assert_eq!(
        problems(&peer("  peerAdress: 10.0.0.1\n  peerASN: 65000\n")),
        ["a.yaml:6: BGPPeer tor .spec.peerAdress: there is no such field; did you mean `peerAddress`?"],
    );
}

#[test]
fn a_missing_field_is_named_with_the_line_of_what_lacks_it() {
    assert_eq!(
        problems(&peer("  peerAddress: 10.0.0.1\n")),
        ["a.yaml:6: BGPPeer tor .spec.peerASN: the field is missing; write it"],
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn a_value_that_does_not_fit_says_what_was_found_and_what_would_fit() {
    let cases = [
        (
            "peerASN: 0",
            ".spec.peerASN: found the number 0; write an AS number from 1 to 4294967294 that is not reserved, `internal` or `external`",
        ),
        (
            "peerASN: tor",
            ".spec.peerASN: found \"tor\"; write an AS number from 1 to 4294967294 that is not reserved, `internal` or `external`",
        ),
        (
            "peerASN: 65000\n  port: 70000",
            ".spec.port: found the number 70000; write a whole number from 0 to 65535",
        ),
        (
            "peerASN: 65000\n  holdTime: 90",
            ".spec.holdTime: found the number 90; write a time with its unit, as 90s, 1m30s or 500ms",
        ),
        (
            "peerASN: 65000\n  holdTime: 2s",
            ".spec.holdTime: found 2s; write 0, or whole seconds from 3s to 65535s",
        ),
        (
            "peerASN: 65000\n  gracefulRestart: {longLivedStaleTime: 16777216s}",
            ".spec.gracefulRestart.longLivedStaleTime: found a time that RFC 9494 cannot carry; write 1s to 16777215s, or leave it out",
        ),
        (
            "peerASN: 65000\n  gracefulRestart: {enabled: false, longLivedStaleTime: 1h}",
            ".spec.gracefulRestart.longLivedStaleTime: there is no graceful restart that it could follow; leave it out, or set `enabled: true`",
        ),
        ("peerASN: 65000\n  families: [ipv4]", ".spec.families[0]: found \"ipv4\"; did you mean `IPv4`?"),
        ("peerASN: 65000\n  filters: tor", ".spec.filters: found \"tor\"; write a sequence"),
        (
            "peerASN: 65000\n  routeReflectorClient: 1",
            ".spec.routeReflectorClient: found the number 1; write true or false",
        ),
        (
            "peerASN: 65000\n  localAddress: fd00::1",
            ".spec.localAddress: found another family than the peer's; write an address of the peer's family",
        ),
        (
            "peerASN: 65000\n  listenRange: 10.0.0.0/8",
            ".spec.listenRange: there is a `peerAddress` too; keep one and make a second BGPPeer",
        ),
        (
            "peerASN: 65000\n  multihop: 2\n  ttlSecurity: 1",
            ".spec.ttlSecurity: there is a `multihop` too; keep one: both set the TTL",
        ),
        (
            "peerASN: 65000\n  nodeSelector: {matchLabel: {a: b}}",
            ".spec.nodeSelector.matchLabel: there is no such field; did you mean `matchLabels`?",
        ),
        (
            "peerASN: 65000\n  keepaliveTime: 31s",
            ".spec.keepaliveTime: found 31s; write 1s to 30s, a third of the hold time",
        ),
        (
            "peerASN: 65000\n  sendHoldTime: 10s",
            ".spec.sendHoldTime: found 10s; write the hold time, 90s, or more",
        ),
        (
            "peerASN: 65000\n  maxPrefixesWarning: 0",
            ".spec.maxPrefixesWarning: found no share; write a percentage from 1 to 100",
        ),
        (
            "peerASN: 65000\n  maxPrefixesAction: Drop",
            ".spec.maxPrefixesAction: found \"Drop\"; write one of Restart, Shutdown, Discard, Warn",
        ),
        (
            "peerASN: 65000\n  localAddress: 10.0.0.2\n  sourceInterface: lo",
            ".spec.sourceInterface: there is a `localAddress` too; keep one",
        ),
        (
            "peerASN: 65000\n  vrf: a-name-of-16-chars",
            ".spec.vrf: found a name that no interface has; write 1 to 15 characters",
        ),
        (
            "peerASN: 65000\n  localASPrepend: Both",
            ".spec.localASPrepend: there is no `localASN`; name the AS, or leave it out",
        ),
        ("peerASN: 65000\n  role: customer", ".spec.role: found \"customer\"; did you mean `Customer`?"),
        (
            "peerASN: internal\n  role: Customer",
            ".spec.role: found a role for an internal peer; leave it out: roles are between ASes",
        ),
        (
            "peerASN: 65000\n  strictRole: true",
            ".spec.strictRole: there is no `role`; name our role, or leave it out",
        ),
        (
            "peerASN: 65000\n  addPath: {send: all}",
            ".spec.addPath.send: found \"all\"; write a number of paths from 0 to 255, or `All`",
        ),
        (
            "peerASN: 65000\n  addPath: {families: [IPv6]}",
            ".spec.addPath.families: found a family that the session does not carry; name it in `families` too, or take it out",
        ),
        (
            "peerASN: external\n  routeReflectorClient: true",
            ".spec.routeReflectorClient: found a client that is external; write `peerASN: internal`",
        ),
        ("peerASN: 65000\n  password: hunter2", ".spec.password: found \"hunter2\"; write an object"),
    ];
    for (spec, expected) in cases {
        let found = problems(&peer(&format!("  peerAddress: 10.0.0.1\n  {spec}\n")));
        assert_eq!(found.len(), 1, "{spec}: {found:?}");
        let line = 7 + spec.matches('\n').count();
        let line = if expected.contains("ttlSecurity") { 9 } else { line };
        assert_eq!(found[0], format!("a.yaml:{line}: BGPPeer tor {expected}"), "{spec}");
    }
}

#[test]
fn a_peer_on_an_interface_says_what_it_cannot_have() {
    let cases = [
        (
            "peerASN: 1",
            ".spec: there is no peer; name its `peerAddress`, its `interface`, a `listenRange`, or `autoDiscovery`",
        ),
        (
            "peerASN: 1\n  interface: eth0\n  multihop: 2",
            ".spec.multihop: the peer is at the other end of the link; leave it out",
        ),
        (
            "peerASN: 1\n  interfaces: [eth0]\n  localAddress: fe80::1",
            ".spec.localAddress: the session is between link-local addresses; leave it out",
        ),
        (
            "peerASN: 1\n  interfaces: [eth0, enp0s31f6-uplink0]",
            ".spec.interfaces[1]: found \"enp0s31f6-uplink0\", which no interface is called; write a name as eth0, or a pattern as eth*",
        ),
        (
            "peerASN: 1\n  interface: eth0\n  autoDiscovery: {mode: DefaultGateway}",
            ".spec.interface: there is a `autoDiscovery` too; keep one and make a second BGPPeer",
        ),
        (
            "peerASN: 1\n  peerAddress: 10.0.0.1\n  interface: eth*",
            ".spec.interface: found the pattern \"eth*\" for one address; write the name of the interface",
        ),
        (
            "peerASN: 1\n  peerAddress: 10.0.0.1\n  interfaces: [eth0]",
            ".spec.interfaces: there is a `peerAddress` too; keep one and make a second BGPPeer",
        ),
        (
            "peerASN: 1\n  peerAddress: 10.0.0.1\n  autoDiscovery: {mode: DefaultGateway}",
            ".spec.autoDiscovery: there is a `peerAddress` too; keep one and make a second BGPPeer",
        ),
        (
            "peerASN: 1\n  autoDiscovery: {mode: Gateway}",
            ".spec.autoDiscovery.mode: found \"Gateway\"; write one of DefaultGateway",
        ),
    ];
    for (spec, expected) in cases {
        let found = problems(&peer(&format!("  {spec}\n")));
        assert_eq!(found.len(), 1, "{spec}: {found:?}");
        assert!(found[0].ends_with(&format!("BGPPeer tor {expected}")), "{spec}: {}", found[0]);
    }
    for well in ["interface: eth0", "interface: eth*", "interfaces: [eth0, \"en*f0\"]"] {
        assert_eq!(problems(&peer(&format!("  peerASN: external\n  {well}\n"))), [""; 0], "{well}");
    }
}

#[test]
fn a_range_with_host_bits_is_refused() {
    let text = "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {name: default}\nspec:\n  clusterCIDRs:\n  - 10.244.1.0/16\n";
    assert_eq!(
        problems(text),
        [
            "a.yaml:6: BGPConfiguration default .spec.clusterCIDRs[0]: found \"10.244.1.0/16\"; write an address range without host bits, as 10.244.0.0/16 or fd44::/48"
        ],
    );
}

#[test]
fn broken_syntax_is_reported_with_its_line() {
    let found = problems("apiVersion: v1\nkind: Node\nmetadata: {name: a\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("a.yaml:"), "{found:?}");
    assert!(found[0].ends_with("; correct the syntax"), "{found:?}");
}

#[test]
fn objects_that_cannot_be_named_are_reported() {
    assert_eq!(
        problems("kind: Node\napiVersion: v1\n"),
        ["a.yaml:1: Node in a.yaml .metadata.name: there is none; name the object"]
    );
    assert_eq!(
        problems("apiVersion: v1\n"),
        ["a.yaml:1: a.yaml .kind: there is none; write the object's `kind`"]
    );
    assert_eq!(
        problems("- 1\n"),
        [
            "a.yaml:1: a.yaml: found a sequence where an object is expected; write an object with `apiVersion`, `kind` and `metadata`"
        ]
    );
    assert_eq!(
        problems("apiVersion: muslin.dev/v1alpha1\nkind: BgpPear\nmetadata: {name: a}\n"),
        [
            "a.yaml:2: a.yaml .kind: there is no kind `BgpPear` in muslin.dev/v1alpha1; did you mean `BGPPeer`?"
        ],
    );
    assert_eq!(
        problems("apiVersion: muslin.dev/v1\nkind: BGPPeer\nmetadata: {name: a}\n"),
        ["a.yaml:1: BGPPeer a .apiVersion: found `muslin.dev/v1`; write `muslin.dev/v1alpha1`"],
    );
}

#[test]
fn kinds_of_others_are_passed_over() {
    let state = ClusterState::from_manifest(
        "a.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: ConfigMap\n",
    );
    assert_eq!(state, ClusterState::default());
}

#[test]
fn lists_documents_and_json_hold_the_same_objects() {
    let node = |name: &str| {
        format!(
            r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{name}"}},"spec":{{"podCIDRs":["10.244.1.0/24"]}}}}"#
        )
    };
    let list = format!(
        r#"{{"apiVersion":"v1","kind":"List","items":[{},{}],"metadata":{{"resourceVersion":""}}}}"#,
        node("a"),
        node("b")
    );
    let documents = format!("{}\n---\n{}\n", node("a"), node("b"));
    let typed_list = r#"{"apiVersion":"v1","kind":"NodeList","items":[{"apiVersion":"v1","kind":"Node","metadata":{"name":"a"}},{"apiVersion":"v1","kind":"Node","metadata":{"name":"b"}}]}"#;
    for text in [list.as_str(), documents.as_str(), typed_list] {
        let state = ClusterState::from_manifest("a.json", text);
        assert_eq!(state.problems, []);
        let names: Vec<_> = state.nodes.keys().map(|name| &**name).collect();
        assert_eq!(names, ["a", "b"], "{text}");
    }
}

#[test]
fn one_bad_object_does_not_hide_the_others() {
    let text =
        format!("{}---\n{}", peer("  peerASN: 0\n"), "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n");
    let state = ClusterState::from_manifest("a.yaml", &text);
    assert_eq!(state.nodes.len(), 1);
    assert_eq!(state.problems.len(), 1);
    assert_eq!(state.problems[0].line, 6);
}

#[test]
fn addresses_in_kubernetes_objects_are_checked() {
    let cases = [
        (
            "kind: Node\nspec:\n  podCIDRs:\n  - 10.244.1.0/24\n  - 10.244.1.9/24\n",
            "6: Node x .spec.podCIDRs[1]: found \"10.244.1.9/24\"",
        ),
        (
            "kind: Node\nstatus:\n  addresses:\n  - type: InternalIP\n    address: n1\n",
            "6: Node x .status.addresses[0].address: found \"n1\"",
        ),
        (
            "kind: Service\nspec:\n  externalIPs: [192.0.2.300]\n",
            "4: Service default/x .spec.externalIPs[0]: found \"192.0.2.300\"",
        ),
    ];
    for (text, expected) in cases {
        let found = problems(&format!("apiVersion: v1\n{text}metadata: {{name: x}}\n"));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("a.yaml:{expected}")), "{found:?}");
    }
}

#[test]
fn what_kubectl_prints_around_an_object_is_no_fault() {
    let text = peer("  peerAddress: 10.0.0.1\n  peerASN: 65000\n  nodeSelector: null\nstatus:\n  conditions: []\n").replace(
        "  name: tor\n",
        "  name: tor\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      {}\n  creationTimestamp: \"2026-01-01T00:00:00Z\"\n  generation: 1\n  managedFields:\n  - apiVersion: muslin.dev/v1alpha1\n    fieldsType: FieldsV1\n    fieldsV1: {\"f:spec\": {}}\n    manager: kubectl\n    operation: Update\n    time: \"2026-01-01T00:00:00Z\"\n  resourceVersion: \"1\"\n  uid: 0b7e2a0e-0000-4000-8000-000000000000\n",
    );
    let state = ClusterState::from_manifest("a.yaml", &text);
    assert_eq!(state.problems, []);
    assert!(state.bgp_peers["tor"].metadata.managed_fields.is_none());
}

#[test]
fn numbers_that_nobody_may_use_are_refused() {
    let configuration = |spec: &str| {
        problems(&format!(
            "apiVersion: muslin.dev/v1alpha1\nkind: BGPConfiguration\nmetadata: {{name: default}}\nspec:\n  {spec}\n"
        ))
    };
    let asn = "write an AS number from 1 to 4294967294 that is not reserved, or \"65000.1\" in quotes";
    let id = "write four numbers as in 10.0.0.1, not all of them zero";
    let cases = [
        ("asn: 0", format!(".spec.asn: found the number 0; {asn}")),
        ("asn: 23456", format!(".spec.asn: found the number 23456; {asn}")),
        ("asn: 65000.1", format!(".spec.asn: found the number 65000.1; {asn}")),
        ("asn: -1", format!(".spec.asn: found the number -1; {asn}")),
        ("routerID: 0.0.0.0", format!(".spec.routerID: found \"0.0.0.0\"; {id}")),
        ("routerID: fd00::1", format!(".spec.routerID: found \"fd00::1\"; {id}")),
        ("maxPaths: 0", ".spec.maxPaths: found 0; write 1 for a single path, or more".to_owned()),
        (
            "serviceClusterIPs: [{cidr: 0.0.0.0/0}]",
            ".spec.serviceClusterIPs[0].cidr: found all addresses; write the ranges that Services use"
                .to_owned(),
        ),
        (
            "serviceClusterIPs: [10.96.0.0/12]",
            ".spec.serviceClusterIPs[0]: found \"10.96.0.0/12\"; write an object".to_owned(),
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(configuration(spec), [format!("a.yaml:5: BGPConfiguration default {expected}")], "{spec}");
    }
}

#[test]
fn a_field_written_twice_is_reported() {
    let found = problems(&peer("  peerAddress: 10.0.0.1\n  peerASN: 65000\n  peerASN: 65001\n"));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("a.yaml:8: ") && found[0].contains("peerASN"), "{found:?}");
}

#[test]
fn anchors_that_would_fill_the_memory_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        let aliases = vec![alias; 10].join(", ");
        text = format!("{text}a{level}: &a{level} [{aliases}]\n");
    }
    let found = problems(&text);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("; correct the syntax"), "{found:?}");
}

#[test]
fn a_text_that_is_read_in_pieces_has_the_lines_that_its_author_sees() {
    const OBJECTS: usize = 5000;
    let object = |number: usize, fields: &str| {
        // The second line of the annotation looks like the beginning of a document, and is none.
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: s{number}\n  annotations:\n    a: |\n      ---\n\
             spec:\n  type: LoadBalancer\n{fields}"
        )
    };
    let all =
        |last: &str| (0..OBJECTS).map(|number| object(number, "")).chain([object(OBJECTS, last)]).collect();
    let text: String = all("");
    assert!(text.len() > 2 * super::tree::PIECE, "{}", text.len());
    let state = ClusterState::from_manifest("a.yaml", &text);
    assert_eq!((state.problems.len(), state.services.len()), (0, OBJECTS + 1));
    for number in [0, OBJECTS / 2, OBJECTS] {
        let origin = &state.services[format!("default/s{number}").as_str()].origin;
        let line = u32::try_from(10 * number).unwrap() + 2;
        assert_eq!((origin.line, origin.line_of(".spec.type")), (line, line + 8));
    }

    let broken: String = all("  type: [\n");
    let state = ClusterState::from_manifest("a.yaml", &broken);
    assert_eq!((state.problems.len(), state.services.len()), (1, 0));
    let lines = u32::try_from(broken.lines().count()).unwrap();
    assert!((lines - 3..=lines + 1).contains(&state.problems[0].line), "{}", state.problems[0]);
}
