//! Running other programs: what is run is printed first, and a failure names the command.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use muslin_netns::Entered;

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// A command that runs at the root of the workspace.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace()).stdin(Stdio::null());
    command
}

/// Cargo, as it runs us.
pub(crate) fn cargo<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    // What it told us about our own package is not for others: build scripts that ask would find it changed, and all
    // that depends on them would be built again in every change between `cargo xtask` and plain `cargo`.
    let ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    };
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a command to its end with its output shown.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| format!("{} could not be started", name(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", words(command));
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output; its standard error is shown.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("{} could not be started", name(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", words(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no UTF-8", words(command)))
}

/// How many tests a run passed and failed, and how often one said `SKIPPED: …` for what this machine lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Tests that passed.
    pub(crate) passed: u32,
    /// Tests that failed.
    pub(crate) failed: u32,
    /// Passed ones that could not show what they are for.
    pub(crate) skipped: u32,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs `cargo test …` with its output shown and counts its tests. A run without a test is a failure.
pub(crate) fn run_tests(command: &mut Command, count: &mut Count) -> Result<()> {
    announce(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} could not be started", name(command)))?;
    let mut here = Count::default();
    if let Some(output) = child.stdout.take() {
        let mut shown = std::io::stdout().lock();
        for line in BufReader::new(output).split(b'\n') {
            let mut line = line?;
            here += counted(&String::from_utf8_lossy(&line));
            line.push(b'\n');
            shown.write_all(&line)?;
        }
    }
    let status = child.wait()?;
    *count += here;
    if !status.success() {
        bail!("{} failed: {status}", words(command));
    }
    if here.passed == 0 {
        bail!("{} ran no test", words(command));
    }
    Ok(())
}

/// What one line of a test harness counts: `test result: ok. 5 passed; 0 failed; …`, or a test's own
/// `SKIPPED: …`.
fn counted(line: &str) -> Count {
    let number = |what: &str| {
        let before = line.split(what).next()?;
        before.split_whitespace().last()?.parse().ok()
    };
    if !line.starts_with("test result: ") {
        // The harness may have begun the line already.
        return Count { skipped: u32::from(line.contains("SKIPPED: ")), ..Count::default() };
    }
    Count {
        passed: number(" passed;").unwrap_or(0),
        failed: number(" failed;").unwrap_or(0),
        ..Count::default()
    }
}

fn announce(command: &Command) {
    // Not among what the command itself prints: `cargo lab --output json` is for programs.
    eprintln!("+ {}", words(command));
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A command that is run as root of namespaces of its own.
#[derive(clap::Args)]
pub(crate) struct Enter {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Enter {
    /// Enters the namespaces and becomes the command.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        // Whoever wanted it may be killed; then nobody waits for it any more.
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
        match muslin_netns::become_root_in_user_namespace()? {
            Entered::Finished(code) => Ok(code),
            Entered::Inside(_) => {
                let [program, arguments @ ..] = &*self.command else { bail!("no command") };
                let error = Command::new(program).args(arguments).exec();
                Err(error).with_context(|| format!("{} could not be started", program.display()))
            }
        }
    }

    /// Makes a command one that runs so: with root's rights over network namespaces, whoever the caller is, and with
    /// every process that it leaves behind ended with it.
    pub(crate) fn wrap(inner: &Command) -> Result<Command> {
        let mut command = command(std::env::current_exe()?);
        command.args(["enter", "--"]).arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_of_the_test_harness_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(counted(line), Count { passed: 12, failed: 3, skipped: 0 });
        let skipped = "test vrf ... SKIPPED: no VRF in this kernel";
        assert_eq!(counted(skipped), Count { skipped: 1, ..Count::default() });
        assert_eq!(counted("test shell::tests::x ... 5 passed; ok"), Count::default());
    }

    #[test]
    fn a_run_without_a_test_is_a_failure() {
        let mut count = Count::default();
        let error = run_tests(Command::new("echo").arg("test result: ok. 0 passed; 0 failed;"), &mut count);
        assert!(error.unwrap_err().to_string().ends_with("ran no test"));
        run_tests(Command::new("echo").arg("test result: ok. 1 passed; 0 failed;"), &mut count).unwrap();
        assert_eq!(count, Count { passed: 1, ..Count::default() });
    }

    #[test]
    fn a_failing_command_is_named_with_its_arguments() {
        let error = run(Command::new("false").arg("--why")).unwrap_err();
        assert!(error.to_string().starts_with("false --why failed"), "{error}");
    }
}
