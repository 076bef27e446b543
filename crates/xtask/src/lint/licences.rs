//! Every dependency's licence is one that `deny.toml` allows.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::metadata::Metadata;
use crate::shell::workspace;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

/// Complains about packages whose licence is not allowed, or not stated.
pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace().join("deny.toml")).context("deny.toml")?;
    let Deny { licenses } = toml::from_str(&text).context("deny.toml")?;
    Ok(metadata
        .foreign()
        .filter_map(|package| {
            let stated = package.license.as_deref().unwrap_or("no licence");
            let refused = !allowed(stated, &licenses.allow);
            refused.then(|| {
                format!("{} {}: {stated} is not allowed by deny.toml", package.name, package.version)
            })
        })
        .collect())
}

/// Whether an SPDX expression can be satisfied with allowed licences only. `/` is an old spelling of OR.
fn allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words, allow) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words<'_>, allow: &BTreeSet<String>) -> bool {
    let mut holds = both(words, allow);
    while words.next_if_eq(&"OR").is_some() {
        holds |= both(words, allow);
    }
    holds
}

fn both(words: &mut Words<'_>, allow: &BTreeSet<String>) -> bool {
    let mut holds = one(words, allow);
    while words.next_if_eq(&"AND").is_some() {
        holds &= one(words, allow);
    }
    holds
}

fn one(words: &mut Words<'_>, allow: &BTreeSet<String>) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        let holds = either(words, allow);
        return words.next() == Some(")") && holds;
    }
    match words.next_if_eq(&"WITH") {
        None => allow.contains(word),
        Some(_) => words.next().is_some_and(|exception| allow.contains(&format!("{word} WITH {exception}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_when_one_reading_of_it_is() {
        let allow = ["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        let allow = allow.into_iter().map(str::to_owned).collect();
        for good in [
            "MIT",
            "GPL-3.0-only OR MIT",
            "MIT/Apache-2.0",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0-only",
        ] {
            assert!(allowed(good, &allow), "{good}");
        }
        for bad in [
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "",
            "(MIT",
            "MIT)",
            "MIT WITH LLVM-exception",
            "no licence",
        ] {
            assert!(!allowed(bad, &allow), "{bad}");
        }
    }
}
