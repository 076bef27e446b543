//! Values with the path to them, so that every complaint names what it is about.

use std::fmt::{self, Display};

use serde_json::Value;

/// From 0 to 1, how alike two words are that may be meant for each other.
const ALIKE: f64 = 0.8;

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) struct Trouble {
    path: String,
    what: String,
}

impl Trouble {
    pub(in super::super) fn new(path: &str, what: impl Display) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }
}

impl Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.path, self.what) }
    }
}

/// A value of the file and the path to it.
#[derive(Clone, Debug)]
pub(in super::super) struct At<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> At<'a> {
    pub(in super::super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    pub(in super::super) fn child_path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(in super::super) fn trouble(&self, what: impl Display) -> Trouble {
        Trouble::new(&self.path, what)
    }

    /// Refuses keys that are not among `allowed`. A null is an empty mapping, as in YAML `key:`.
    pub(in super::super) fn only(&self, allowed: &[&str]) -> Result<(), Trouble> {
        for (key, at) in self.entries()? {
            known(&at.path, "key", &key, allowed)?;
        }
        Ok(())
    }

    pub(in super::super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { path: self.child_path(key), value })
    }

    pub(in super::super) fn required(&self, key: &str) -> Result<Self, Trouble> {
        self.get(key).ok_or_else(|| self.trouble(format!("there is no `{key}`")))
    }

    pub(in super::super) fn entries(&self) -> Result<Vec<(String, Self)>, Trouble> {
        match self.value {
            Value::Null => Ok(Vec::new()),
            Value::Object(map) => Ok(map
                .iter()
                .map(|(key, value)| (key.clone(), Self { path: self.child_path(key), value }))
                .collect()),
            _ => Err(self.trouble("found no mapping; keys and values belong here")),
        }
    }

    pub(in super::super) fn items(&self) -> Result<Vec<Self>, Trouble> {
        let Value::Array(items) = self.value else {
            return Err(self.trouble("found no list; a list belongs here"));
        };
        let at = |(index, value)| Self { path: format!("{}[{index}]", self.path), value };
        Ok(items.iter().enumerate().map(at).collect())
    }

    /// A text, or a number or truth value as text.
    pub(in super::super) fn text(&self, key: &str) -> Result<Option<String>, Trouble> {
        self.get(key).map(|at| at.as_text()).transpose()
    }

    pub(in super::super) fn texts(&self, key: &str) -> Result<Vec<String>, Trouble> {
        let Some(at) = self.get(key) else { return Ok(Vec::new()) };
        at.items()?.iter().map(Self::as_text).collect()
    }

    pub(in super::super) fn map(&self, key: &str) -> Result<Vec<(String, String)>, Trouble> {
        let Some(at) = self.get(key) else { return Ok(Vec::new()) };
        at.entries()?.into_iter().map(|(key, at)| Ok((key, at.as_text()?))).collect()
    }

    fn as_text(&self) -> Result<String, Trouble> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(truth) => Ok(truth.to_string()),
            _ => Err(self.trouble("found no text; a text belongs here")),
        }
    }
}

/// An error if `word` is not among `allowed`, with the nearest that is, or with all if none is near.
pub(in super::super) fn known(path: &str, what: &str, word: &str, allowed: &[&str]) -> Result<(), Trouble> {
    if allowed.contains(&word) {
        return Ok(());
    }
    let likeness = |candidate: &&str| strsim::jaro_winkler(&word.to_lowercase(), candidate);
    let near = allowed.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let near = near.filter(|near| likeness(near) > ALIKE);
    Err(Trouble::new(
        path,
        match near {
            Some(near) => format!("there is no {what} `{word}`; did you mean `{near}`?"),
            None => format!(
                "`muslin lab` has no {what} `{word}`, only {}; containerlab itself may run this topology",
                allowed.join(", ")
            ),
        },
    ))
}
