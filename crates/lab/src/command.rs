//! `muslin lab`: isolates itself, builds, proves, tells, and leaves nothing or a standing lab.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use muslin_netns::{Entered, Inside, become_root_in_user_namespace};

use crate::LabError;
use crate::args::{BuildArgs, LabArgs, LabCommand, Output, Request};
use crate::containerlab::{self, Then};
use crate::lab::{AfterProof, Lab};
use crate::progress::Progress;
use crate::report::{Report, Terminal};
use crate::standing::{self, Lock};

/// Something is asked for that cannot be had: wrong usage, a missing program, no privileges.
const MISSING: u8 = 2;

/// Runs `muslin lab`: 0 if every proof holds, 1 if one fails, 2 if something is missing.
///
/// Call it before any thread is started: it enters namespaces and, to build a lab, runs the program again.
pub fn run(args: LabArgs) -> ExitCode {
    let done = match args.command {
        Some(LabCommand::Shell { node, command }) => standing::shell(node.as_deref(), &command),
        Some(LabCommand::Down) => standing::down().map(|()| ExitCode::SUCCESS),
        None => build(&args.build),
    };
    done.unwrap_or_else(|error| complain(&error))
}

/// Says what is wrong; the exit code for it: 2 if something is missing, else 1.
pub fn complain(error: &LabError) -> ExitCode {
    // Nobody to tell if standard error is gone.
    drop(writeln!(io::stderr(), "error: {error}"));
    match error {
        LabError::Missing(_) => ExitCode::from(MISSING),
        _ => ExitCode::FAILURE,
    }
}

fn build(args: &BuildArgs) -> Result<ExitCode, LabError> {
    let mut options = match args.request()? {
        Request::Lab(options) => options,
        Request::File(path) => {
            return containerlab::run(&path, if args.keep { Then::Keep } else { Then::Verify });
        }
    };
    match become_root_in_user_namespace() {
        Ok(Entered::Inside(inside)) => {
            // Empty and private to this process tree: whatever happens, it goes with it.
            options.folder = PathBuf::from("/run");
            let lock = args.keep.then(Lock::take).transpose()?;
            let mut lab = Lab::start(options, Progress::Shown)?;
            let after = if args.keep { AfterProof::Restore } else { AfterProof::Leave };
            let report = lab.prove(after)?;
            print(&report, args.output).map_err(LabError::system("print the result"))?;
            match lock {
                Some(lock) => stand(lab, inside, lock, report.holds),
                None => Ok(exit_code(report.holds)),
            }
        }
        Ok(Entered::Finished(code)) => Ok(code),
        Err(error) => Err(LabError::Missing(error.to_string())),
    }
}

fn exit_code(holds: bool) -> ExitCode {
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report, output: Output) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match output {
        Output::Table => write!(stdout, "{}", report.table(Terminal::detect())),
        Output::Json => {
            serde_json::to_writer_pretty(&mut stdout, report)?;
            writeln!(stdout)
        }
    }
}

/// Goes to the background and stays until told to end.
fn stand(running: Lab, inside: Inside, lock: Lock, holds: bool) -> Result<ExitCode, LabError> {
    standing::record(running.places())?;
    // `cargo lab` is the alias of those who have no muslin in their path.
    let lab = if std::env::var_os("CARGO").is_some() { "cargo lab" } else { "muslin lab" };
    Progress::Shown.say(&format!(
        "The lab stands. Look around:
  {lab} shell n1 -- muslin status     what a node says (also: peers, routes, explain PREFIX)
  {lab} shell n1-pod1                 a shell in a pod, a node, a router or `outside`
  {lab} shell                         their names
  {lab} down                          end it"
    ));
    running.until_told_to_end(|| inside.detach(holds))?;
    drop(running);
    // After the processes are gone: `muslin lab down` waits for it.
    drop(lock);
    Ok(ExitCode::SUCCESS)
}
