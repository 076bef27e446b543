//! What takes minutes to build and needs nothing of the machine but its processor is begun ahead of the tier that wants
//! it, and gets the time in which the tiers before wait for timers and daemons.
//!
//! ```text
//! xtask test ── setpriv: ends with it ── unshare: takes all along ── chrt: only idle time ── xtask ahead ── go, cargo
//! ```
//! Whoever wants it waits for it, and from then on it has as much of the processor as anybody.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{Tier, containerlab};
use crate::image;
use crate::metadata::Metadata;
use crate::shell::{self, cargo};

/// Builds the programs of Kubernetes; `xtask` itself does not depend on the lab, for the sake of `cargo lab`'s first start.
const KUBERNETES_PROGRAMS: &str = "programs_for_tests";

/// Gives up every claim to the processor, for the scheduler with groups by session and for the one without, and becomes
/// the command.
const IDLE: &str = "echo 19 2>/dev/null >/proc/self/autogroup; exec chrt --idle 0 \"$@\"";

/// What is built ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Product {
    /// The program, a Go module.
    Containerlab,
    /// The programs of Kubernetes and its own tests, Go modules.
    Kubernetes,
    /// The image that is given away, of which the linking alone takes minutes.
    Image,
}

/// What the part in the background is told.
#[derive(clap::Args)]
pub(crate) struct Build {
    #[arg(value_enum)]
    product: Product,
}

impl Build {
    /// Builds it; nothing if it is there.
    pub(crate) fn run(&self) -> Result<()> {
        let start = Instant::now();
        match self.product {
            Product::Containerlab => drop(containerlab::program::require()?),
            Product::Kubernetes => {
                let examples = Metadata::read()?.target_directory.join("debug/examples");
                shell::run(&mut Command::new(examples.join(KUBERNETES_PROGRAMS)))?;
            }
            Product::Image => drop(image::given_away()?),
        }
        println!("built in {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    }
}

impl Product {
    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn wanted_by(self) -> Tier {
        match self {
            Self::Containerlab => Tier::Containerlab,
            Self::Kubernetes | Self::Image => Tier::Kubernetes,
        }
    }

    /// Does what others would have to wait for, were it done in idle time: Cargo and apt-get hold locks.
    fn prepare(self) -> Result<()> {
        match self {
            Self::Containerlab => Ok(()),
            Self::Kubernetes => {
                shell::run(&mut cargo(["build", "--workspace", "--locked", "--example", KUBERNETES_PROGRAMS]))
            }
            Self::Image => image::prepare(),
        }
    }
}

/// What is being built. With it, all of that ends.
#[derive(Default)]
pub(super) struct Ahead {
    begun: Vec<Begun>,
}

impl Ahead {
    /// Begins with all that tiers to come want, unless that was done.
    pub(super) fn begin(&mut self, tiers: &[Tier]) -> Result<()> {
        // These tiers need root themselves. Anybody else could not give a process back what it gave up.
        if !self.begun.is_empty() || !shell::is_root() {
            return Ok(());
        }
        let folder = Metadata::read()?.target_directory.join("ahead");
        let wanted = Product::value_variants().iter().filter(|product| tiers.contains(&product.wanted_by()));
        for &product in wanted {
            product.prepare()?;
            let mut build = Command::new(std::env::current_exe()?);
            build.arg("ahead").arg(product.name());
            self.begun.push(Begun::start(product, &build, &folder)?);
        }
        Ok(())
    }

    /// Gives what a tier wants as much of the processor as others have.
    pub(super) fn hurry(&mut self, tier: Tier) -> Result<()> {
        self.wanted_by(tier).try_for_each(|begun| no_longer_idle(&mut begun.process))
    }

    /// Waits for all that a tier wants, and that was begun; the rest it has to build itself.
    pub(super) fn wait(&mut self, tier: Tier) -> Result<()> {
        self.hurry(tier)?;
        self.wanted_by(tier).try_for_each(Begun::wait)
    }

    fn wanted_by(&mut self, tier: Tier) -> impl Iterator<Item = &mut Begun> {
        self.begun.iter_mut().filter(move |begun| begun.product.wanted_by() == tier)
    }
}

struct Begun {
    product: Product,
    process: Child,
    log: PathBuf,
    at: Instant,
}

impl Begun {
    /// Starts a command that builds it. What is said goes to a file of the folder.
    fn start(product: Product, build: &Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{}.log", product.name()));
        let temporary = folder.join(product.name());
        // Of a run that was killed, perhaps.
        if temporary.exists() {
            fs::remove_dir_all(&temporary).with_context(|| temporary.display().to_string())?;
        }
        fs::create_dir_all(&temporary).with_context(|| temporary.display().to_string())?;
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let mut process = idle(build);
        process.env("TMPDIR", &temporary).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let process = process.spawn().context("setpriv of util-linux could not be started")?;
        println!("{} is built in idle time: see {}", product.name(), log.display());
        Ok(Self { product, process, log, at: Instant::now() })
    }

    fn wait(&mut self) -> Result<()> {
        let (name, log, start) = (self.product.name(), self.log.display(), Instant::now());
        let status = self.process.wait()?;
        let said = fs::read_to_string(&self.log).with_context(|| log.to_string())?;
        if !status.success() {
            eprintln!("{said}");
            bail!("{name} could not be built ({status}): see {log}");
        }
        let (ahead, waited) = ((start - self.at).as_secs_f64(), start.elapsed().as_secs_f64());
        let built = said.lines().last().unwrap_or_default();
        println!("{name}: {built}, begun {ahead:.1} s ago, waited for {waited:.1} s");
        Ok(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The command, as one that only runs when nothing else wants to, and that ends with this process and with all that it
/// has started.
fn idle(inner: &Command) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command.args(["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"]);
    // A session of its own, and with it a group of its own for the scheduler.
    command.args(["setsid", "sh", "-c", IDLE, "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    // Ctrl-C is for this process, with which it ends.
    command.process_group(0);
    command
}

/// Gives all processes of a command the place that others have, unless it is over.
fn no_longer_idle(process: &mut Child) -> Result<()> {
    let namespace = format!("/proc/{}/ns/pid_for_children", process.id());
    while process.try_wait()?.is_none() {
        // Not there any more: it has just ended.
        let Ok(namespace) = fs::read_link(&namespace) else { return Ok(()) };
        let idle = idle_within(&namespace)?;
        if idle.is_empty() {
            return Ok(());
        }
        for process in idle {
            // Many of them live shorter than this takes. What they have started meanwhile is found in the next round.
            drop(fs::write(process.join("autogroup"), "0"));
            let id = process.file_name().unwrap_or_default();
            let mut chrt = Command::new("chrt");
            chrt.args(["--all-tasks", "--other", "--pid", "0"]).arg(id);
            chrt.stderr(Stdio::null()).status().context("chrt of util-linux could not be started")?;
        }
    }
    Ok(())
}

/// Processes of a namespace that have a thread that runs in idle time only.
fn idle_within(namespace: &Path) -> Result<Vec<PathBuf>> {
    let processes = fs::read_dir("/proc")?.filter_map(|entry| Some(entry.ok()?.path()));
    let within = processes
        .filter(|process| fs::read_link(process.join("ns/pid")).is_ok_and(|found| found == namespace));
    Ok(within.filter(|process| threads(process).any(|thread| is_idle(&thread))).collect())
}

fn threads(process: &Path) -> impl Iterator<Item = PathBuf> {
    let tasks = fs::read_dir(process.join("task"));
    tasks.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

/// proc(5): `policy`, the 41st field of `stat`. One that has ended wants nothing.
fn is_idle(thread: &Path) -> bool {
    const SCHED_IDLE: &str = "5";
    let stat = fs::read_to_string(thread.join("stat")).unwrap_or_default();
    // The name of the program, the second field, may have blanks.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
    let (state, policy) = (fields.split_whitespace().next(), fields.split_whitespace().nth(41 - 3));
    policy == Some(SCHED_IDLE) && state != Some("Z")
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead, BufReader, Read, Write};
    use std::process::ChildStdout;

    use super::*;

    /// A shell that has started another process, and what both would write to.
    fn running() -> (Child, BufReader<ChildStdout>) {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & echo started; wait"]);
        let mut process = idle(&shell).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        (process, output)
    }

    /// Returns when nobody is left who could write.
    fn await_the_end_of_all(mut output: impl Read) {
        output.read_to_end(&mut Vec::new()).unwrap();
    }

    fn is_root() -> bool {
        if !shell::is_root() {
            // Past the harness, which would keep it to itself.
            io::stdout().write_all(b"SKIPPED: nothing is built ahead but by root\n").unwrap();
        }
        shell::is_root()
    }

    #[test]
    fn all_that_was_started_is_idle_until_it_is_waited_for_and_ends_with_it() {
        if !is_root() {
            return;
        }
        let (mut process, output) = running();
        let namespace = fs::read_link(format!("/proc/{}/ns/pid_for_children", process.id())).unwrap();
        assert_eq!(idle_within(&namespace).unwrap().len(), 2, "the shell and what it started");
        no_longer_idle(&mut process).unwrap();
        assert_eq!(idle_within(&namespace).unwrap(), Vec::<PathBuf>::new());
        process.kill().unwrap();
        process.wait().unwrap();
        await_the_end_of_all(output);
    }

    #[test]
    fn all_that_was_started_ends_with_whoever_started_it() {
        if !is_root() {
            return;
        }
        // For the kernel that is a thread.
        let (mut process, output) = std::thread::spawn(running).join().unwrap();
        await_the_end_of_all(output);
        process.wait().unwrap();
    }

    #[test]
    fn what_could_not_be_built_fails_those_tiers_that_want_it_and_names_its_log() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let begun = |product, script| {
            let mut build = Command::new("sh");
            Begun::start(product, build.args(["-c", script]), folder.path()).unwrap()
        };
        let begun = vec![
            begun(Product::Containerlab, "touch $TMPDIR/made; echo built in no time"),
            begun(Product::Kubernetes, "echo no Go; exit 3"),
        ];
        let mut ahead = Ahead { begun };
        ahead.wait(Tier::Lab).unwrap();
        ahead.wait(Tier::Containerlab).unwrap();
        assert!(folder.path().join("containerlab/made").exists());
        let error = ahead.wait(Tier::Kubernetes).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("kubernetes.log"), "{error}");
        assert_eq!(fs::read_to_string(folder.path().join("kubernetes.log")).unwrap(), "no Go\n");
    }
}
