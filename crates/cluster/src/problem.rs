//! What is wrong with an object, where, and how to put it right.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Where an object was read from, and where each of its fields stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it is called in its folder; empty for objects that no file holds.
    pub file: Arc<str>,
    /// The line on which the object begins, from 1; 0 when it is not known.
    pub line: u32,
    /// Shared with the objects of the file that are laid out alike, which most are.
    layout: Layout,
}

/// Field paths (`.spec.podCIDRs[0]`) with their lines, counted from that of the object, sorted by path.
pub(crate) type Layout = Arc<[(Box<str>, u32)]>;

impl Origin {
    pub(crate) fn new(file: Arc<str>, line: u32, layout: Layout) -> Self {
        Self { file, line, layout }
    }

    /// The line of `field`, or of the nearest recorded field that contains it; the object's line if none does.
    pub fn line_of(&self, field: &str) -> u32 {
        let mut path = field;
        loop {
            if let Ok(found) = self.layout.binary_search_by(|(known, _)| (**known).cmp(path)) {
                // An alias stands for what was written before.
                return self.line.wrapping_add(self.layout[found].1);
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.line,
            }
        }
    }
}

/// What a [`Problem`] does to the object that has it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// The last good state of the object stays in force.
    LastGoodKept,
    /// The object, or the named field of it, has no effect.
    Refused,
    /// The object is in force; a person should still look.
    Advice,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastGoodKept => "the last good state stays in force",
            Self::Refused => "not applied",
            Self::Advice => "applied",
        })
    }
}

/// Something that a person has to put right, said so that they can.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// The object ("`BGPPeer` tor"), or the file or folder when no object could be made out.
    pub object: String,
    /// The file that holds it.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub file: Arc<str>,
    /// Its line in the file, from 1; 0 when it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
    /// The field (".spec.peerASN"); empty when the whole object is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// What became of the object.
    pub effect: Effect,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(line: &u32) -> bool {
    *line == 0
}

impl fmt::Display for Problem {
    /// `file:line: object field: message; remedy`, without the parts that are not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.file, self.line) {
            ("", _) => {}
            (file, 0) => write!(f, "{file}: ")?,
            (file, line) => write!(f, "{file}:{line}: ")?,
        }
        f.write_str(&self.object)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// A fault in one field of an object whose origin the caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) field: String,
    pub(crate) message: String,
    pub(crate) remedy: String,
}

impl Fault {
    pub(crate) fn new(
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), message: message.into(), remedy: remedy.into() }
    }
}
