//! House rules that no compiler knows: file length, no ignored tests, no sleeping tests, no `mod.rs`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell::workspace;

/// A longer file has a second subject.
const LONGEST: usize = 800;

/// Complains about Rust files that break a rule.
pub(super) fn check() -> Result<Vec<String>> {
    let root = workspace();
    let mut files = Vec::new();
    for folder in ["crates", "proto-tests"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut complaints = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        complaints.extend(complaints_about(file.strip_prefix(&root).unwrap_or(&file), &text));
    }
    Ok(complaints)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn complaints_about(path: &Path, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        complaints.push(format!("{}: {lines} lines, at most {LONGEST} are allowed", path.display()));
    }
    if path.file_name().is_some_and(|name| name == "mod.rs") {
        complaints.push(format!("{}: a module is `foo.rs` beside `foo/`", path.display()));
    }
    // Put together here so that this file does not complain about itself.
    let ignored = concat!("#[", "ignore");
    let sleeps = [concat!("thread::", "sleep("), concat!("time::", "sleep(")];
    let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "proto-tests");
    for (number, line) in text.lines().enumerate() {
        let mut complain = |what: &str| complaints.push(format!("{}:{}: {what}", path.display(), number + 1));
        if line.trim_start().starts_with(ignored) {
            complain("a test is not ignored: it is mended or removed");
        }
        if is_test && sleeps.iter().any(|sleep| line.contains(sleep)) {
            complain("a test waits for an event, not for time to pass");
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_complains_with_the_place() {
        let long = "\n".repeat(LONGEST + 1);
        assert_eq!(complaints_about(Path::new("a/src/b.rs"), &long).len(), 1);
        assert_eq!(complaints_about(Path::new("a/src/mod.rs"), "").len(), 1);
        let ignored = concat!("fn x() {}\n    #[", "ignore]\n");
        assert!(complaints_about(Path::new("a/src/b.rs"), ignored)[0].starts_with("a/src/b.rs:2: "));
    }

    #[test]
    fn time_may_pass_in_the_product_but_not_in_a_test() {
        let line = concat!("tokio::time::", "sleep(retry).await;");
        assert!(complaints_about(Path::new("a/src/net.rs"), line).is_empty());
        for test in ["a/src/net/tests.rs", "a/tests/x.rs", "proto-tests/src/x.rs"] {
            assert_eq!(complaints_about(Path::new(test), line).len(), 1, "{test}");
        }
    }
}
