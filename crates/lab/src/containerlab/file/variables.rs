//! Variables of the environment in the text, as containerlab puts them in.

/// Replaces `$NAME`, `${NAME}` and, for what is unset or empty, `${NAME:-DEFAULT}`, with `-`, `:=` or `=` alike.
pub(super) fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((inside, after)) = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'))
        {
            let (name, default) = inside.split_at(name_length(inside));
            let default = default.trim_start_matches(':').trim_start_matches(['=', '-']);
            let value = variable(name).filter(|value| !value.is_empty());
            expanded.push_str(value.as_deref().unwrap_or(default));
            rest = after;
        } else {
            let (name, after) = rest.split_at(name_length(rest));
            if name.is_empty() {
                expanded.push('$');
            } else {
                expanded.push_str(&variable(name).unwrap_or_default());
            }
            rest = after;
        }
    }
    expanded + rest
}

fn name_length(text: &str) -> usize {
    text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_replaced_and_a_default_serves_where_it_is_unset_or_empty() {
        let variable = |name: &str| match name {
            "IMAGE" => Some("local/frr".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("a ${IMAGE} b", "a local/frr b"),
            ("$IMAGE:1", "local/frr:1"),
            ("'${OTHER:=quay.io/frr:10.2.1}'", "'quay.io/frr:10.2.1'"),
            ("${EMPTY:-x}${IMAGE:-x}", "xlocal/frr"),
            ("costs 5$ or $$5", "costs 5$ or $5"),
            ("${UNSET}", ""),
        ] {
            assert_eq!(expand(text, variable), expected);
        }
    }
}
