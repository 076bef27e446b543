//! A Docker engine that nobody else sees: sockets, images and containers in one folder, in a network namespace of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use muslin_netns::Namespace;

use crate::shell;

/// How long dockerd may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// `CAP_SYS_RESOURCE` in the mask of `/proc/self/status`.
const SYS_RESOURCE: u64 = 1 << 24;

/// A runtime for machines whose bounding set lacks `CAP_SYS_RESOURCE`, which privileged containers ask for.
const RUNTIME: &str = r#"#!/bin/sh
previous=; bundle=.; process=
for word in "$@"; do
    [ "$previous" = --bundle ] && bundle=$word
    [ "$previous" = --process ] && process=$word
    previous=$word
done
without='(.. | objects | select(has("bounding"))) |= map_values(map(select(. != "CAP_SYS_RESOURCE")))'
for file in "$bundle/config.json" ${process:+"$process"}; do
    [ -f "$file" ] && jq -c "$without" "$file" >"$file.new" && cat "$file.new" >"$file" && rm -f "$file.new"
done
exec runc "$@"
"#;

/// A running engine. Dropping it kills dockerd.
pub(super) struct Engine {
    folder: PathBuf,
    namespace: Namespace,
    containerlab: PathBuf,
    dockerd: Child,
}

impl Engine {
    /// Starts dockerd in `folder`, and returns when it answers. The caller is in a mount namespace of its own.
    pub(super) fn start(folder: &Path, cgroup: &str, containerlab: &Path) -> Result<Self> {
        let start = Instant::now();
        private_etc(folder)?;
        fs::create_dir_all("/run/netns")?;
        let namespace = Namespace::new("docker")?;
        let mut command = shell::command("dockerd");
        command.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
        command.arg("--data-root").arg(folder.join("data")).arg("--exec-root").arg(folder.join("exec"));
        command.arg("--pidfile").arg(folder.join("dockerd.pid"));
        command.args(["--iptables=false", "--ip6tables=false", "--bridge", "none"]);
        command.arg("--cgroup-parent").arg(format!("/{cgroup}"));
        if !may_raise_limits()? {
            let runtime = folder.join("runtime");
            fs::write(&runtime, RUNTIME)?;
            fs::set_permissions(&runtime, fs::Permissions::from_mode(0o755))?;
            command.arg("--add-runtime").arg(format!("lacking={}", runtime.display()));
            command.args(["--default-runtime", "lacking"]);
        }
        let mut dockerd = namespace.spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
        let said = dockerd.stderr.take().context("standard error is piped")?;
        let (folder, containerlab) = (folder.to_path_buf(), containerlab.to_path_buf());
        // From here on it is killed if something goes wrong.
        let engine = Self { folder, namespace, containerlab, dockerd };
        await_listening(said, &engine.folder.join("dockerd.log"))?;
        println!("a Docker engine of its own started in {:.1} s", start.elapsed().as_secs_f64());
        Ok(engine)
    }

    /// A command that talks to this engine.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = shell::command(program);
        command.env("DOCKER_HOST", format!("unix://{}", self.folder.join("docker.sock").display()));
        command.env("LAB_IMAGE", "local/muslin-lab").env("FRR_IMAGE", "local/frr");
        command.env("CLAB_VERSION_CHECK", "disable");
        // The client that belongs to the engine, before any other one.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("/usr/sbin:/usr/bin:/sbin:/bin:{path}"));
        command
    }

    /// Runs a command inside the engine's network namespace, to its end.
    pub(super) fn run(&self, command: &mut Command) -> Result<String> {
        self.namespace.run(|| quietly(command))?
    }

    /// containerlab in a scenario's folder. Where the kernel has no modules, and so no `/proc/modules`, the one file
    /// that it reads there is an empty one.
    fn containerlab(&self, scenario: &Path) -> Result<Command> {
        let mut command = if Path::new("/proc/modules").exists() {
            self.command(&self.containerlab)
        } else {
            let modules = self.folder.join("modules");
            fs::write(&modules, "")?;
            let mut command = self.command("bash");
            // Descriptor 9 answers every time that the file is opened, and is never closed.
            let script = r#"exec 9<"$1"; modules=$1; shift
exec strace -f -qq -o "$modules.trace" -P /proc/modules -P "$modules" -e trace=openat,close \
    -e inject=openat:retval=9 -e inject=close:retval=0 "$@""#;
            command.args(["-c", script, "containerlab"]).arg(modules).arg(&self.containerlab);
            command
        };
        command.current_dir(scenario);
        Ok(command)
    }

    /// `containerlab validate`.
    pub(super) fn validate(&self, scenario: &Path) -> Result<String> {
        let topology = topology(scenario)?;
        self.run(self.containerlab(scenario)?.args(["validate", "-t", &topology]))?;
        Ok(format!("{topology} is valid"))
    }

    /// `containerlab deploy`, with the words that `make deploy` has.
    pub(super) fn deploy(&self, scenario: &Path) -> Result<String> {
        let start = Instant::now();
        self.run(self.containerlab(scenario)?.args([
            "deploy",
            "-t",
            &topology(scenario)?,
            "--max-workers",
            "32",
        ]))?;
        Ok(format!("deployed in {:.1} s", start.elapsed().as_secs_f64()))
    }

    /// `containerlab destroy`; nothing may be left.
    pub(super) fn destroy(&self, scenario: &Path) -> Result<String> {
        let start = Instant::now();
        self.run(self.containerlab(scenario)?.args(["destroy", "-t", &topology(scenario)?, "--cleanup"]))?;
        let left = self.run(self.command("docker").args(["ps", "--all", "--format", "{{.Names}}"]))?;
        ensure!(left.trim().is_empty(), "left behind: {}", left.trim());
        Ok(format!("destroyed in {:.1} s", start.elapsed().as_secs_f64()))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended already; its containers end with the process namespace.
        drop(self.dockerd.kill());
        drop(self.dockerd.wait());
    }
}

/// Returns when dockerd says that it listens; what it says is kept in a file.
fn await_listening(said: ChildStderr, log: &Path) -> Result<()> {
    let mut kept = File::create(log)?;
    let (sender, listening) = sync_channel(1);
    let reader = std::thread::Builder::new().name("dockerd".to_owned());
    reader.spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if line.contains("API listen on") {
                // Told once is enough.
                let _ = sender.try_send(());
            }
            drop(writeln!(kept, "{line}"));
        }
    })?;
    if listening.recv_timeout(PATIENCE).is_err() {
        bail!("dockerd does not listen:\n{}", last_lines(&fs::read_to_string(log)?));
    }
    Ok(())
}

/// What is written to `/etc` stays in the folder: containerlab notes its nodes in the files of hosts and of ssh.
fn private_etc(folder: &Path) -> Result<()> {
    let (upper, work) = (folder.join("etc"), folder.join("etc.work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    quietly(shell::command("mount").args(["-t", "overlay", "overlay", "-o", &options, "/etc"]))?;
    Ok(())
}

fn may_raise_limits() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).context("no CapBnd")?;
    Ok(u64::from_str_radix(mask.trim(), 16)? & SYS_RESOURCE != 0)
}

fn topology(scenario: &Path) -> Result<String> {
    let name = scenario.file_name().and_then(|name| name.to_str()).context("a scenario has a name")?;
    Ok(format!("{name}.clab.yml"))
}

/// Runs a command to its end and returns what it printed; it is shown only if the command fails.
pub(super) fn quietly(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} could not be started"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let program = command.get_program().display();
        bail!("{program}: {}\n{}{}", output.status, last_lines(&said), last_lines(&errors));
    }
    Ok(said)
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].iter().flat_map(|line| [line, "\n"]).collect()
}

/// Removes the control groups that the engine made: the kernel keeps empty ones.
pub(super) fn remove_cgroups(name: &str) {
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove_tree(&hierarchy.join(name));
    }
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // One that is not empty, or was never made, stays as it is.
    drop(fs::remove_dir(group));
}
