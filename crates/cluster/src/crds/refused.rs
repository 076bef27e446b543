//! Objects that the API server refuses, from `refused.txt`. The tests on a real API server read them by this file too.

#![allow(dead_code, reason = "not every test needs all of it")]

/// Who refuses an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A CEL rule, with its own words.
    Rule,
    /// The schema, with words of the API server.
    Schema,
}

/// An object that is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) kind: &'static str,
    pub(crate) name: &'static str,
    /// As YAML.
    pub(crate) spec: String,
    pub(crate) by: By,
    /// How a rule's message begins; what the API server says, if it is the schema.
    pub(crate) message: &'static str,
}

/// All of them.
pub(crate) fn refused() -> Vec<Refused> {
    let mut all = Vec::new();
    let mut kind = "";
    let lines = include_str!("refused.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (by, (spec, message)) = match (line.split_once(" => "), line.split_once(" ~> ")) {
            (Some(halves), _) => (By::Rule, halves),
            (None, Some(halves)) => (By::Schema, halves),
            (None, None) => {
                kind = line;
                continue;
            }
        };
        let named = spec.strip_prefix("named ").and_then(|named| named.split_once(' '));
        let (name, spec) = named.unwrap_or(("default", spec));
        let spec = spec.replace("LONG", &"x".repeat(256));
        let directions: &[_] = if spec.contains("BOTH") { &["import", "export"] } else { &["BOTH"] };
        all.extend(directions.iter().map(|direction| {
            let spec = spec.replace("BOTH", direction);
            Refused { kind, name, spec, by, message }
        }));
    }
    all
}
