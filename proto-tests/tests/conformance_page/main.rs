//! `docs/conformance.md` maps every behaviour to the tests that show it: it is made from the tests' names.
//!
//! A test of `rfc4271_12_…` shows behaviour 4271-12, one of `a4_07_…` or `crash_7_…` message 7, one of `fault_13_…`
//! fault 13. `UPDATE=1 cargo test -p muslin-proto-tests --test conformance_page` writes the page anew.

#[cfg(test)]
mod behaviours;
#[cfg(test)]
mod names;

#[cfg(test)]
mod page {
    use std::collections::BTreeMap;
    use std::fmt::Write;
    use std::fs;
    use std::path::Path;

    use anyhow::{Context, Result, ensure};

    use crate::behaviours::{BEHAVIOURS, FAULTS, MESSAGES};
    use crate::names::{Subject, Test, all_tests};

    type Shown = BTreeMap<Subject, Vec<Test>>;

    #[test]
    fn every_behaviour_is_shown_by_a_test_and_the_page_names_it() -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut shown = Shown::new();
        for test in all_tests(&root)? {
            for subject in &test.subjects {
                shown.entry(subject.clone()).or_default().push(test.clone());
            }
        }
        let path = root.join("docs/conformance.md");
        let page = render(&shown);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &page).with_context(|| path.display().to_string())?;
        }
        let missing: Vec<_> = known().filter(|subject| !shown.contains_key(subject)).collect();
        ensure!(missing.is_empty(), "no test shows {missing:?}");
        let unknown: Vec<_> = shown
            .iter()
            .filter(|(subject, _)| subject.is_listed() && !known().any(|known| known == **subject))
            .map(|(subject, tests)| (subject, &tests[0].name))
            .collect();
        ensure!(unknown.is_empty(), "behaviours.rs does not list {unknown:?}");
        let found = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(found == page, "docs/conformance.md is out of date: run this test with UPDATE=1");
        Ok(())
    }

    fn known() -> impl Iterator<Item = Subject> {
        let behaviours = BEHAVIOURS.iter().map(|(id, _)| Subject::Behaviour((*id).to_owned()));
        let messages = MESSAGES.iter().map(|(number, _)| Subject::Message(*number));
        behaviours.chain(messages).chain(FAULTS.iter().map(|(number, _)| Subject::Fault(*number)))
    }

    fn render(shown: &Shown) -> String {
        let mut page = String::from(
            "# Conformance\n\nMade from the names of the tests by a test of its own; each row says what holds and which tests \
             show it. Those in `proto-tests` talk to a live `muslin speaker` over a socket; the others run the same code in \
             virtual time or look at the codec alone. `cargo xtask test` runs them all. BFD (RFC 5880 to 5883) is not part of \
             Muslin yet.\n\n## Behaviours\n\n| | what holds | shown by |\n|---|---|---|\n",
        );
        let behaviours = BEHAVIOURS.iter().map(|(id, what)| {
            let (rfc, number) = id.split_once('-').unwrap_or((id, ""));
            (Subject::Behaviour((*id).to_owned()), format!("RFC {rfc} · {number}"), *what)
        });
        rows(&mut page, shown, behaviours);
        page.push_str("\n## Messages that brought others down\n\n| | message | shown by |\n|---|---|---|\n");
        rows(
            &mut page,
            shown,
            MESSAGES.iter().map(|(number, what)| (Subject::Message(*number), number.to_string(), *what)),
        );
        page.push_str("\n## Faults\n\n| | fault | shown by |\n|---|---|---|\n");
        rows(
            &mut page,
            shown,
            FAULTS.iter().map(|(number, what)| (Subject::Fault(*number), number.to_string(), *what)),
        );
        page
    }

    fn rows<'a>(page: &mut String, shown: &Shown, rows: impl Iterator<Item = (Subject, String, &'a str)>) {
        for (subject, id, what) in rows {
            let tests = shown.get(&subject).map_or(&[][..], Vec::as_slice);
            let tests: Vec<String> =
                tests.iter().map(|test| format!("`{}` ({})", test.name, test.place)).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(page, "| {id} | {what} | {} |", tests.join("<br>"));
        }
    }
}
