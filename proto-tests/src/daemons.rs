//! The daemons that we know how to run.

mod bird;
mod exabgp;
pub(crate) mod frr;
mod gobgp;
pub mod muslin;
mod openbgpd;

use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};
use muslin_netns::Namespace;

use crate::daemon::{Daemon, Setup, ask};

/// A daemon by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// BIRD Internet Routing Daemon.
    Bird,
    /// ExaBGP.
    ExaBgp,
    /// Free Range Routing.
    Frr,
    /// GoBGP.
    GoBgp,
    /// OpenBGPD.
    OpenBgpd,
}

impl Kind {
    /// Every daemon of others.
    pub const ALL: [Self; 5] = [Self::Bird, Self::ExaBgp, Self::Frr, Self::GoBgp, Self::OpenBgpd];

    /// Its name as its authors write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bird => "BIRD",
            Self::ExaBgp => "ExaBGP",
            Self::Frr => "FRR",
            Self::GoBgp => "GoBGP",
            Self::OpenBgpd => "OpenBGPD",
        }
    }

    /// The version that is installed.
    ///
    /// # Errors
    /// When it is not installed, or tells no version.
    pub fn version(self) -> Result<String> {
        let (program, option) = match self {
            Self::Bird => (bird::PROGRAM, "--version"),
            Self::ExaBgp => (exabgp::PROGRAM, "--version"),
            Self::Frr => (frr::PROGRAM, "--version"),
            Self::GoBgp => (gobgp::PROGRAM, "--version"),
            Self::OpenBgpd => (openbgpd::PROGRAM, "-V"),
        };
        let output =
            Command::new(program).arg(option).output().with_context(|| format!("{program} {option}"))?;
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
    /// When it does not start; with its log.
    pub fn start(self, namespace: &Namespace, setup: &Setup) -> Result<Box<dyn Daemon>> {
        Ok(match self {
            Self::Bird => Box::new(bird::Bird::start(namespace, setup)?),
            Self::ExaBgp => Box::new(exabgp::ExaBgp::start(namespace, setup)?),
            Self::Frr => Box::new(frr::Frr::start(namespace, setup)?),
            Self::GoBgp => Box::new(gobgp::GoBgp::start(namespace, setup)?),
            Self::OpenBgpd => Box::new(openbgpd::OpenBgpd::start(namespace, setup)?),
        })
    }
}

/// Runs a client and reads its answer as JSON.
fn ask_json(command: &mut Command) -> Result<serde_json::Value> {
    let answer = ask(command)?;
    serde_json::from_str(&answer).with_context(|| format!("{command:?} printed {answer:?}"))
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
