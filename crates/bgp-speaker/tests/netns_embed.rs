//! `examples/embed.rs`, a whole program of less than a hundred lines, as a peer of itself.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../examples/embed.rs"]
#[allow(dead_code, reason = "its `main` reads a command line, which a test has not")]
mod embed;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use muslin_netns::{Namespace, connect};

const ARGUMENTS: &str = "EMBED_ARGUMENTS";

/// Longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, in a process of its own.
struct Running {
    child: Child,
    said: Receiver<String>,
}

impl Running {
    fn start(host: &Namespace, arguments: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_embedding_program", "--nocapture"]).env(ARGUMENTS, arguments);
        let mut child = host.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, said }
    }

    fn says(&self, words: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let next = || self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        std::iter::from_fn(next).any(|line| line.starts_with(words))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _dead_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Not a test, but what the test below starts twice.
#[test]
fn the_embedding_program() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let config = embed::config(&arguments).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(embed::run(config)).unwrap();
}

#[test]
fn two_programs_that_embed_the_speaker_learn_each_others_prefix_and_its_end() {
    let (left, right) = (Namespace::new("left").unwrap(), Namespace::new("right").unwrap());
    connect(&left, "eth0", &right, "eth0").unwrap();
    left.add_address("eth0", "192.0.2.1/24".parse().unwrap()).unwrap();
    right.add_address("eth0", "192.0.2.2/24".parse().unwrap()).unwrap();
    let one = Running::start(&left, "65001 192.0.2.1 65002 192.0.2.2 10.1.0.0/24");
    let mut other = Running::start(&right, "65002 192.0.2.2 65001 192.0.2.1 10.2.0.0/24");
    assert!(one.says("10.2.0.0/24 via "), "the left one learns the prefix of the right one");
    assert!(other.says("10.1.0.0/24 via "), "and the right one that of the left one");
    // Ctrl-D ends it in order: its peer is told.
    drop(other.child.stdin.take());
    assert!(other.child.wait().unwrap().success());
    assert!(one.says("10.2.0.0/24 is gone"), "what the right one announced goes with it");
}

#[test]
fn the_embedding_program_is_shorter_than_a_hundred_lines() {
    assert!(include_str!("../examples/embed.rs").lines().count() < 100);
}
