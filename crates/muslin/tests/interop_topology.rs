//! `muslin lab --topology FILE`: the topologies of `containerlab/` in plain namespaces, checked by their own `verify.sh`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn lab(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muslin"));
    // Where a standing lab is noted: a place of its own for each test.
    command.arg("lab").args(arguments).env("TMPDIR", folder).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../containerlab").join(name)
}

fn topology(name: &str) -> String {
    scenario(name).join(format!("{name}.clab.yml")).display().to_string()
}

/// Deploys it and has it verified: every route and every packet that its `verify.sh` knows of.
fn holds(name: &str, checks: usize) {
    let folder = tempfile::tempdir().unwrap();
    let output = lab(folder.path(), &["--topology", &topology(name)]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("{name}: {checks} passed, 0 failed")), "{said}");
}

#[test]
fn muslin_frr_bird_and_gobgp_exchange_routes_and_packets_in_plain_namespaces() {
    holds("bgp-interop", 35);
}

#[test]
fn reflectors_and_their_clients_in_two_racks_work_in_plain_namespaces() {
    holds("route-reflector", 66);
}

#[test]
fn nodes_on_links_without_addresses_work_in_plain_namespaces() {
    holds("unnumbered", 39);
}

#[test]
fn a_fabric_in_plain_namespaces_loses_a_link_and_its_verify_says_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let kept = lab(folder.path(), &["--topology", &topology("tor-clos"), "--keep"]);
    assert_eq!(kept.status.code(), Some(0), "{}", text(&kept));
    let verify = |what: &str, seconds: &str| {
        let mut command = Command::new(scenario("tor-clos").join("verify.sh"));
        command.arg(what).env("TMPDIR", folder.path()).env("WAIT", seconds);
        command.env("LAB_EXEC", format!("{} lab shell", env!("CARGO_BIN_EXE_muslin")));
        let output = command.output().unwrap();
        (output.status.success(), text(&output))
    };
    let healthy = verify("healthy", "60");
    let cut = lab(folder.path(), &["shell", "tor1", "--", "ip", "link", "set", "eth1", "down"]);
    let degraded = verify("degraded", "60");
    let broken = verify("healthy", "1");
    let down = lab(folder.path(), &["down"]);
    assert!(healthy.0, "{}", healthy.1);
    assert!(cut.status.success(), "{}", text(&cut));
    assert!(degraded.0, "{}", degraded.1);
    assert!(!broken.0 && broken.1.contains("FAIL  tor1     10.244.3.0/24"), "{}", broken.1);
    assert!(down.status.success(), "{}", text(&down));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
}
