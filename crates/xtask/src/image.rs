//! `cargo xtask image`: the container image, made of nothing but two static programs.
//!
//! Equal sources give equal octets: times are fixed, owners are root, the paths of this machine are kept out.

mod archive;
mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::metadata::Metadata;
use crate::packages::{self, GCC_ARM64, LIBC_ARM64, MUSL, Package};
use crate::shell::{self, cargo, workspace};
use archive::{Image, archive};
use program::require_static;

/// The image's name without its tag, which is the version.
pub(crate) const REPOSITORY: &str = "ghcr.io/muslin-net/muslin";
/// What is in it, under `/usr/bin`.
const PROGRAMS: [&str; 2] = ["muslin", "muslin-cni"];
/// The profile of what is given away.
const GIVEN_AWAY: &str = "image";
/// A larger image is a mistake, in octets and for each architecture.
const LARGEST: usize = 20_000_000;

/// What `cargo xtask image` may be told.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Architecture; may be given several times, the first is what `docker load` takes. Without it, this machine's
    #[arg(long = "arch", value_enum)]
    architectures: Vec<Architecture>,
    /// The file to write. Without it, `image/muslin.tar` below the target folder
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Cargo's profile; `dev` builds faster, for a lab
    #[arg(long, value_name = "NAME", default_value = GIVEN_AWAY)]
    profile: String,
}

/// An architecture that the image is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    /// x86-64
    Amd64,
    /// 64-bit Arm
    Arm64,
}

impl Architecture {
    fn of_this_machine() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 }
    }

    /// As images name it.
    fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// The C compiler that makes what Rust's cryptography has of C and assembler, and links.
    fn compiler(self) -> (&'static [Package], &'static str) {
        match self {
            Self::Arm64 if cfg!(not(target_arch = "aarch64")) => {
                (&[GCC_ARM64, LIBC_ARM64], "aarch64-linux-gnu-gcc")
            }
            Self::Amd64 | Self::Arm64 => (&[MUSL], "musl-gcc"),
        }
    }

    /// Gets what an image for it is built with.
    fn prepare(self) -> Result<()> {
        packages::require(self.compiler().0)?;
        require_target(self.target())
    }

    /// Cargo, with all that it needs to do something for it.
    fn cargo(self, subcommand: &str) -> Result<Command> {
        self.prepare()?;
        let mut command = cargo([subcommand, "--locked", "--target", self.target()]);
        set_compiler(&mut command, self.target(), self.compiler().1);
        Ok(command)
    }
}

/// Gets what an image for this machine is built with.
pub(crate) fn prepare() -> Result<()> {
    Architecture::of_this_machine().prepare()
}

/// Compiles what is in the image for Arm, without making anything of it: types of C differ there, and so may we.
pub(crate) fn check_arm64() -> Result<()> {
    // Of the whole workspace: what runs on this machine while something is compiled is there already.
    let programs = PROGRAMS.iter().flat_map(|program| ["--bin", program]);
    shell::run(Architecture::Arm64.cargo("check")?.arg("--workspace").args(programs))
}

/// What a lab installs: the image, and the very programs that are in it.
pub(crate) struct ForLab {
    /// The archive.
    pub(crate) image: PathBuf,
    /// The program `muslin`; the plugin is beside it.
    pub(crate) muslin: PathBuf,
}

/// Builds the image for this machine, as it is given away but for the optimizer's work.
///
/// A lab asks for what an image from scratch may get wrong: another C library, static linking, the features that the
/// product is built with, the layout of the image. Its tests count packets and time nothing, so they do not ask for
/// speed, and what is not optimized is built in a third of the time. The image that is [given away](given_away) is
/// installed on the second cluster of the tier.
pub(crate) fn for_lab() -> Result<ForLab> {
    let target = Metadata::read()?.target_directory;
    let image = target.join("image/muslin-lab.tar");
    run(&Options { architectures: Vec::new(), output: Some(image.clone()), profile: "dev".to_owned() })?;
    let muslin = target.join(Architecture::of_this_machine().target()).join("debug/muslin");
    Ok(ForLab { image, muslin })
}

/// The image as it is given away.
pub(crate) fn given_away() -> Result<PathBuf> {
    let image = Metadata::read()?.target_directory.join("image/muslin.tar");
    let profile = GIVEN_AWAY.to_owned();
    run(&Options { architectures: Vec::new(), output: Some(image.clone()), profile })?;
    Ok(image)
}

/// The program `muslin` of the image that is given away, which needs no image to run.
pub(crate) fn program_given_away() -> Result<PathBuf> {
    let (target, architecture) = (Metadata::read()?.target_directory, Architecture::of_this_machine());
    build(architecture, GIVEN_AWAY, &target)?;
    Ok(target.join(architecture.target()).join(GIVEN_AWAY).join("muslin"))
}

/// Builds the programs, packs them, and says how large the image is.
pub(crate) fn run(options: &Options) -> Result<()> {
    let here = [Architecture::of_this_machine()];
    let architectures = if options.architectures.is_empty() { &here } else { &*options.architectures };
    let metadata = Metadata::read()?;
    let mut images = Vec::new();
    for &architecture in architectures {
        let programs = build(architecture, &options.profile, &metadata.target_directory)?;
        let image = Image::new(architecture.name(), &programs);
        let size = image.size();
        println!("{REPOSITORY} for {}: {:.1} MB", architecture.name(), megabytes(size));
        for (name, contents) in &programs {
            println!("  {name:<12} {:>5.1} MB", megabytes(contents.len()));
        }
        if size > LARGEST && options.profile == GIVEN_AWAY {
            bail!("the image is larger than {:.0} MB: see what has grown", megabytes(LARGEST));
        }
        images.push(image);
    }
    let output = match &options.output {
        Some(output) => output.clone(),
        None => metadata.target_directory.join("image/muslin.tar"),
    };
    let name = format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"));
    write(&output, &archive(&images, &name, &committed()?)?)?;
    println!("{name} is in {}", output.display());
    Ok(())
}

/// Each program's name and contents.
fn build(
    architecture: Architecture,
    profile: &str,
    target_directory: &Path,
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let mut build = architecture.cargo("build")?;
    build.args(["--package", "muslin", "--bins", "--profile", profile]);
    keep_paths_out(&mut build)?;
    shell::run(&mut build)?;
    // The one profile whose folder has another name.
    let folder =
        target_directory.join(architecture.target()).join(if profile == "dev" { "debug" } else { profile });
    let read = |name| {
        let path = folder.join(name);
        let contents = fs::read(&path).with_context(|| path.display().to_string())?;
        require_static(&contents, architecture).with_context(|| path.display().to_string())?;
        Ok((name, contents))
    };
    PROGRAMS.into_iter().map(read).collect()
}

/// Has rustup fetch the standard library for `target`, where that is how Rust was installed.
fn require_target(target: &str) -> Result<()> {
    let root = shell::read(shell::command("rustc").args(["--print", "sysroot"]))?;
    if Path::new(root.trim()).join("lib/rustlib").join(target).exists() {
        return Ok(());
    }
    shell::run(shell::command("rustup").args(["target", "add", target]))
}

/// Names the compiler for C (as the crate `cc` reads it) and for linking (as Cargo does).
fn set_compiler(build: &mut Command, target: &str, compiler: &str) {
    let underscored = target.replace('-', "_");
    build.env(format!("CC_{underscored}"), compiler);
    build.env(format!("CARGO_TARGET_{}_LINKER", underscored.to_uppercase()), linker(compiler));
}

/// `musl-gcc` would bring start files of its own beside those of Rust's standard library.
fn linker(compiler: &str) -> &str {
    if compiler == "musl-gcc" { "cc" } else { compiler }
}

/// Panics name source files: by crate and path, not by whose home they were built in.
fn keep_paths_out(build: &mut Command) -> Result<()> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir().context("neither CARGO_HOME nor HOME is set")?.join(".cargo"),
    };
    let sources = [(cargo_home.join("registry/src"), "/cargo"), (workspace(), "/muslin")];
    let flags = sources.map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    Ok(())
}

/// When the sources were committed, as RFC 3339 has it in UTC: the time that the image carries.
fn committed() -> Result<String> {
    let mut git = shell::command("git");
    git.args(["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ"]).env("TZ", "UTC");
    Ok(shell::read(&mut git)?.trim().to_owned())
}

fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(path, contents).with_context(|| path.display().to_string())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(octets: usize) -> f64 {
    octets as f64 / 1e6
}
