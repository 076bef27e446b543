//! A page whose commands are run as they stand.
//!
//! `<!-- run: TIER -->` says which test runs the blocks that follow, until the next such line; `never` none, with its reason.
//! A block of ```` ```sh ```` is run as a whole and has to succeed. In one of ```` ```console ````, a line that begins with
//! `$ ` is a command, and what follows has to be among what it prints, in this order; `…` stands for anything, and
//! the command is repeated until it says so. In one of ```` ```console whole ```` it prints that and nothing else. All
//! commands of a test share one shell.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a command may be repeated until it says what the page says.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two times.
const PAUSE: Duration = Duration::from_millis(200);
const MARK: &str = "@@@";

/// A command of a page, and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    /// `None` if success is all that is wanted.
    pub(crate) expected: Option<Vec<String>>,
    /// Nothing else may be printed.
    pub(crate) whole: bool,
    /// Where the page has a number, there may be another one.
    pub(crate) any_figures: bool,
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs what a page has for a tier.
pub(crate) fn run(page: &str, tier: &str) {
    let text = std::fs::read_to_string(repository().join(page)).unwrap();
    let steps = steps(&text, tier);
    assert!(!steps.is_empty(), "{page} has nothing for {tier}");
    let mut shell = Shell::start();
    for step in steps {
        println!("{page}:{}: {}", step.line, step.command);
        let begun = Instant::now();
        loop {
            let (code, said) = shell.ask(&step.command);
            if step.expected.is_none() {
                assert_eq!(code, 0, "{page}:{}: {}\n{said}", step.line, step.command);
            } else if let Some(wanted) = step.lacks(&said) {
                assert!(
                    begun.elapsed() < PATIENCE,
                    "{page}:{}: {}\nthe page says: {wanted}\nfound:\n{said}",
                    step.line,
                    step.command
                );
                // What it waits for needs the processor too.
                std::thread::park_timeout(PAUSE);
                continue;
            }
            break;
        }
    }
}

/// The commands of a page for a tier.
pub(crate) fn steps(text: &str, tier: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut ours, mut any_figures) = (false, false);
    let mut block: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        if let Some(kind) = block {
            if line == "```" {
                block = None;
            } else if kind == "sh" && ours {
                let step = steps.last_mut().unwrap();
                step.command += line;
                step.command.push('\n');
            } else if kind.starts_with("console") && ours {
                if let Some(command) = line.strip_prefix("$ ") {
                    let expected = Some(Vec::new());
                    let (command, whole) = (command.to_owned(), kind == "console whole");
                    steps.push(Step { line: index + 1, command, expected, whole, any_figures });
                } else {
                    steps.last_mut().unwrap().expected.as_mut().unwrap().push(line.to_owned());
                }
            }
        } else if let Some(kind) = line.strip_prefix("```") {
            block = Some(kind);
            if kind == "sh" && ours {
                let command = String::new();
                steps.push(Step { line: index + 2, command, expected: None, whole: false, any_figures });
            }
        } else if let Some(said) = line.strip_prefix("<!-- run: ") {
            ours = said.trim_end_matches(" -->").split(',').next() == Some(tier);
            any_figures = said.contains("any figures");
        }
    }
    steps
}

impl Step {
    /// What the page has and this is without: the first line that was not said after those before it, or that there
    /// is nothing more.
    pub(crate) fn lacks(&self, said: &str) -> Option<String> {
        let expected = self.expected.as_deref().unwrap_or_default();
        let mut lines = said.lines();
        let mut wanted = expected.iter().filter(|wanted| !wanted.trim().is_empty());
        let missing = wanted.find(|wanted| !lines.any(|line| self.matches(line, wanted)));
        let is_more = || self.whole && written(said) > written(&expected.join("\n"));
        missing.cloned().or_else(|| is_more().then(|| "nothing but that".to_owned()))
    }

    fn matches(&self, line: &str, wanted: &str) -> bool {
        let words = |text: &str| {
            let kept = |word| if self.any_figures && is_figure(word) { "#" } else { word };
            text.split_whitespace().map(kept).collect::<Vec<_>>().join(" ")
        };
        let (line, wanted) = (words(line), words(wanted));
        let parts: Vec<&str> = wanted.split('…').map(str::trim).collect();
        let mut rest = line.as_str();
        for (index, part) in parts.iter().enumerate() {
            let Some(at) = rest.find(part) else { return false };
            if index == 0 && at > 0 {
                return false;
            }
            rest = &rest[at + part.len()..];
        }
        wanted.ends_with('…') || rest.is_empty() || parts.last() == Some(&"")
    }
}

/// Whether a word is a number, or a time in seconds.
fn is_figure(word: &str) -> bool {
    word.trim_end_matches([',', ':']).trim_end_matches('s').parse::<f64>().is_ok()
}

/// How many lines have something in them.
fn written(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

struct Shell {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Shell {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = Path::new(env!("CARGO_BIN_EXE_muslin")).parent().unwrap().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        // A page that begins in a checkout calls the product by `cargo lab`, which would build a release of it.
        let alias = folder.path().join("cargo");
        std::fs::write(&alias, "#!/bin/sh\nexec muslin \"$@\"\n").unwrap();
        std::fs::set_permissions(&alias, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{programs}:{path}", folder.path().display());
        let mut bash = Command::new("bash");
        bash.current_dir(repository()).env("PATH", path).env("TMPDIR", folder.path());
        bash.env_remove("CARGO");
        let mut child = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "exec 2>&1").unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output, _folder: folder }
    }

    /// Exit code, and what was printed on both outputs.
    fn ask(&mut self, command: &str) -> (i32, String) {
        // Its own input is empty: what the shell has yet to read is not for it.
        writeln!(self.input, "{{ {}\n}} </dev/null\necho \"{MARK}$?\"", command.trim_end()).unwrap();
        let mut said = String::new();
        for line in self.output.by_ref() {
            let line = line.unwrap();
            // What was printed before may lack an end of line.
            if let Some((before, code)) = line.split_once(MARK) {
                said += before;
                return (code.parse().unwrap(), said);
            }
            said += &line;
            said.push('\n');
        }
        panic!("the shell ended in `{command}`:\n{said}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // A topology that a failed page left standing.
        let _ = writeln!(self.input, "muslin lab down >/dev/null\nexit");
        let _ = self.child.wait();
    }
}
