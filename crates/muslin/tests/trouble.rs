//! What a person gets who typed something wrong, or whom nobody answers: one sentence with the fix, and exit code 2.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

const MUSLIN: &str = env!("CARGO_BIN_EXE_muslin");

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One sentence with these words, and exit code 2.
#[track_caller]
fn is_trouble(output: &Output, said: &str) {
    let words = words(output);
    assert!(words.contains(said) && words.lines().count() == 1, "no `{said}`: {words}");
    assert_eq!(output.status.code(), Some(2));
}

fn ask(socket: &Path, args: &[&str]) -> Output {
    Command::new(MUSLIN).args(args).arg("--socket").arg(socket).output().unwrap()
}

/// Answers one request with this.
fn answer_once(listener: UnixListener, head: &'static str, body: &'static str) {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4_096];
        let _read = stream.read(&mut request).unwrap();
        let length = body.len();
        write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
    });
}

#[test]
fn nothing_that_runs_is_one_sentence_with_the_fix_for_every_command_that_asks() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("muslin.sock");
    for args in [
        &["status"][..],
        &["peers"],
        &["routes", "best"],
        &["explain", "10.0.0.0/8"],
        &["explain", "default/web"],
        &["trace", "default/a", "10.0.0.1"],
        &["watch"],
        &["peer", "reset", "tor"],
    ] {
        is_trouble(
            &ask(&socket, args),
            "no daemon answers here; is `muslin agent` or `muslin speaker` running",
        );
    }
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("muslin.sock");
    drop(UnixListener::bind(&socket).unwrap());
    is_trouble(&ask(&socket, &["status"]), "only its socket was left");
}

#[test]
fn a_socket_without_permission_names_the_way_to_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = folder.path().join("muslin.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).unwrap();
    let program = folder.path().join("muslin");
    fs::copy(MUSLIN, &program).unwrap();
    let mut command = Command::new(program);
    command.args(["status", "--socket"]).arg(&socket).uid(65_534).gid(65_534);
    match command.output() {
        Ok(output) => is_trouble(&output, "the socket is for the daemon's user alone"),
        // Only root may become somebody else.
        Err(error) => writeln!(std::io::stdout(), "SKIPPED: no other user: {error}").unwrap(),
    }
}

#[test]
fn an_agent_of_another_version_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    for (name, head, body) in
        [("older", "404 Not Found", ""), ("newer", "200 OK", r#"{"peers": "elsewhere"}"#)]
    {
        let socket = folder.path().join(name);
        answer_once(UnixListener::bind(&socket).unwrap(), head, body);
        is_trouble(&ask(&socket, &["status"]), "of another version");
    }
}

#[test]
fn what_was_mistyped_is_answered_with_what_was_meant() {
    for (args, meant) in [
        (&["staus"][..], "'status'"),
        (&["doctor", "--no-probe"], "'--no-probes'"),
        (&["routes", "recieved"], "'received'"),
        (&["status", "--output", "jsn"], "'json'"),
        (&["completion", "bas"], "'bash'"),
        (&["peer", "rest", "tor"], "'reset'"),
    ] {
        let output = Command::new(MUSLIN).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(words(&output).contains(meant), "{args:?}: {}", words(&output));
    }
    let broken = Command::new(MUSLIN).args(["explain", "10.244.300.0/24"]).output().unwrap();
    assert!(words(&broken).contains("neither a prefix (10.244.1.0/24) nor an address"), "{}", words(&broken));
}

#[test]
fn completion_is_a_script_that_the_shell_can_read() {
    let script = Command::new(MUSLIN).args(["completion", "bash"]).output().unwrap();
    assert!(script.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("muslin.bash");
    fs::write(&file, &script.stdout).unwrap();
    let asked = "source \"$1\"; COMP_WORDS=(muslin doc); COMP_CWORD=1; _muslin muslin doc muslin; echo \"${COMPREPLY[@]}\"";
    let completed = Command::new("bash").args(["-c", asked, "bash"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "doctor", "{}", words(&completed));
}
