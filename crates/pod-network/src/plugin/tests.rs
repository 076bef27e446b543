//! The protocol without a kernel: what is refused before any work, and how answers are written.

use std::path::Path;

use super::*;
use crate::network_file::NetworkFile;

/// One call: environment, standard input; exit code, standard output, log.
fn call(environment: &[(&str, &str)], input: &str) -> (bool, String, String) {
    let variable =
        |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let (mut output, mut log) = (Vec::new(), Vec::new());
    let call = Call { variable: &variable, input: &mut input.as_bytes(), output: &mut output, log: &mut log };
    let succeeded = call.run() == ExitCode::SUCCESS;
    (succeeded, String::from_utf8(output).unwrap(), String::from_utf8(log).unwrap())
}

/// The error that a call must answer: JSON and nothing else on standard output.
fn refusal(environment: &[(&str, &str)], input: &str) -> Value {
    let (succeeded, output, log) = call(environment, input);
    assert!(!succeeded);
    assert_eq!(log, "");
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

const POD: [(&str, &str); 3] = [("CNI_CONTAINERID", "c1"), ("CNI_NETNS", "/nowhere"), ("CNI_IFNAME", "eth0")];
const CONFIG: &str =
    r#"{"cniVersion": "1.0.0", "name": "muslin", "type": "muslin-cni", "dataDir": "/nowhere"}"#;

fn with<'a>(command: &'a str, changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let kept = POD.into_iter().filter(|(key, _)| changed.iter().all(|(other, _)| other != key));
    [("CNI_COMMAND", command)].into_iter().chain(kept).chain(changed.iter().copied()).collect()
}

#[test]
fn cni_01_version_names_all_versions_without_any_other_variable() {
    let (succeeded, output, log) = call(&[("CNI_COMMAND", "VERSION")], r#"{"cniVersion": "0.4.0"}"#);
    assert!(succeeded && log.is_empty());
    let answer: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(
        answer,
        json!({ "cniVersion": "0.4.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] })
    );
    let (succeeded, output, _) = call(&[("CNI_COMMAND", "VERSION")], "");
    assert!(succeeded && output.contains("1.1.0"));
}

#[test]
fn cni_01_an_unknown_command_is_code_4() {
    let error = refusal(&with("ATTACH", &[]), CONFIG);
    assert_eq!(error["code"], 4);
    assert!(error["msg"].as_str().unwrap().contains("CNI_COMMAND \"ATTACH\""));
}

#[test]
fn cni_01_all_missing_variables_are_named_at_once() {
    for (command, missing) in [
        ("ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"),
        ("CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"),
        ("DEL", "CNI_CONTAINERID, CNI_IFNAME"),
    ] {
        let error = refusal(&[("CNI_COMMAND", command)], CONFIG);
        assert_eq!(error["code"], 4);
        assert!(error["msg"].as_str().unwrap().ends_with(missing), "{error}");
    }
}

#[test]
fn cni_01_without_a_command_it_tells_about_itself_on_standard_error() {
    let (succeeded, output, log) = call(&[], "");
    assert!(succeeded);
    assert_eq!(output, "");
    assert!(log.contains("muslin-cni") && log.contains("0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"));
}

#[test]
fn cni_02_bad_identifiers_are_code_4_and_named_before_the_configuration_is_read() {
    for (name, value) in [
        ("CNI_CONTAINERID", "-starts-with-a-dash"),
        ("CNI_CONTAINERID", "has/slash"),
        ("CNI_IFNAME", "sixteen-octets-x"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "eth/0"),
        ("CNI_IFNAME", "eth:0"),
        ("CNI_IFNAME", "eth 0"),
    ] {
        let error = refusal(&with("ADD", &[(name, value)]), "not even JSON");
        assert_eq!(error["code"], 4, "{name}={value}");
        assert!(error["msg"].as_str().unwrap().contains(name), "{error}");
    }
}

#[test]
fn cni_02_configurations_are_refused_with_the_code_of_their_fault() {
    let named = |rest: &str| format!(r#"{{"cniVersion": "1.0.0", "name": "muslin"{rest}}}"#);
    for (code, input) in [
        (6, "{".to_owned()),
        (6, String::new()),
        (1, r#"{"cniVersion": "0.2.0", "name": "muslin"}"#.to_owned()),
        (1, r#"{"cniVersion": "2.0.0", "name": "muslin"}"#.to_owned()),
        (1, r#"{"name": "muslin"}"#.to_owned()),
        (7, r#"{"cniVersion": "1.0.0"}"#.to_owned()),
        (7, r#"{"cniVersion": "1.0.0", "name": "a b"}"#.to_owned()),
        (7, named(r#", "mtu": "large""#)),
        (7, named(r#", "runtimeConfig": {"ips": ["10.0.0"]}"#)),
        (7, named(r#", "prevResult": {"ips": [{"address": "10.0.0.1/99"}]}"#)),
    ] {
        let error = refusal(&with("ADD", &[]), &input);
        assert_eq!(error["code"], code, "{input}: {error}");
    }
}

#[test]
fn cni_02_a_node_that_is_not_ready_yet_is_code_11() {
    let error = refusal(&with("ADD", &[]), CONFIG);
    assert_eq!(error["code"], 11);
    assert!(error["details"].as_str().unwrap().contains("network.json"));
}

#[test]
fn cni_02_commands_are_refused_in_versions_that_do_not_have_them() {
    let config = |version| format!(r#"{{"cniVersion": "{version}", "name": "muslin"}}"#);
    for (command, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")] {
        assert_eq!(refusal(&with(command, &[]), &config(version))["code"], 1, "{command}");
    }
}

#[test]
fn cni_03_an_error_has_the_fields_of_the_protocol_in_the_version_that_was_asked_for() {
    let error = refusal(&with("ADD", &[]), CONFIG);
    let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["cniVersion", "code", "details", "msg"]);
    assert_eq!(error["cniVersion"], "1.0.0");
    let old = refusal(&with("ADD", &[]), r#"{"cniVersion": "0.4.0", "name": ""}"#);
    assert_eq!(old["cniVersion"], "0.4.0");
}

#[test]
fn cni_12_arguments_are_known_or_ignored_by_leave() {
    let error = refusal(&with("ADD", &[("CNI_ARGS", "COLOUR=blue;SHAPE=round")]), CONFIG);
    assert_eq!(error["code"], 4);
    assert!(error["msg"].as_str().unwrap().contains("COLOUR, SHAPE"));
    for (code, arguments) in [
        (11, "IgnoreUnknown=1;COLOUR=blue"),
        (11, "IgnoreUnknown=true;COLOUR=blue"),
        (11, "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=d"),
        (11, "IP=10.0.0.1/24,fd00::1;MAC=02:00:00:00:00:01"),
        (4, "IgnoreUnknown=0;COLOUR=blue"),
        (4, "IgnoreUnknown=perhaps"),
        (4, "IP=ten"),
        (4, "no pair"),
    ] {
        // 11 is as far as a call comes on this node, which has no state yet: its arguments were accepted.
        let error = refusal(&with("ADD", &[("CNI_ARGS", arguments)]), CONFIG);
        assert_eq!(error["code"], code, "{arguments}: {error}");
    }
}

fn ready_node() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let blocks = vec!["10.244.1.0/24".parse().unwrap()];
    NetworkFile { blocks, mtu: Some(1500), reserved: Vec::new() }.write(folder.path()).unwrap();
    folder
}

fn config_of(data_dir: &Path, rest: &str) -> String {
    format!(r#"{{"cniVersion": "1.1.0", "name": "muslin", "dataDir": {data_dir:?}{rest}}}"#)
}

#[test]
fn cni_12_requests_that_cannot_be_met_are_refused_with_their_reason() {
    let node = ready_node();
    let own = "/proc/thread-self/ns/net";
    let environment = with("ADD", &[("CNI_NETNS", own), ("CNI_NETNS_OVERRIDE", "1")]);
    for (rest, reason) in [
        (
            r#", "runtimeConfig": {"ips": ["192.0.2.1"]}"#,
            "192.0.2.1 is not one that a pod of this node may have",
        ),
        (r#", "runtimeConfig": {"ips": ["10.244.1.5", "10.244.1.6"]}"#, "one address of a family"),
        (r#", "args": {"cni": {"ips": ["10.244.1.0/24"]}}"#, "10.244.1.0 is not one"),
        (r#", "runtimeConfig": {"mac": "01:00:00:00:00:00"}"#, "is not the hardware address of a station"),
        (r#", "mtu": 576"#, "at least 1280"),
    ] {
        let error = refusal(&environment, &config_of(node.path(), rest));
        assert_eq!(error["code"], 7, "{error}");
        assert!(format!("{error}").contains(reason), "{error}");
    }
}

#[test]
fn cni_13_the_plugins_own_namespace_is_refused() {
    let node = ready_node();
    let own = "/proc/thread-self/ns/net";
    let error = refusal(&with("ADD", &[("CNI_NETNS", own)]), &config_of(node.path(), ""));
    assert_eq!(error["code"], 8);
    assert!(error["details"].as_str().unwrap().contains("own network namespace"));
}

#[test]
fn cni_09_status_is_50_while_the_node_is_not_ready_or_the_ledger_cannot_be_used() {
    let empty = tempfile::tempdir().unwrap();
    let status = [("CNI_COMMAND", "STATUS")];
    assert_eq!(refusal(&status, &config_of(empty.path(), ""))["code"], 50);

    let node = ready_node();
    std::fs::write(node.path().join("ipam.json"), r#"{"version": 99}"#).unwrap();
    let code = refusal(&status, &config_of(node.path(), ""))["code"].as_u64().unwrap();
    // A host that does not forward is the graver finding.
    assert!(code == 50 || (code == 51 && !crate::host::forwards(crate::host::Family::V4)), "{code}");
}
