//! `muslin lab` as a person uses it: it can be interrupted, left standing, entered and ended. That it proves what it
//! should, in every shape, is the matter of `cargo xtask test --tier lab`.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/bundle.rs"]
mod bundle;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// More than enough for the kernel to end a few processes.
const PATIENCE: Duration = Duration::from_secs(10);

fn muslin(folder: &Path, arguments: &[&str]) -> Command {
    // Whoever runs the tests in the background of a script has them ignore SIGINT, and all that they start.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_muslin")]);
    // Where a standing lab is noted: not where a lab of the person at the keyboard is.
    command.arg("lab").args(arguments).env("TMPDIR", folder).stdin(Stdio::null());
    command
}

fn output(folder: &Path, arguments: &[&str]) -> Output {
    muslin(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A lab whose agents are running, and that has so much left to prove that it does not end before it is told to.
fn started(folder: &Path) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut lab = muslin(folder, &["--nodes", "6", "--pods", "4"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(lab.stderr.take().unwrap()).lines();
    let reached = lines.by_ref().map(Result::unwrap).find(|line| line.contains("agents started"));
    assert!(reached.is_some(), "the lab ended early");
    (lab, lines)
}

/// All processes below `process`, each with what it was started as.
fn descendants(process: u32) -> BTreeMap<u32, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![process];
    while let Some(parent) = open.pop() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            open.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
        if parent != process {
            found.insert(parent, command_line(parent));
        }
    }
    found
}

fn command_line(process: u32) -> Vec<u8> {
    fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default()
}

/// Waits until none of the processes is left.
fn assert_gone(processes: &BTreeMap<u32, Vec<u8>>) {
    let deadline = Instant::now() + PATIENCE;
    let lives = |(process, line): (&u32, &Vec<u8>)| !line.is_empty() && command_line(*process) == *line;
    while processes.iter().any(lives) {
        assert!(Instant::now() < deadline, "still there: {processes:?}");
        std::thread::yield_now();
    }
}

fn signal(process: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", process.id())]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_interrupted_lab_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let (mut lab, _lines) = started(folder.path());
        let processes = descendants(lab.id());
        assert!(processes.len() >= 5, "init, the lab, a router, two agents: {processes:?}");
        signal(&lab, name);
        assert_eq!(lab.wait().unwrap().code(), Some(code));
        assert_gone(&processes);
    }
}

#[test]
fn a_killed_lab_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lab, _lines) = started(folder.path());
    let processes = descendants(lab.id());
    lab.kill().unwrap();
    lab.wait().unwrap();
    assert_gone(&processes);
}

#[test]
fn a_lab_whose_agent_dies_says_which_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lab, lines) = started(folder.path());
    let is_agent = |line: &[u8]| text(line).contains("\0agent\0");
    let processes = descendants(lab.id());
    let (agent, _) = processes.iter().find(|(_, line)| is_agent(line)).unwrap();
    Command::new("sh").args(["-c", &format!("kill -KILL {agent}")]).status().unwrap();
    assert_eq!(lab.wait().unwrap().code(), Some(1));
    let said = lines.map_while(Result::ok).collect::<Vec<_>>().join("\n");
    assert!(said.contains("error: agent of n"), "{said}");
    assert_gone(&processes);
}

#[test]
fn a_kept_lab_stands_is_entered_and_goes_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let kept = output(folder.path(), &["--nodes", "2", "--pods", "1", "--keep"]);
    assert!(kept.status.success(), "{}", text(&kept.stderr));
    assert!(text(&kept.stderr).contains("lab shell n1"), "hints: {}", text(&kept.stderr));

    let second = output(folder.path(), &["--keep"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(text(&second.stderr).contains("a lab stands already"), "{}", text(&second.stderr));

    let status = output(folder.path(), &["shell", "n1", "--", "muslin", "status", "--output", "json"]);
    assert!(status.status.success(), "{}", text(&status.stderr));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status.to_string().contains("n1"), "{status}");
    assert_eq!(status["faults"], serde_json::json!([]), "nothing that a healthy node cannot do");

    let code = output(folder.path(), &["shell", "n2-pod1", "--", "sh", "-c", "exit 7"]);
    assert_eq!(code.status.code(), Some(7), "{}", text(&code.stderr));
    let nowhere = output(folder.path(), &["shell", "n9"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("n1 n2 tor outside n1-pod1 n2-pod1"), "{}", text(&nowhere.stderr));

    let down = output(folder.path(), &["down"]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left in the folder");
    let again = output(folder.path(), &["down"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("no lab stands"), "{}", text(&again.stderr));
}

#[test]
fn commands_in_a_lab_look_where_its_agents_keep_things() {
    let (folder, results) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = output(folder.path(), &["--nodes", "2", "--pods", "1", "--keep"]);
    assert!(kept.status.success(), "{}", text(&kept.stderr));

    let archive = results.path().join("bundle.tar.gz");
    let file = archive.to_str().unwrap();
    let collected =
        output(folder.path(), &["shell", "n1", "--", "muslin", "collect", "--no-probes", "--file", file]);
    let said = text(&collected.stderr);
    assert!(collected.status.success() && !said.contains("not in it"), "{said}");
    let files = bundle::unpack(&archive);
    for name in ["node/network.json", "node/ipam.json", "cni/10-muslin.conflist", "configuration/bgp.yaml"] {
        assert!(files.contains_key(&format!("muslin/{name}")), "no {name}: {:?}", files.keys());
    }
    let status: serde_json::Value = serde_json::from_slice(&files["muslin/daemon/status.json"]).unwrap();
    assert_eq!(status["node"], "n1");

    let down = output(folder.path(), &["down"]);
    assert!(down.status.success(), "{}", text(&down.stderr));
}

#[test]
fn wrong_usage_ends_with_two_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    for wrong in [["--nodes", "1"], ["--pods", "9"], ["--topology", "ring"], ["--router", "quagga"]] {
        let refused = output(folder.path(), &wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        assert!(text(&refused.stderr).contains(wrong[0]), "{}", text(&refused.stderr));
    }
}
