//! `docs/interop.md` says what these tests show: it is made from their names and the versions that they ran with.
//!
//! `UPDATE=1 cargo test -p muslin-proto-tests --test interop_page` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use muslin_proto_tests::daemons::Kind;

const DAEMONS: &str = include_str!("interop_daemons.rs");
const CONFORMANCE: [&str; 7] = [
    include_str!("interop_conformance/header.rs"),
    include_str!("interop_conformance/open.rs"),
    include_str!("interop_conformance/session.rs"),
    include_str!("interop_conformance/update.rs"),
    include_str!("interop_conformance/malformed.rs"),
    include_str!("interop_conformance/cease.rs"),
    include_str!("interop_conformance/crashes.rs"),
];

#[test]
fn the_page_says_what_the_tests_show() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/interop.md");
    let page = render()?;
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(&path, page).with_context(|| path.display().to_string());
    }
    let found = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    ensure!(
        found == page,
        "docs/interop.md is out of date: run this test with UPDATE=1. It should be:\n{page}"
    );
    Ok(())
}

fn render() -> Result<String> {
    let mut page = String::from(
        "# Interoperability and conformance\n\nMade from the tests by themselves; `cargo xtask test --tier interop` runs \
         them. Every daemon is the one of Debian's package, with a session for IPv4 and one for IPv6 unicast.\n\n\
         ## With other daemons\n\n| `muslin speaker` |",
    );
    for kind in Kind::ALL {
        write!(page, " {} {} |", kind.name(), kind.version()?)?;
    }
    page.push_str("\n|---|");
    page.push_str(&"---|".repeat(Kind::ALL.len()));
    page.push('\n');
    for test in tests(DAEMONS) {
        writeln!(page, "| {} |{}", sentence(test), " ✓ |".repeat(Kind::ALL.len()))?;
    }
    page.push_str(
        "\nExchanging routes means: both ways, both families, with MED, standard and large communities; announcing and \
         withdrawing while the session is up; End-of-RIB; a route refresh; and no session lost on the way.\n\n\
         ## Conformance\n\nA scripted peer sends octets over a socket at a live `muslin speaker` and reads what comes \
         back, and what another peer sees of it.\n\n| | what holds |\n|---|---|\n",
    );
    let mut rows: Vec<(u32, u32, String, String)> = Vec::new();
    for test in CONFORMANCE.into_iter().flat_map(tests) {
        let words: Vec<&str> = test.split('_').collect();
        let numbers = words[1..]
            .iter()
            .take_while(|word| word.parse::<u32>().is_ok() || ["and", "to"].contains(word))
            .count();
        let (row, rest) = words[1..].split_at(numbers);
        let rfc = words[0].strip_prefix("rfc").and_then(|number| number.parse().ok());
        let source =
            rfc.map_or_else(|| "seen to crash others".to_owned(), |number: u32| format!("RFC {number}"));
        let first = row.first().and_then(|number| number.parse().ok()).unwrap_or(0);
        rows.push((rfc.unwrap_or(u32::MAX), first, source, sentence(&rest.join("_"))));
    }
    rows.sort();
    for (_, _, source, sentence) in rows {
        writeln!(page, "| {source} | {sentence} |")?;
    }
    Ok(page)
}

/// Names of the tests in a source file.
fn tests(source: &str) -> impl Iterator<Item = &str> {
    source
        .split("#[test]")
        .skip(1)
        .filter_map(|test| test.trim_start().strip_prefix("fn ")?.split_once('('))
        .map(|(name, _)| name)
}

/// A name as words; codes as people write them.
fn sentence(name: &str) -> String {
    let mut text = format!("{} ", name.replace('_', " "));
    for (code, subcode) in (1..=7).flat_map(|code| (0..=10).map(move |subcode| (code, subcode))).rev() {
        text = text.replace(&format!("{code} {subcode}"), &format!("{code}/{subcode}"));
    }
    // An autonomous system, where it is not the conjunction.
    for before in ["our", "own", "wrong", "the", "another", "one"] {
        text = text.replace(&format!(" {before} as "), &format!(" {before} AS "));
    }
    for after in ["numbers", "path", "capability", "zero"] {
        text = text.replace(&format!("as {after}"), &format!("AS {after}"));
    }
    for (plain, written) in [("5 n", "5/1 to 5/3"), ("as4", "AS4"), ("ipv", "IPv"), ("rfc", "RFC")] {
        text = text.replace(plain, written);
    }
    text.trim_end().to_owned()
}
