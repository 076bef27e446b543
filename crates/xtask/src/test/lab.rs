//! The lab tier: the main job in each shape, as root and as anybody, and proof that its proof can fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::lab;
use crate::packages::{self, BIRD, FRR};
use crate::shell::{self, Count, cargo};

const TOPOLOGIES: [&str; 5] = ["tor", "mesh", "dual-tor", "reflector", "unnumbered"];
const ROUTERS: [&str; 3] = ["muslin", "bird", "frr"];
const TAMPERINGS: [&str; 3] = ["route", "rule", "source"];

/// Who runs the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Root,
    /// The user `nobody`, who has no right but those that the kernel gives to everybody.
    Nobody,
}

/// What the lab says of itself with `--output json`.
#[derive(Deserialize)]
struct Report {
    holds: bool,
    proofs: Vec<Proof>,
}

#[derive(Deserialize)]
struct Proof {
    id: String,
    ipv4: Tally,
    ipv6: Tally,
}

#[derive(Deserialize)]
struct Tally {
    passed: usize,
    total: usize,
}

/// Runs every shape of the lab and every tampering with it. Each run counts as a test.
pub(super) fn run(count: &mut Count) -> Result<()> {
    packages::require(&[BIRD, FRR])?;
    let lab = Lab::install(&lab::build()?)?;
    let mut failures = Vec::new();
    let mut record = |what: String, result: Result<()>| match result {
        Ok(()) => count.passed += 1,
        Err(error) => {
            count.failed += 1;
            eprintln!("FAILED {what}: {error:#}");
            failures.push(what);
        }
    };
    record("cargo lab".to_owned(), by_alias());
    let users: &[User] = if shell::is_root() { &[User::Root, User::Nobody] } else { &[User::Nobody] };
    for &user in users {
        for topology in TOPOLOGIES {
            for router in ROUTERS {
                let shape = ["--topology", topology, "--router", router];
                let result = match (user, router) {
                    (User::Nobody, "frr") => lab.refuses(user, &shape),
                    _ => lab.passes(user, &shape),
                };
                record(format!("lab {} as {user:?}", shape.join(" ")), result);
            }
        }
    }
    for tampering in TAMPERINGS {
        record(format!("lab --tamper {tampering}"), lab.notices(tampering));
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(())
}

/// The README's own words have to work.
fn by_alias() -> Result<()> {
    let mut command = cargo(["lab", "--output", "json"]);
    let output = command.output().with_context(|| format!("{command:?}"))?;
    proven(&output).map(|_report| ())
}

/// The report of a run that had to prove everything, and did.
fn proven(output: &Output) -> Result<Report> {
    let report = report(output)?;
    if !output.status.success() || !report.holds {
        bail!("{}: {}", output.status, report.failed());
    }
    if report.parts() == 0 {
        bail!("it proved nothing");
    }
    Ok(report)
}

/// The binaries at a place where everybody may run them.
struct Lab {
    folder: TempDir,
}

impl Lab {
    fn install(muslin: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("muslin-lab-tier-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        for name in ["muslin", "muslin-cni"] {
            let built = muslin.with_file_name(name);
            fs::copy(&built, folder.path().join(name)).with_context(|| built.display().to_string())?;
        }
        Ok(Self { folder })
    }

    /// A run that has to prove everything.
    fn passes(&self, user: User, shape: &[&str]) -> Result<()> {
        let start = Instant::now();
        let report = proven(&self.output(user, shape)?)?;
        let (shape, seconds) = (shape.join(" "), start.elapsed().as_secs_f64());
        println!(
            "{user:?} {shape}: {} proofs of {} parts in {seconds:.1} s",
            report.proofs.len(),
            report.parts()
        );
        Ok(())
    }

    /// A run for which the user lacks something: one sentence and exit code 2.
    fn refuses(&self, user: User, shape: &[&str]) -> Result<()> {
        let output = self.output(user, shape)?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(2) || said.trim().is_empty() {
            bail!("exit code 2 and a reason expected, found {} and {said:?}", output.status);
        }
        println!("{user:?} {}: refused: {}", shape.join(" "), said.trim());
        Ok(())
    }

    /// A run that was tampered with: it has to fail, and to say where.
    fn notices(&self, tampering: &str) -> Result<()> {
        let user = if shell::is_root() { User::Root } else { User::Nobody };
        let output = self.output(user, &["--tamper", tampering])?;
        let report = report(&output)?;
        if output.status.code() != Some(1) || report.holds || report.failed().is_empty() {
            bail!("exit code 1 and a failed proof expected, found {}", output.status);
        }
        println!("tampered {tampering}: noticed by {}", report.failed());
        Ok(())
    }

    fn output(&self, user: User, shape: &[&str]) -> Result<Output> {
        let muslin = self.folder.path().join("muslin");
        let mut command = match user {
            User::Nobody if shell::is_root() => {
                let mut command = Command::new("setpriv");
                command.args([
                    "--reuid=nobody",
                    "--regid=nogroup",
                    "--clear-groups",
                    "--inh-caps=-all",
                    "--",
                ]);
                command.arg(&muslin);
                command
            }
            User::Root | User::Nobody => Command::new(&muslin),
        };
        command.arg("lab").args(shape).args(["--output", "json"]).current_dir("/");
        command.output().with_context(|| format!("{command:?}"))
    }
}

fn report(output: &Output) -> Result<Report> {
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "{} and no report; it printed:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

impl Report {
    /// Names of the proofs that do not hold.
    fn failed(&self) -> String {
        let failed = self.proofs.iter().filter(|proof| !proof.holds()).map(|proof| &*proof.id);
        failed.collect::<Vec<_>>().join(", ")
    }

    /// How many single observations all proofs rest on.
    fn parts(&self) -> usize {
        self.proofs.iter().map(|proof| proof.ipv4.total + proof.ipv6.total).sum()
    }
}

impl Proof {
    fn holds(&self) -> bool {
        let Self { ipv4, ipv6, .. } = self;
        ipv4.total + ipv6.total > 0 && ipv4.passed == ipv4.total && ipv6.passed == ipv6.total
    }
}
