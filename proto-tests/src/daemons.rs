//! The daemons that we know how to run.

#![allow(clippy::format_push_string, reason = "configurations are put together line by line, to be read")]

pub(crate) mod bird;
mod exabgp;
pub mod frr;
pub(crate) mod gobgp;
pub mod muslin;
pub(crate) mod openbgpd;

use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};
use muslin_netns::Namespace;

use crate::daemon::{Daemon, ask};
use crate::release::Release;
use crate::setup::Setup;

/// A daemon by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// BIRD Internet Routing Daemon, version 2.
    Bird,
    /// BIRD 3, which has threads and is a package of its own.
    Bird3,
    /// ExaBGP.
    ExaBgp,
    /// Free Range Routing.
    Frr,
    /// GoBGP.
    GoBgp,
    /// OpenBGPD.
    OpenBgpd,
}

/// A daemon of one release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which daemon.
    pub kind: Kind,
    /// Which release of it.
    pub release: Release,
}

impl Kind {
    /// Those of which there is an installed package.
    pub const INSTALLED: [Self; 5] = [Self::Bird, Self::ExaBgp, Self::Frr, Self::GoBgp, Self::OpenBgpd];
    /// Those of which there is a package in a later suite.
    pub const LATER: [Self; 6] =
        [Self::Bird, Self::Bird3, Self::ExaBgp, Self::Frr, Self::GoBgp, Self::OpenBgpd];

    /// Its name as its authors write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bird | Self::Bird3 => "BIRD",
            Self::ExaBgp => "ExaBGP",
            Self::Frr => "FRR",
            Self::GoBgp => "GoBGP",
            Self::OpenBgpd => "OpenBGPD",
        }
    }

    /// The installed package.
    pub fn installed(self) -> Candidate {
        Candidate { kind: self, release: Release::Installed }
    }

    /// The package of a later suite.
    ///
    /// # Errors
    /// When it was not unpacked.
    pub fn later(self) -> Result<Candidate> {
        let group = if self == Self::Bird3 { "bird3" } else { "main" };
        Ok(Candidate { kind: self, release: Release::later(group)? })
    }
}

impl Candidate {
    /// All of them: what is installed and what is newer, side by side.
    ///
    /// # Errors
    /// When the newer ones were not unpacked.
    pub fn all() -> Result<Vec<Self>> {
        let mut all: Vec<Self> = Kind::INSTALLED.map(Kind::installed).into();
        for kind in Kind::LATER {
            all.push(kind.later()?);
        }
        all.sort_by_key(|candidate| candidate.kind);
        Ok(all)
    }

    /// Its version.
    ///
    /// # Errors
    /// When it is not there, or tells no version.
    pub fn version(&self) -> Result<String> {
        let exabgp = self.release.first(&exabgp::PROGRAMS);
        let (program, option) = match (self.kind, &self.release) {
            (Kind::Bird | Kind::Bird3, _) => (bird::PROGRAM, "--version"),
            (Kind::ExaBgp, Release::Installed) => (exabgp, "--version"),
            (Kind::ExaBgp, Release::Later(_)) => (exabgp, "version"),
            (Kind::Frr, _) => (frr::PROGRAM, "--version"),
            (Kind::GoBgp, _) => (gobgp::PROGRAM, "--version"),
            (Kind::OpenBgpd, _) => (openbgpd::PROGRAM, "-V"),
        };
        let mut command = self.release.command(program);
        let output = command.arg(option).output().with_context(|| format!("{program} {option}"))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        said.split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
            .with_context(|| format!("{program} {option} printed {said:?}"))
    }

    /// Starts it in a namespace.
    ///
    /// # Errors
    /// When it does not start, with its log; [`Refused`](crate::daemon::Refused) when it does not understand what it
    /// is to be.
    pub fn start(&self, namespace: &Namespace, setup: &Setup) -> Result<Box<dyn Daemon>> {
        let release = &self.release;
        Ok(match self.kind {
            Kind::Bird => Box::new(bird::Bird::start(bird::Version::Two, release, namespace, setup)?),
            Kind::Bird3 => Box::new(bird::Bird::start(bird::Version::Three, release, namespace, setup)?),
            Kind::ExaBgp => Box::new(exabgp::ExaBgp::start(release, namespace, setup)?),
            Kind::Frr => Box::new(frr::Frr::start(release, namespace, setup)?),
            Kind::GoBgp => Box::new(gobgp::GoBgp::start(release, namespace, setup)?),
            Kind::OpenBgpd => Box::new(openbgpd::OpenBgpd::start(release, namespace, setup)?),
        })
    }
}

/// Runs a client and reads its answer as JSON.
fn ask_json(command: &mut Command) -> Result<serde_json::Value> {
    let answer = ask(command)?;
    serde_json::from_str(&answer).with_context(|| format!("{command:?} printed {answer:?}"))
}

/// An address without the interface that it is on.
fn unscoped(address: &str) -> &str {
    address.split_once('%').map_or(address, |(address, _)| address)
}

/// `a:b`, as most daemons print a standard community.
fn community(text: &str) -> Result<(u16, u16)> {
    let (high, low) = text.split_once(':').with_context(|| format!("community {text:?}"))?;
    Ok((high.parse()?, low.parse()?))
}

/// `a:b:c`, as most daemons print a large community.
fn large_community(text: &str) -> Result<(u32, u32, u32)> {
    let parts = text.split(':').map(|part| Ok(part.parse()?)).collect::<Result<Vec<u32>>>();
    match *parts.with_context(|| format!("large community {text:?}"))? {
        [a, b, c] => Ok((a, b, c)),
        _ => bail!("large community {text:?}"),
    }
}

/// Words of one kind, joined by spaces: `65001:1 65001:2`.
fn joined<T>(
    items: impl IntoIterator<Item = T>,
    write: impl Fn(&mut String, T) -> std::fmt::Result,
) -> String {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a String cannot fail.
        let _ = write(&mut text, item);
    }
    text
}

/// Standard communities as `a:b a:b`.
fn communities_text<'a>(items: impl IntoIterator<Item = &'a (u16, u16)>) -> String {
    joined(items, |text, (a, b)| write!(text, "{a}:{b}"))
}

/// Large communities as `a:b:c a:b:c`.
fn large_communities_text<'a>(items: impl IntoIterator<Item = &'a (u32, u32, u32)>) -> String {
    joined(items, |text, (a, b, c)| write!(text, "{a}:{b}:{c}"))
}

/// An AS_PATH of numbers separated by spaces.
fn as_path(text: &str) -> Result<Vec<u32>> {
    text.split_whitespace().map(|word| word.parse().with_context(|| format!("AS_PATH {text:?}"))).collect()
}
