//! What the name of a test says that it shows.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Something that tests show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A behaviour of an RFC: `4271-12`.
    Behaviour(String),
    /// One of the messages that brought others down.
    Message(u8),
    /// A fault.
    Fault(u8),
}

impl Subject {
    /// Whether the page has to list it. Faults of the kernel, pods and Kubernetes have tests of the same form that
    /// belong to other crates.
    pub(crate) fn is_listed(&self) -> bool {
        !matches!(self, Self::Fault(_))
    }
}

/// A test that shows something.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    pub(crate) name: String,
    /// Its file, from the root of the repository.
    pub(crate) place: String,
    pub(crate) subjects: Vec<Subject>,
}

/// All tests of the repository that show something, in the order of files and lines.
pub(crate) fn all_tests(root: &Path) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for folder in ["crates", "proto-tests"] {
        collect(root, Path::new(folder), &mut tests)?;
    }
    Ok(tests)
}

fn collect(root: &Path, folder: &Path, tests: &mut Vec<Test>) -> Result<()> {
    let entries = fs::read_dir(root.join(folder)).with_context(|| folder.display().to_string())?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.sort();
    for name in names.into_iter().filter(|name| name != "target" && name != "fuzz") {
        let path = folder.join(name);
        if root.join(&path).is_dir() {
            collect(root, &path, tests)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(root.join(&path))?;
            let place = path.display().to_string();
            tests.extend(tests_of(&source).filter_map(|name| {
                let subjects = subjects(name);
                let (name, place) = (name.to_owned(), place.clone());
                (!subjects.is_empty()).then_some(Test { name, place, subjects })
            }));
        }
    }
    Ok(())
}

/// Names of the test functions in a source file, and of rows `("name", function)` in tables of tests.
fn tests_of(source: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    source.lines().map(str::trim_start).filter_map(move |line| {
        if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
            return None;
        }
        if let Some((name, _)) = line.strip_prefix("(\"").and_then(|row| row.split_once("\", ")) {
            return Some(name);
        }
        let was_test = std::mem::take(&mut is_test);
        let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?;
        was_test.then(|| function.split_once('(').map(|(name, _)| name)).flatten()
    })
}

fn subjects(name: &str) -> Vec<Subject> {
    let (kind, rest) = name.split_once('_').unwrap_or((name, ""));
    let numbers = numbers(rest);
    match kind {
        "a4" | "crash" => numbers.into_iter().map(Subject::Message).collect(),
        "fault" => numbers.into_iter().map(Subject::Fault).collect(),
        _ => match kind.strip_prefix("rfc") {
            Some(rfc) if rfc.parse::<u16>().is_ok() => {
                numbers.into_iter().map(|number| Subject::Behaviour(format!("{rfc}-{number}"))).collect()
            }
            _ => Vec::new(),
        },
    }
}

/// `12_x` is 12, `15_to_19_x` 15 to 19, `17_and_18_x` both, `3_5_is_x` 3: a number after a number is a code.
fn numbers(words: &str) -> Vec<u8> {
    let mut words = words.split('_');
    let mut number = || words.next().map(|word| word.parse::<u8>().ok().ok_or(word));
    let Some(Ok(first)) = number() else { return Vec::new() };
    match (number(), number()) {
        (Some(Err("to")), Some(Ok(last))) => (first..=last).collect(),
        (Some(Err("and")), Some(Ok(second))) => vec![first, second],
        _ => vec![first],
    }
}

#[test]
fn names_say_what_tests_show() {
    let behaviour = |id: &str| Subject::Behaviour(id.to_owned());
    assert_eq!(subjects("rfc4271_12_an_established_session_wins"), [behaviour("4271-12")]);
    assert_eq!(subjects("rfc4271_1_a_marker_is_1_1"), [behaviour("4271-1")]);
    assert_eq!(subjects("a4_07_an_unknown_type"), [Subject::Message(7)]);
    assert_eq!(subjects("crash_15_to_17_attributes"), [15, 16, 17].map(Subject::Message));
    assert_eq!(subjects("fault_40_a_peer_reads_nothing"), [Subject::Fault(40)]);
    assert_eq!(subjects("crash_cycle_of_resets"), []);
    assert_eq!(subjects("a_route_is_withdrawn"), []);
    let source = "    #[test]\n    #[allow(x)]\n    fn fault_1_a() {}\n  fn rfc1_1_helper() {}\n#[tokio::test]\nasync fn b() {}\n    (\"fault_2_c\", m::c),";
    assert_eq!(tests_of(source).collect::<Vec<_>>(), ["fault_1_a", "b", "fault_2_c"]);
}
