//! A containerlab topology in plain namespaces: its nodes run the programs of this machine instead of images.
//!
//! `file` reads the subset that is run and refuses the rest by name, `kind` what a cluster in it is; `room` is where a
//! node's programs run: network, mounts and host name of its own; `deploy` wires the rooms, starts the programs and runs
//! the `exec`s. The control plane and the nodes of a cluster are made by the crate `muslin-kubernetes-lab`.

mod deploy;
mod file;
mod image;
mod kind;
mod room;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use muslin_netns::{Entered, Inside, become_root_in_user_namespace};

pub use self::deploy::Deployment;
pub use self::file::TopologyFile;
pub use self::kind::ClusterSpec;
use crate::LabError;
use crate::progress::Progress;
use crate::signals;
use crate::standing::{self, Lock};

/// What a `verify.sh` beside a topology reads, to reach nodes by `muslin lab shell` instead of `docker exec`.
pub const EXEC: &str = "LAB_EXEC";

/// What becomes of the topology once it is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Its `verify.sh` is run, and all of it ends.
    Verify,
    /// It stays in the background.
    Keep,
}

/// Deploys a topology file; 0 if it stands, or if its `verify.sh` is content.
pub(crate) fn run(path: &Path, then: Then) -> Result<ExitCode, LabError> {
    // Before anything is entered: a mistake in the file needs no privileges to be told.
    let topology = TopologyFile::read(path)?;
    if let Some(cluster) = &topology.cluster {
        return Err(LabError::Missing(format!(
            "{} is a Kubernetes cluster, which this makes with --kubernetes",
            cluster.name
        )));
    }
    let verify = verify(&topology, then)?;
    check_machine(&topology)?;
    match become_root_in_user_namespace() {
        Ok(Entered::Inside(inside)) => {
            let lock = Lock::take()?;
            let deployment = Deployment::start(&topology, &BTreeMap::new(), Progress::Shown)?;
            standing::record(deployment.places())?;
            match then {
                Then::Verify => check(&verify, deployment, lock),
                Then::Keep => stand(&verify, deployment, inside, lock),
            }
        }
        Ok(Entered::Finished(code)) => Ok(code),
        Err(error) => Err(LabError::Missing(error.to_string())),
    }
}

/// The script beside a topology that looks whether it is as it should be.
///
/// # Errors
/// [`LabError::Missing`] if it is to be run and there is none.
pub fn verify(topology: &TopologyFile, then: Then) -> Result<PathBuf, LabError> {
    let verify = topology.folder.join("verify.sh");
    if then == Then::Verify && !verify.is_file() {
        return Err(LabError::Missing(format!(
            "there is no {} to check this topology with: leave it standing with --keep",
            verify.display()
        )));
    }
    Ok(verify)
}

/// Looks whether this machine has the programs that the nodes run.
///
/// # Errors
/// [`LabError::Missing`] with the first that it lacks, and the package that has it.
pub fn check_machine(topology: &TopologyFile) -> Result<(), LabError> {
    image::check(topology)
}

/// Runs `verify.sh`, which shows what it finds.
fn check(verify: &Path, mut deployment: Deployment, lock: Lock) -> Result<ExitCode, LabError> {
    let program = std::env::current_exe().map_err(LabError::system("find the own program"))?;
    let mut command = Command::new(verify);
    command.stdin(Stdio::null()).env(EXEC, format!("{} lab shell", program.display()));
    let status = command.status().map_err(LabError::file(verify))?;
    deployment.check()?;
    drop(deployment);
    drop(lock);
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Goes to the background and stays until told to end.
fn stand(verify: &Path, deployment: Deployment, inside: Inside, lock: Lock) -> Result<ExitCode, LabError> {
    let node = deployment.places().next().map(|place| place.name).unwrap_or_default();
    let verify = if verify.is_file() {
        format!("\n  {EXEC}='muslin lab shell' {}", verify.display())
    } else {
        String::new()
    };
    Progress::Shown.say(&format!(
        "The topology stands. Look around:
  muslin lab shell {node:<18} a shell in a node; without a name, they are listed{verify}
  muslin lab down                     end it"
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(LabError::system("start a runtime"))?;
    signals::until_told_to_end(&runtime, || inside.detach(true))?;
    drop(deployment);
    // After the processes are gone: `muslin lab down` waits for it.
    drop(lock);
    Ok(ExitCode::SUCCESS)
}
