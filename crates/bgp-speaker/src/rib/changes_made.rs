//! What a policy made of a route's attributes, in words.

use std::fmt::Display;

use muslin_bgp_packet::PathAttributes;

/// The differences between attributes before and after, one sentence each.
pub(crate) fn changes(before: &PathAttributes, after: &PathAttributes) -> Vec<String> {
    let mut words = Vec::new();
    let mut value = |name: &str, before: String, after: String| {
        if before != after {
            words.push(format!("{name} {before} → {after}"));
        }
    };
    value("local preference", or_none(before.local_pref), or_none(after.local_pref));
    value("MED", or_none(before.med), or_none(after.med));
    value("AS path", path(before), path(after));
    value("origin", before.origin.to_string(), after.origin.to_string());
    members("community", &before.communities, &after.communities, &mut words);
    members("extended community", &before.extended_communities, &after.extended_communities, &mut words);
    members("large community", &before.large_communities, &after.large_communities, &mut words);
    words
}

fn or_none(value: Option<u32>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn path(attributes: &PathAttributes) -> String {
    if attributes.as_path.is_empty() { "empty".to_owned() } else { attributes.as_path.to_string() }
}

fn members<T: Display + PartialEq>(name: &str, before: &[T], after: &[T], words: &mut Vec<String>) {
    let added = after.iter().filter(|value| !before.contains(value));
    words.extend(added.map(|value| format!("{name} {value} added")));
    let removed = before.iter().filter(|value| !after.contains(value));
    words.extend(removed.map(|value| format!("{name} {value} removed")));
}

#[cfg(test)]
mod tests {
    use muslin_bgp_packet::{AsPath, Asn, Community};

    use super::*;

    #[test]
    fn each_changed_attribute_is_one_sentence_and_equal_ones_are_none() {
        let before = PathAttributes {
            med: Some(5),
            as_path: AsPath::from_sequence(&[Asn(65001)]),
            communities: vec![Community::NO_EXPORT],
            ..PathAttributes::default()
        };
        assert_eq!(changes(&before, &before), [""; 0]);
        let after = PathAttributes {
            local_pref: Some(200),
            as_path: before.as_path.prepended(Asn(65001), 1),
            communities: vec![Community::GRACEFUL_SHUTDOWN],
            ..before.clone()
        };
        let words = changes(&before, &after);
        assert_eq!(words[0], "local preference none → 200");
        assert_eq!(words[1], "AS path 65001 → 65001 65001");
        assert_eq!(words.len(), 4, "{words:?}");
    }
}
