//! The matrix: every feature with every daemon, each a test of its own, and the page that says what came out.
//!
//! A cell is a verdict, and the verdict of this run has to be the one that `docs/interop.json` has, from which
//! `docs/interop.md` is made. `UPDATE=1` writes both anew with what was run, so that no cell says what no test showed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a test harness and speaks as one")]

mod features;
mod hub;
mod limits;
mod page;
mod pair;
mod record;
mod reflection;
mod restart;
mod routes;
mod sessions;
mod surroundings;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use muslin_proto_tests::daemon::Refused;
use muslin_proto_tests::daemons::Candidate;

use features::{FEATURES, Feature};
use record::{Record, Verdict};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let candidates = Candidate::all()?;
    let recorded = Arc::new(Record::read()?);
    let found = Arc::new(Mutex::new(Record::of(&candidates)?));
    let update = std::env::var_os("UPDATE").is_some();
    let mut trials = Vec::new();
    for feature in FEATURES {
        for candidate in &candidates {
            let (candidate, recorded, found) = (candidate.clone(), recorded.clone(), found.clone());
            let column = record::column(&candidate);
            let name = format!("{}::{column}", feature.id);
            trials.push(Trial::test(name, move || {
                let verdict =
                    judge(feature, &candidate).map_err(|error| Failed::from(format!("{error:#}")))?;
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.set(feature.id, &column, verdict);
                if update {
                    Ok(())
                } else {
                    found.agree(&recorded, feature.id, &column).map_err(Failed::from)
                }
            }));
        }
    }
    let conclusion = libtest_mimic::run(arguments, trials);
    if arguments.list {
        return Ok(conclusion.exit_code());
    }
    let found = found.lock().unwrap_or_else(PoisonError::into_inner);
    found.skipped().for_each(|(feature, reason)| println!("SKIPPED: {feature}: {reason}"));
    if update {
        let updated = recorded.updated(&found);
        updated.write()?;
        page::write(&updated)?;
    } else {
        ensure!(
            recorded.is_of(FEATURES),
            "docs/interop.json is of other features: run this test with UPDATE=1"
        );
        page::compare(&recorded)?;
    }
    Ok(conclusion.exit_code())
}

/// Runs one cell. What a daemon refuses itself is a verdict; everything else that goes wrong is a failure.
fn judge(feature: &Feature, candidate: &Candidate) -> Result<Verdict> {
    (feature.scenario)(candidate).or_else(|error| match error.downcast_ref::<Refused>() {
        Some(Refused(evidence)) => Ok(Verdict::Refused { evidence: evidence.clone() }),
        None => Err(error).with_context(|| format!("{} with {candidate:?}", feature.id)),
    })
}
