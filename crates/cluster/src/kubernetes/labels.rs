//! The labels of an object.

use std::collections::BTreeMap;
use std::fmt;

/// The labels of an object, in the order of their keys: all of them in one text, since a map of two texts each takes
/// more room than the labels themselves, and who looks for one has few to look at.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels(Box<str>);

/// Stands behind each key and each value.
const END: char = '\0';

impl Labels {
    /// The value of the label `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// All labels with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// As an object's metadata has them.
    pub(super) fn written(&self) -> Option<BTreeMap<String, String>> {
        let labels = self.iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
        (!self.0.is_empty()).then(|| labels.collect())
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let mut text = String::new();
        // Kubernetes takes no label that has this character.
        for (key, value) in labels.iter().filter(|(key, value)| !key.contains(END) && !value.contains(END)) {
            text.extend([key.as_str(), "\0", value.as_str(), "\0"]);
        }
        Self(text.into_boxed_str())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(labels: &[(&str, &str)]) -> Labels {
        let owned = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect::<BTreeMap<_, _>>().into()
    }

    #[test]
    fn a_label_is_found_by_its_whole_key_and_may_be_empty() {
        let labels = labels(&[("rack", "a"), ("zone", ""), ("a", "rack")]);
        assert_eq!(labels.get("rack"), Some("a"));
        assert_eq!(labels.get("zone"), Some(""));
        assert_eq!(labels.get("a"), Some("rack"));
        assert_eq!((labels.get("ack"), labels.get(""), Labels::default().get("")), (None, None, None));
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "rack"), ("rack", "a"), ("zone", "")]);
    }

    #[test]
    fn what_no_label_may_be_moves_no_other() {
        assert_eq!(labels(&[("a\0b", "c"), ("d", "e\0f"), ("g", "h")]), labels(&[("g", "h")]));
    }
}
