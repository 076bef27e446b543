//! `muslin lab --kubernetes`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use muslin_lab::containerlab::Then;
use muslin_lab::standing::{self, Lock};
use muslin_lab::{KubernetesRequest, KubernetesTopology, LabError, Output, Progress, Topology};
use muslin_netns::{Entered, Inside, become_root_in_user_namespace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cgroup::Cgroups;
use crate::install;
use crate::lab::{self, KubernetesLab, KubernetesOptions, Times};
use crate::node::Node;
use crate::programs::{self, KUBERNETES, Programs};
use crate::scenario::Scenario;
use crate::shape::ClusterShape;

/// Runs `muslin lab --kubernetes`: 0 if the cluster came up as it should, 1 if not, 2 if something is missing.
///
/// Call it before any thread is started: it enters namespaces and runs the program again.
pub fn run(request: &KubernetesRequest) -> ExitCode {
    build(request).unwrap_or_else(|error| muslin_lab::complain(&error))
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

impl Report {
    fn of(lab: &KubernetesLab) -> Result<Self, LabError> {
        let nodes = lab.kubectl().run(&["get", "nodes", "--output", "name"])?;
        Ok(Self {
            version: 1,
            kubernetes: KUBERNETES,
            holds: true,
            times: lab.times().clone(),
            nodes: nodes.lines().map(|line| line.trim_start_matches("node/").to_owned()).collect(),
        })
    }
}

fn build(request: &KubernetesRequest) -> Result<ExitCode, LabError> {
    let then = if request.keep { Then::Keep } else { Then::Verify };
    // Before anything is entered: a mistake in a file needs no privileges to be told.
    let (cluster, wiring, router, scenario) = match &request.topology {
        KubernetesTopology::Named { wiring, nodes, router, families } => {
            (ClusterShape::of(*nodes, *families), *wiring, Some(*router), None)
        }
        KubernetesTopology::File(path) => {
            let scenario = Scenario::read(path, then)?;
            // Its own routers and links are beside those by which nodes reach the API.
            (scenario.cluster().into(), Topology::Tor, None, Some(scenario))
        }
    };
    programs::check()?;
    let inside = match become_root_in_user_namespace() {
        Ok(Entered::Inside(inside)) => inside,
        Ok(Entered::Finished(code)) => return Ok(code),
        Err(error) => return Err(LabError::Missing(error.to_string())),
    };
    let options = KubernetesOptions {
        cluster,
        wiring,
        router,
        proxy_mode: request.proxy_mode,
        programs: None,
        image: None,
        // In memory and private to this process tree: whatever happens, it goes with it.
        folder: PathBuf::from("/run"),
    };
    let chart = install::chart()?;
    // A script that looks at the lab goes in as anybody does.
    let lock = (request.keep || scenario.is_some()).then(Lock::take).transpose()?;
    let lock = Arc::new(Mutex::new(lock));
    let muslin = lab::muslin(&options)?;
    let programs = Programs::prepare(Progress::Shown)?;
    let cgroups = Cgroups::create()?;
    let ending = Ending { cgroups: cgroups.clone(), keep: request.keep, lock: lock.clone() };
    ending.upon_signals(&inside)?;
    let mut lab = KubernetesLab::start_with(&options, Progress::Shown, &muslin, programs, &cgroups)?;
    let holds = match &scenario {
        None => {
            lab.install(&chart)?;
            print(&Report::of(&lab)?, request.output).map_err(LabError::system("print the result"))?;
            true
        }
        Some(scenario) => {
            scenario.install(&mut lab, Progress::Shown)?;
            standing::record(lab.places())?;
            let holds = request.keep || scenario.verify(&lab)?;
            lab.check()?;
            holds
        }
    };
    if request.keep {
        return stand(&lab, inside, holds);
    }
    // After the processes are gone: whoever wants the next lab waits for it.
    drop(lab);
    lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    Ok(exit_code(holds))
}

/// What is left to do when the lab is told to end: the kernel ends its processes, but keeps control groups.
struct Ending {
    cgroups: Cgroups,
    keep: bool,
    lock: Arc<Mutex<Option<Lock>>>,
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
                self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
                std::process::exit(if self.keep { 0 } else { 128 + signal });
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
    let node = running.nodes().first().map(Node::name).unwrap_or_default();
    Progress::Shown.say(&format!(
        "The cluster stands. Look around:
  {lab} shell cp -- kubectl get nodes     the API, with KUBECONFIG={}
  {lab} shell {node:<27} a shell on a node or beside it; without a name, they are listed
  {lab} down                              end it",
        running.kubectl().kubeconfig().display()
    ));
    inside.detach(holds)?;
    loop {
        // The thread that waits for signals ends the process.
        thread::park();
    }
}
