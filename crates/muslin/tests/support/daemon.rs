//! A daemon in a namespace, asked by the real commands.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use muslin_netns::Namespace;
use serde_json::Value;

/// The binary under test.
pub const MUSLIN: &str = env!("CARGO_BIN_EXE_muslin");
/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long what an event tells may take.
pub const PROMISED: Duration = Duration::from_secs(1);
/// The protocol number of routes that Muslin learned.
pub const OURS: u8 = 77;

/// A daemon in its namespace; killed with the test.
pub struct Daemon {
    pub child: Child,
    pub socket: PathBuf,
    log: Receiver<String>,
}

impl Daemon {
    pub fn start(namespace: &Namespace, folder: &Path, args: &[&str], state: &Path) -> Self {
        Self::start_with(namespace, folder, args, state, &[])
    }

    /// Starts it with variables in its environment.
    pub fn start_with(
        namespace: &Namespace,
        folder: &Path,
        args: &[&str],
        state: &Path,
        variables: &[(&str, &str)],
    ) -> Self {
        Self::start_from(namespace, folder, args, ("--state", state), variables)
    }

    /// Starts it with the option that says where its state comes from.
    pub fn start_from(
        namespace: &Namespace,
        folder: &Path,
        args: &[&str],
        (option, source): (&str, &Path),
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(MUSLIN);
        command.envs(variables.iter().copied());
        command.args(args).arg(option).arg(source).arg("--run-dir").arg(folder).stderr(Stdio::piped());
        if args[0] == "agent" {
            command.arg("--data-dir").arg(folder).arg("--cni-conf-dir").arg(folder.join("net.d"));
        }
        let mut child = namespace.spawn(&mut command).unwrap();
        let log = lines(child.stderr.take().unwrap());
        let daemon = Self { child, socket: folder.join("muslin.sock"), log };
        daemon.await_log("muslin is up");
        daemon
    }

    /// Reads the log until a line has `text`; returns the line.
    pub fn await_log(&self, text: &str) -> String {
        await_line(&self.log, text)
    }

    pub fn ask(&self, args: &[&str]) -> Output {
        Command::new(MUSLIN).args(args).arg("--socket").arg(&self.socket).output().unwrap()
    }

    pub fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.ask(args).stdout).unwrap()
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.ask(&[args, &["--output", "json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _dead_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What is told at once is done within the second that is promised; it takes some hundredths of it.
#[track_caller]
#[allow(clippy::print_stdout, reason = "what a run measured")]
pub fn assert_prompt(what: &str, since: Instant) {
    let took = since.elapsed();
    println!("{what}: {took:?}");
    assert!(took < PROMISED, "{what}: {took:?}");
}

/// Reads a log until a line has `text`; returns the line.
pub fn await_line(log: &Receiver<String>, text: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while let Ok(line) = log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if line.contains(text) {
            return line;
        }
        seen.push(line);
    }
    panic!("no `{text}` in the log:\n{}", seen.join("\n"));
}

/// The lines that come out of a pipe.
pub fn lines(stderr: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}
