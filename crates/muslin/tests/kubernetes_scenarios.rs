//! The scenarios of `containerlab/` with a cluster: the same files, Makefiles and scripts, with a real control plane in
//! the place of kind's.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder(scenario: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../containerlab").join(scenario)
}

/// The program that `cargo xtask test --tier kubernetes` gives the nodes.
fn muslin() -> Command {
    Command::new(std::env::var_os("MUSLIN_BIN").expect("cargo xtask test --tier kubernetes sets it"))
}

fn lab(scenario: &str) -> Command {
    let mut lab = muslin();
    lab.args(["lab", "--kubernetes", "--topology"]);
    lab.arg(folder(scenario).join(format!("{scenario}.clab.yml")));
    lab
}

fn said(output: &Output) -> String {
    [&*output.stdout, &output.stderr].map(String::from_utf8_lossy).concat()
}

/// As a newcomer runs it: brought up, verified, gone.
fn verifies(scenario: &str, checks: usize) {
    let output = lab(scenario).output().unwrap();
    let said = said(&output);
    println!("{said}");
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(said.contains(&format!("{scenario}: {checks} passed, 0 failed")), "{said}");
}

// A lab stands at a time, so these are one test.
#[test]
fn each_scenario_holds_and_a_broken_one_is_noticed() {
    // Blocks on the router, blocks on the nodes, and a connection from pod to pod.
    verifies("k8s-single-tor", 3 + 6 + 6);
    verifies("k8s-dualstack", 2 * (3 + 6 + 6));
    let output = lab("k8s-dual-tor").arg("--keep").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let _down = Down;
    let verify = |wait: &str| {
        let mut verify = muslin();
        verify.args(["lab", "shell", "cp", "--"]).arg(folder("k8s-dual-tor").join("verify.sh"));
        verify.env("WAIT", wait).env("KUBECTL", "kubectl");
        verify.env("LAB_EXEC", format!("{} lab shell", muslin().get_program().display()));
        verify.output().unwrap()
    };
    let whole = verify("30");
    assert!(said(&whole).contains("k8s-dual-tor: 18 passed, 0 failed"), "{}", said(&whole));
    let mut cut = muslin();
    cut.args(["lab", "shell", "tor2", "--", "ip", "link", "set", "eth2", "down"]);
    assert!(cut.status().unwrap().success());
    let broken = verify("5");
    let told = said(&broken);
    println!("{told}");
    assert!(!broken.status.success(), "{told}");
    let lost = told.lines().find(|line| line.starts_with("FAIL  tor2")).expect(&told);
    assert!(lost.contains("expected: via 172.31.22.2; found:"), "{told}");
    // One router is enough for packets.
    let unconnected = told.lines().any(|line| line.starts_with("FAIL") && line.contains("connected"));
    assert!(!unconnected, "{told}");
}

/// Ends the lab, also when a test fails.
struct Down;

impl Drop for Down {
    fn drop(&mut self) {
        let status = muslin().args(["lab", "down"]).status().unwrap();
        assert!(status.success() || std::thread::panicking(), "{status}");
    }
}
