//! Regular expressions over the text forms of AS paths and communities.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Most memory of a compiled expression, in octets. Matching takes time proportional to the text, whatever the
/// expression is.
const SIZE: usize = 1 << 20;

/// A regular expression, compiled once. It matches anywhere in the text unless it is anchored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: Arc<str>,
    regex: Regex,
}

/// Why an expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is no expression.
    #[error("`{pattern}` is no regular expression: {reason} at character {position}")]
    Syntax {
        /// What was written.
        pattern: String,
        /// What is wrong.
        reason: String,
        /// Where, from 1.
        position: usize,
    },
    /// Its compiled form would be too large.
    #[error("`{pattern}` is too large once compiled (more than 1 MiB)")]
    TooLarge {
        /// What was written.
        pattern: String,
    },
}

impl Pattern {
    /// Compiles an expression, in ASCII: text forms have no other characters.
    ///
    /// # Errors
    /// It is no expression, or too large.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(text);
        let wrong = |reason: String, position: usize| PatternError::Syntax {
            pattern: text.to_owned(),
            reason,
            position,
        };
        parsed.map_err(|error| match error {
            regex_syntax::Error::Parse(error) => wrong(error.kind().to_string(), error.span().start.column),
            regex_syntax::Error::Translate(error) => {
                wrong(error.kind().to_string(), error.span().start.column)
            }
            other => wrong(other.to_string(), 1),
        })?;
        let regex = RegexBuilder::new(text).unicode(false).size_limit(SIZE).dfa_size_limit(SIZE).build();
        let regex = regex.map_err(|_| PatternError::TooLarge { pattern: text.to_owned() })?;
        Ok(Self { text: text.into(), regex })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text.as_bytes())
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text.to_string()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_anywhere_unless_it_is_anchored() {
        let anywhere = Pattern::new(r"\b65002\b").unwrap();
        assert!(anywhere.is_match("65001 65002 65003") && !anywhere.is_match("165002"));
        let whole = Pattern::new("^65001( 65002)*$").unwrap();
        assert!(whole.is_match("65001 65002 65002") && !whole.is_match("65001 65003"));
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        let error = Pattern::new("65001 (65002").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`65001 (65002` is no regular expression: unclosed group at character 7"
        );
        assert!(matches!(Pattern::new(r"a{2,1}"), Err(PatternError::Syntax { position: 2, .. })));
    }

    #[test]
    fn an_expression_that_would_grow_too_large_is_refused() {
        let error = Pattern::new("((a{1000}){1000}){1000}").unwrap_err();
        assert!(matches!(error, PatternError::TooLarge { .. }), "{error}");
    }
}
