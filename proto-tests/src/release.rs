//! Where a daemon's programs come from: the system's own packages, or newer ones in a private root.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where a daemon's programs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// The packages that are installed.
    Installed,
    /// Packages of a later suite, unpacked below this folder.
    Later(PathBuf),
}

impl Release {
    /// The newer packages in a group, which `cargo xtask test --tier interop` unpacks.
    ///
    /// # Errors
    /// When they are not there.
    pub fn later(group: &str) -> Result<Self> {
        let folder = match std::env::var_os("MUSLIN_LATER_DAEMONS") {
            Some(folder) => PathBuf::from(folder),
            None => std::env::current_exe()?.ancestors().nth(3).context("the target folder")?.join("daemons"),
        };
        let root = folder.join(group);
        ensure!(
            root.join("usr").is_dir(),
            "there is no {}: run `cargo xtask test --tier interop`",
            root.display()
        );
        Ok(Self::Later(root))
    }

    /// A program of it. A newer one sees its own `/usr` and nothing else that is different, so that it finds its own
    /// libraries, modules and loader where it was built to look for them.
    pub fn command(&self, program: &str) -> Command {
        let Self::Later(root) = self else { return Command::new(program) };
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", r#"mount --bind "$0" /usr && exec "$@""#]);
        command.arg(root.join("usr")).arg(program);
        command
    }

    /// The first of the programs that it has.
    pub fn first<'a>(&self, programs: &[&'a str]) -> &'a str {
        let there = |program: &&&str| match self {
            Self::Installed => Path::new(program).exists(),
            Self::Later(root) => root.join(program.trim_start_matches('/')).exists(),
        };
        programs.iter().find(there).or(programs.first()).copied().unwrap_or_default()
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed => "installed",
            Self::Later(_) => "later",
        })
    }
}
