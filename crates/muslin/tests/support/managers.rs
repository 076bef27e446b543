//! The real daemons that manage a machine's links, on a node of a test.
//!
//! A daemon finds folders of the test's own in the place of `/etc`, `/run` and `/var`, in a mount namespace that ends
//! with it, and the links of the node. What it is told and what it says of itself is what `muslin doctor` reads.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use muslin_netns::Namespace;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{MUSLIN, PATIENCE, await_line, lines};

/// Enters a machine: its folders, its links, and its programs at last, since the shell's own are gone then. Nobody
/// else notes there what udev does, that the links are ready.
const ENTER: &str = r#"
set -e
mount --bind "$1/etc" /etc
mount --bind "$1/run" /run
mount -t sysfs sysfs /sys
for link in /sys/class/net/*; do
    printf 'I:1\nE:ID_NET_DRIVER=veth\n' > "/run/udev/data/n$(cat "$link/ifindex")"
done
programs=$2
mount --bind "$1/var" /var
shift 2
mount --bind "$programs" /usr
exec "$@"
"#;

/// Users that the daemons want to become: the one that the test has, in whatever namespace it is.
const USERS: &str = "root:x:0:0::/:/bin/sh\nsystemd-network:x:0:0::/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nsystemd-network:x:0:\n";

/// A file system for daemons and the doctor, with the programs of one release.
pub struct Machine {
    root: TempDir,
    programs: PathBuf,
}

impl Machine {
    /// One with the programs below this `/usr`.
    pub fn new(programs: &Path) -> Self {
        let root = tempfile::tempdir().unwrap();
        let machine = Self { root, programs: programs.to_owned() };
        for folder in ["proc", "run/udev/data", "run/systemd", "var/lib", "bin"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        symlink(programs, machine.path("usr")).unwrap();
        machine.write("etc/passwd", USERS);
        machine.write("etc/group", GROUPS);
        machine.write("run/udev/control", "");
        // There is nobody to ask; the test does what it is for.
        machine.write("bin/systemctl", "#!/bin/sh\necho \"$@\" > /run/asked\n");
        fs::set_permissions(machine.path("bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn enter(&self, programs: &Path, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ENTER, "sh"]).arg(self.root.path()).arg(programs).args(words);
        command
    }

    /// Starts a program of the machine on a node; the doctor sees it among the processes.
    pub fn start(&self, node: &Namespace, words: &[&str]) -> Manager {
        let mut command = self.enter(&self.programs, words);
        // For systemd's.
        command.env("SYSTEMD_LOG_LEVEL", "debug").env("SYSTEMD_LOG_TARGET", "console");
        let mut child = node.spawn(command.stderr(Stdio::piped())).unwrap();
        let log = lines(child.stderr.take().unwrap());
        let process = self.path(&format!("proc/{}", child.id()));
        symlink(format!("/proc/{}", child.id()), &process).unwrap();
        Manager { child, log, process }
    }

    /// What a program of the machine prints.
    pub fn ask(&self, node: &Namespace, words: &[&str]) -> String {
        said(node.run(|| self.enter(&self.programs, words).output()).unwrap().unwrap())
    }

    /// Has a shell do what the doctor says, and returns what it wanted of the service manager.
    pub fn apply(&self, node: &Namespace, fix: &str) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.enter(Path::new("/usr"), &["sh", "-c", fix]);
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        said(node.run(|| command.output()).unwrap().unwrap());
        fs::read_to_string(self.path("run/asked")).unwrap().trim().to_owned()
    }

    /// What the doctor says.
    pub fn examine(&self, node: &Namespace) -> Value {
        let mut command = Command::new(MUSLIN);
        command.args(["doctor", "--output", "json", "--no-probes", "--root"]).arg(self.root.path());
        for (option, path) in [
            ("--socket", "run/muslin.sock"),
            ("--data-dir", "var/lib/muslin/cni"),
            ("--cni-conf-dir", "etc/cni/net.d"),
            ("--cni-bin-dir", "opt/cni/bin"),
        ] {
            command.arg(option).arg(self.path(path));
        }
        let output = node.run(|| command.output()).unwrap().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// How the doctor would mend what a check found, of what is said in these words.
    #[track_caller]
    pub fn fix(&self, node: &Namespace, check: &str, words: &str) -> String {
        let report = self.examine(node);
        let finding = report["findings"].as_array().unwrap().iter().find(|finding| {
            finding["check"] == check && finding["what"].as_str().is_some_and(|what| what.contains(words))
        });
        let finding = finding.unwrap_or_else(|| panic!("no `{words}` of {check}: {report:#}"));
        assert_eq!(finding["severity"], "warning", "{finding:#}");
        finding["fix"].as_str().unwrap().to_owned()
    }

    /// Asserts that a check found nothing.
    #[track_caller]
    pub fn is_content(&self, node: &Namespace, check: &str) {
        let report = self.examine(node);
        assert!(report["passed"].as_array().unwrap().contains(&check.into()), "{report:#}");
    }
}

fn said(output: Output) -> String {
    let (said, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{error}");
    said.trim().to_owned()
}

/// A running daemon of a machine; killed with the test.
pub struct Manager {
    child: Child,
    log: Receiver<String>,
    process: PathBuf,
}

impl Manager {
    /// Reads the log until a line has `text`.
    #[track_caller]
    pub fn await_log(&self, text: &str) -> String {
        await_line(&self.log, text)
    }

    /// Reads the log until each of these was in a line, in any order.
    #[track_caller]
    pub fn await_logs(&self, texts: &[String]) {
        let (mut missing, mut seen) = (texts.to_vec(), Vec::new());
        let deadline = Instant::now() + PATIENCE;
        while let Some(next) = missing.first() {
            let line = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("no `{next}` in the log:\n{}", seen.join("\n")));
            missing.retain(|text| !line.contains(text));
            seen.push(line);
        }
    }

    /// Sends it this signal and nothing else.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as its service manager does.
    pub fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // One that was stopped has been waited for, and its number is not used again.
        let _dead_already = self.child.kill();
        let _reaped = self.child.wait();
        let _gone = fs::remove_file(&self.process);
    }
}

/// The `/usr` of the newest release, which `cargo xtask test --tier netns` unpacks.
pub fn newest() -> PathBuf {
    let folder = match std::env::var_os("MUSLIN_LATER_DAEMONS") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("daemons"),
    };
    let programs = folder.join("managers/usr");
    assert!(programs.is_dir(), "there is no {}: run `cargo xtask test --tier netns`", programs.display());
    programs
}
