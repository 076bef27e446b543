//! The pages that tell people what to write name fields that there are.

use std::collections::BTreeSet;

use clap::CommandFactory;
use serde_json::Value;

use super::super::Cli;
use super::{pages, sort_lines};

/// The pages that give such advice.
const ADVICE: [&str; 2] = ["docs/failures.md", "docs/how-to.md"];

/// Words that look like fields of ours and are none: a field of a Service, a name of an object, a word that is printed.
const OTHERS: [&str; 3] = ["externalTrafficPolicy", "default", "up"];

/// Every field of our resources with the way to it, as `.spec.password.secretKeyRef.name.`.
fn fields() -> BTreeSet<String> {
    fn walk(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}{name}.");
            found.insert(path.clone());
            walk(&path, field, found);
            walk(&path, &field["items"], found);
        }
    }
    let mut found = BTreeSet::new();
    for crd in muslin_cluster::crds() {
        let definition: Value = serde_saphyr::from_str(&crd.yaml).unwrap();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            walk(".", &version["schema"]["openAPIV3Schema"], &mut found);
        }
    }
    found
}

/// What looks like a field in a line of prose: in backticks, a word or several with dots between them, alone or before a
/// colon. Names of commands and of files that a link leads to are no fields.
fn named(line: &str) -> Vec<String> {
    let is_word = |word: &str| {
        word.starts_with(|letter: char| letter.is_ascii_lowercase())
            && word.chars().all(|letter| letter.is_ascii_alphanumeric())
    };
    let looks_so = |path: &str| path.trim_start_matches('.').split('.').all(is_word);
    let command = Cli::command();
    let pieces: Vec<_> = line.split('`').collect();
    let spans = pieces.windows(2).skip(1).step_by(2);
    let spans = spans.zip(pieces.iter().step_by(2)).filter(|(_, before)| !before.ends_with('['));
    let mut found = Vec::new();
    for code in spans.map(|(span, _)| span[0]) {
        let keys: Vec<_> = match code.split_once(':') {
            None => vec![code],
            Some(_) => {
                code.split(['{', ',', '}']).filter_map(|part| Some(part.trim().split_once(':')?.0)).collect()
            }
        };
        let ours = keys
            .into_iter()
            .filter(|key| looks_so(key) && !OTHERS.contains(key) && command.find_subcommand(key).is_none());
        found.extend(ours.map(ToOwned::to_owned));
    }
    found
}

#[test]
fn fields_are_found_in_prose_and_names_of_other_things_are_not() {
    assert_eq!(named("configure `bfd`, or its `prefixLimit`"), ["bfd", "prefixLimit"]);
    assert_eq!(
        named("`nodeMesh: {enabled: false}` and `.spec.import.cidrs`"),
        ["nodeMesh", "enabled", ".spec.import.cidrs"]
    );
    assert_eq!(
        named("[`unnumbered`](../examples/unnumbered), `doctor`, `peers NAME`, `--record`, `Accepted`"),
        [""; 0]
    );
}

#[test]
fn every_field_that_a_page_advises_is_one_of_our_resources() {
    let fields = fields();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (page, text) in pages().into_iter().filter(|(page, _)| ADVICE.contains(&page.as_str())) {
        for (line, prose) in sort_lines(&text).1 {
            for field in named(prose) {
                seen += 1;
                let way = format!(".{}.", field.trim_start_matches('.'));
                if !fields.iter().any(|known| known.ends_with(&way)) {
                    wrong.push(format!("{page}:{line}: no resource has the field `{field}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 15, "only {seen} fields were found");
}
