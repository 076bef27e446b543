//! `muslin lab --kubernetes`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use muslin_lab::standing::{self, Lock};
use muslin_lab::{KubernetesRequest, LabError, Output, Progress};
use muslin_netns::{Entered, Inside, become_root_in_user_namespace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cgroup::Cgroups;
use crate::install;
use crate::lab::{self, KubernetesLab, KubernetesOptions, Times};
use crate::programs::{self, KUBERNETES, Programs};

/// Something is asked for that cannot be had.
const MISSING: u8 = 2;

/// Runs `muslin lab --kubernetes`: 0 if the cluster came up as it should, 1 if not, 2 if something is missing.
///
/// Call it before any thread is started: it enters namespaces and runs the program again.
pub fn run(request: KubernetesRequest) -> ExitCode {
    build(request).unwrap_or_else(|error| {
        // Nobody to tell if standard error is gone.
        drop(writeln!(io::stderr(), "error: {error}"));
        match error {
            LabError::Missing(_) => ExitCode::from(MISSING),
            _ => ExitCode::FAILURE,
        }
    })
}

/// What is found out about a cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: u32,
    kubernetes: &'static str,
    holds: bool,
    times: Times,
    nodes: Vec<String>,
}

fn build(request: KubernetesRequest) -> Result<ExitCode, LabError> {
    programs::check()?;
    let inside = match become_root_in_user_namespace() {
        Ok(Entered::Inside(inside)) => inside,
        Ok(Entered::Finished(code)) => return Ok(code),
        Err(error) => return Err(LabError::Missing(error.to_string())),
    };
    let KubernetesRequest { nodes, router, proxy_mode, output, keep } = request;
    let options = KubernetesOptions {
        nodes,
        router,
        proxy_mode,
        programs: None,
        image: None,
        // In memory and private to this process tree: whatever happens, it goes with it.
        folder: PathBuf::from("/run"),
    };
    let chart = install::chart()?;
    let lock = keep.then(Lock::take).transpose()?;
    let muslin = lab::muslin(&options)?;
    let programs = Programs::prepare(Progress::Shown)?;
    let cgroups = Cgroups::create()?;
    let ending = Ending { cgroups: cgroups.clone(), lock };
    ending.upon_signals(&inside)?;
    let mut lab = KubernetesLab::start_with(&options, Progress::Shown, &muslin, programs, cgroups)?;
    lab.install(&chart)?;
    let nodes = lab.kubectl().run(&["get", "nodes", "--output", "name"])?;
    let report = Report {
        version: 1,
        kubernetes: KUBERNETES,
        holds: true,
        times: lab.times().clone(),
        nodes: nodes.lines().map(|line| line.trim_start_matches("node/").to_owned()).collect(),
    };
    print(&report, output).map_err(LabError::system("print the result"))?;
    if keep { stand(&lab, inside, report.holds) } else { Ok(exit_code(report.holds)) }
}

/// What is left to do when the lab is told to end: the kernel ends its processes, but keeps control groups.
struct Ending {
    cgroups: Cgroups,
    lock: Option<Lock>,
}

impl Ending {
    /// Ends everything when one of the usual signals comes, whatever is being done then.
    fn upon_signals(self, _proof: &Inside) -> Result<(), LabError> {
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(LabError::system("wait for signals"))?;
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // All processes of this process's own namespace but itself and process 1.
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
                self.cgroups.remove();
                let standing = self.lock.is_some();
                drop(self.lock);
                std::process::exit(if standing { 0 } else { 128 + signal });
            }
        });
        Ok(())
    }
}

fn exit_code(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report, output: Output) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match output {
        Output::Table => {
            let Report { kubernetes, nodes, times, .. } = report;
            let seconds = times.dns_available_seconds.unwrap_or(times.nodes_known_seconds);
            writeln!(stdout, "Kubernetes {kubernetes} with nodes {} in {seconds:.1} s", nodes.join(" "))
        }
        Output::Json => {
            serde_json::to_writer_pretty(&mut stdout, report)?;
            writeln!(stdout)
        }
    }
}

/// Goes to the background and stays until told to end.
fn stand(running: &KubernetesLab, inside: Inside, holds: bool) -> Result<ExitCode, LabError> {
    standing::record(running.places())?;
    // `cargo lab` is the alias of those who have no muslin in their path.
    let lab = if std::env::var_os("CARGO").is_some() { "cargo lab" } else { "muslin lab" };
    Progress::Shown.say(&format!(
        "The cluster stands. Look around:
  {lab} shell cp -- kubectl get nodes     the API, with KUBECONFIG={}
  {lab} shell n1                          a shell on a node, the router `tor` or `outside`
  {lab} down                              end it",
        running.kubectl().kubeconfig().display()
    ));
    inside.detach(holds)?;
    loop {
        // The thread that waits for signals ends the process.
        thread::park();
    }
}
