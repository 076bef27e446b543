//! Isolation runs the program again, so this test is a program of its own: without arguments it is the judge, with
//! one it is the program that isolates itself and then plays the named part.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program talks to its judge")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::JoinHandle;

use muslin_netns::{Entered, Inside, Namespace, become_root_in_user_namespace};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let part = std::env::args().nth(1);
    match part.as_deref() {
        Some(part) if !part.starts_with('-') => play(part),
        // `cargo test` hands over its own flags and filters; the judge knows none.
        _ => judge(),
    }
}

fn play(part: &str) -> ExitCode {
    match become_root_in_user_namespace() {
        Ok(Entered::Finished(code)) => code,
        Ok(Entered::Inside(inside)) => match act(part, inside) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{part}: {error}");
                ExitCode::from(99)
            }
        },
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(98)
        }
    }
}

fn act(part: &str, inside: Inside) -> Outcome<ExitCode> {
    match part {
        "look" => {
            assert!(nix::unistd::getuid().is_root());
            let init = std::fs::read_to_string("/proc/1/cmdline")?;
            assert!(init.contains("[isolated: init "), "{init}");
            assert_eq!(std::fs::read_dir("/run")?.count(), 0);
            Namespace::new("nested")?;
            Ok(ExitCode::from(42))
        }
        // An orphan that would live for ever and holds the judge's pipe: end of file there means it is gone.
        "leave" => {
            linger()?;
            println!("ready");
            Ok(ExitCode::from(7))
        }
        "wait" => {
            linger()?;
            let term = [Signal::SIGTERM].into_iter().collect::<SigSet>();
            term.thread_block()?;
            println!("ready");
            term.wait()?;
            println!("terminated");
            Ok(ExitCode::from(3))
        }
        "detach" => {
            let term = [Signal::SIGTERM].into_iter().collect::<SigSet>();
            term.thread_block()?;
            let mut report = std::fs::File::create(std::env::args().nth(2).ok_or("no file given")?)?;
            inside.detach(false)?;
            term.wait()?;
            report.write_all(b"stood alone")?;
            Ok(ExitCode::SUCCESS)
        }
        other => Err(format!("no such part: {other}").into()),
    }
}

fn linger() -> std::io::Result<()> {
    Command::new("sleep").arg("1000").spawn().map(drop)
}

fn judge() -> ExitCode {
    for (name, test) in [
        ("inside_is_root_with_a_private_proc_and_run", inside_is_root as fn() -> Outcome),
        ("what_the_inside_left_running_dies_with_it", leftovers_die),
        ("sigkill_of_the_outer_process_kills_everything", sigkill_kills_all),
        ("sigterm_reaches_the_inside_and_its_code_comes_back", sigterm_is_passed_on),
        ("a_detached_tree_stands_until_told_to_end", detached_stands),
    ] {
        if let Err(error) = test() {
            println!("test {name} ... FAILED: {error}");
            return ExitCode::FAILURE;
        }
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// An actor, and a thread that returns all it (and whoever inherited its output) printed.
fn actor(part: &str, more: &[&str]) -> Outcome<(Child, impl Iterator<Item = String> + Send + 'static)> {
    let mut child =
        Command::new(std::env::current_exe()?).arg(part).args(more).stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().ok_or("no output")?);
    Ok((child, output.lines().map_while(Result::ok)))
}

fn rest(lines: impl Iterator<Item = String> + Send + 'static) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || lines.collect())
}

fn inside_is_root() -> Outcome {
    let (mut child, _lines) = actor("look", &[])?;
    equal(child.wait()?.code(), Some(42))
}

fn leftovers_die() -> Outcome {
    let (mut child, lines) = actor("leave", &[])?;
    equal(child.wait()?.code(), Some(7))?;
    // Ends only when the orphan, which inherited the pipe, is dead.
    equal(rest(lines).join().map_err(|_| "panic")?, vec!["ready".to_owned()])
}

fn sigkill_kills_all() -> Outcome {
    let (mut child, mut lines) = actor("wait", &[])?;
    equal(lines.next().as_deref(), Some("ready"))?;
    child.kill()?;
    child.wait()?;
    equal(rest(lines).join().map_err(|_| "panic")?, Vec::new())
}

fn sigterm_is_passed_on() -> Outcome {
    let (mut child, mut lines) = actor("wait", &[])?;
    equal(lines.next().as_deref(), Some("ready"))?;
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
    equal(child.wait()?.code(), Some(3))?;
    equal(rest(lines).join().map_err(|_| "panic")?, vec!["terminated".to_owned()])
}

fn detached_stands() -> Outcome {
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report");
    let (mut child, lines) = actor("detach", &[&report.to_string_lossy()])?;
    // The streams are let go of, so the pipe ends although the inside lives.
    equal(child.wait()?.code(), Some(1))?;
    equal(rest(lines).join().map_err(|_| "panic")?, Vec::new())?;
    equal(std::fs::read_to_string(&report)?.as_str(), "")?;
    let init = find_init(&report.to_string_lossy())?;
    let descriptor = std::fs::File::open(format!("/proc/{init}/ns/pid"))?;
    kill(Pid::from_raw(init), Signal::SIGTERM)?;
    while std::path::Path::new(&format!("/proc/{init}")).exists() {
        std::thread::yield_now();
    }
    drop(descriptor);
    equal(std::fs::read_to_string(&report)?.as_str(), "stood alone")
}

fn find_init(argument: &str) -> Outcome<i32> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains("[isolated: init ") && command.contains(argument) {
            return Ok(path.file_name().ok_or("no name")?.to_string_lossy().parse()?);
        }
    }
    Err("no init found".into())
}

#[allow(clippy::needless_pass_by_value, reason = "reads like assert_eq")]
fn equal<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Outcome {
    if found == expected { Ok(()) } else { Err(format!("found {found:?}, expected {expected:?}").into()) }
}
