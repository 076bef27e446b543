//! The pages of the repository: every command they show is one that exists, every link leads somewhere, and the reference
//! is what the code says. `UPDATE_DOCS=1 cargo test -p muslin --bin muslin pages` writes the reference anew.
#![allow(clippy::unwrap_used, reason = "tests")]

mod defaults;
mod fields;
mod reference;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::Cli;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All pages, with their paths from the root of the repository.
fn pages() -> Vec<(String, String)> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let root = repository();
    let mut paths: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().map(|page| root.join(page)).collect();
    for folder in ["docs", "examples", "containerlab", "deploy"] {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// Something, and the line where it stands.
type Numbered<T> = (usize, T);

/// Lines inside fenced blocks of commands, with their numbers, and lines of text outside of any block.
fn sort_lines(text: &str) -> (Vec<Numbered<String>>, Vec<Numbered<&str>>) {
    let (mut commands, mut prose) = (Vec::<(usize, String)>::new(), Vec::new());
    let mut block: Option<&str> = None;
    let mut continued = false;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let trimmed = line.trim_start();
        if let Some(kind) = trimmed.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(kind) };
            continued = false;
            continue;
        }
        let command = match block {
            None => {
                prose.push((number, line));
                continue;
            }
            Some("sh" | "bash") => Some(trimmed),
            Some(kind) if kind.starts_with("console") => trimmed.strip_prefix("$ "),
            Some(_) => None,
        };
        if let Some(command) = command {
            let (text, goes_on) = match command.strip_suffix('\\') {
                Some(text) => (text, true),
                None => (command, false),
            };
            match commands.last_mut().filter(|_| continued) {
                Some((_, before)) => before.push_str(text),
                None => commands.push((number, text.to_owned())),
            }
            continued = goes_on;
        }
    }
    (commands, prose)
}

/// The calls of `muslin` in a line of shell: at its beginning, behind what separates commands, or behind `--`.
fn calls(line: &str) -> Vec<Vec<String>> {
    let spaced = line.replace(';', " ; ").replace("$(", " ( ").replace(')', " ) ");
    let Some(words) = shlex::split(&spaced) else { return Vec::new() };
    let mut calls = Vec::new();
    let mut begins = true;
    let mut index = 0;
    while index < words.len() {
        let is_cargo = words[index] == "cargo" && words.get(index + 1).is_some_and(|word| word == "lab");
        if begins && (words[index] == "muslin" || is_cargo) {
            let end =
                words[index..].iter().position(|word| separates(word)).map_or(words.len(), |at| index + at);
            let mut call = words[index..end].to_vec();
            call[0] = "muslin".to_owned();
            // What a variable holds is not known here; where one stands alone, pages have an address or a prefix.
            for word in call.iter_mut().filter(|word| word.starts_with('$') && !word.contains('/')) {
                *word = "192.0.2.1".to_owned();
            }
            // What a shell in the lab is to run is a call of its own, found further on.
            let inner = call.iter().position(|word| word == "--");
            call.truncate(inner.unwrap_or(call.len()));
            index += call.len();
            calls.push(call);
            begins = false;
            continue;
        }
        let word = &words[index];
        begins = separates(word) || word == "--" || (begins && word.contains('=') && !word.starts_with('-'));
        index += 1;
    }
    calls
}

fn separates(word: &str) -> bool {
    matches!(word, "|" | "||" | "&&" | ";" | "(" | ")" | "<" | ">" | ">>" | "{" | "}" | "if" | "then")
        || word.starts_with(['>', '<'])
}

#[test]
fn every_command_that_a_page_shows_is_one_that_muslin_takes() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (page, text) in pages() {
        for (line, command) in sort_lines(&text).0 {
            for call in calls(&command) {
                seen += 1;
                if let Err(error) = Cli::command().try_get_matches_from(&call)
                    && error.exit_code() != 0
                {
                    let first = error.to_string().lines().next().unwrap_or_default().to_owned();
                    wrong.push(format!("{page}:{line}: {}: {first}", call.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 50, "only {seen} commands were found");
}

#[test]
fn every_command_that_a_page_names_in_passing_exists_with_its_flags() {
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for (line, text) in sort_lines(&text).1 {
            for code in text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("muslin ")) {
                if let Some(what) = unknown_in(code) {
                    wrong.push(format!("{page}:{line}: `{code}`: {what}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The subcommand or flag of a call that does not exist. Words of capitals stand for what the reader puts there.
fn unknown_in(code: &str) -> Option<String> {
    let root = Cli::command();
    let mut command = &root;
    for word in code.split_whitespace().skip(1) {
        // `lab shell NAME -- …` is another program's.
        if word == "--" || word.contains(['/', '"', '$']) {
            break;
        }
        let word = word.trim_matches(['[', ']']);
        if let Some(flag) = word.strip_prefix("--") {
            let flag = flag.split('=').next().unwrap_or_default();
            let known = |arg: &clap::Arg| arg.get_long() == Some(flag);
            if !command.get_arguments().any(known) && !["help", "version"].contains(&flag) {
                return Some(format!("{} has no --{flag}", command.get_name()));
            }
        } else if command.has_subcommands() {
            for name in
                word.split(['|', ',']).map(|name| name.trim_end_matches('\\')).filter(|name| !name.is_empty())
            {
                match command.find_subcommand(name) {
                    Some(_) => {}
                    None if name.starts_with(|letter: char| letter.is_uppercase() || letter == '…') => {}
                    None => return Some(format!("there is no command {name}")),
                }
            }
            match command.find_subcommand(word) {
                Some(found) => command = found,
                None => return None,
            }
        }
    }
    None
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading() {
    let root = repository();
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let folder = root.join(&page).parent().unwrap().to_path_buf();
        for (line, prose) in sort_lines(&text).1 {
            for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { root.join(&page) } else { folder.join(file) };
                if !target.exists() {
                    wrong.push(format!("{page}:{line}: {link}: there is no such file"));
                } else if !anchor.is_empty()
                    && !headings(&fs::read_to_string(&target).unwrap()).contains(anchor)
                {
                    wrong.push(format!("{page}:{line}: {link}: there is no such heading"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What GitHub makes of headings, to link to them.
fn headings(text: &str) -> BTreeSet<String> {
    let slug = |line: &&str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept =
            title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    let prose = sort_lines(text).1;
    prose.iter().map(|(_, line)| line).filter(|line| line.starts_with('#')).map(slug).collect()
}

#[test]
fn calls_are_found_wherever_they_stand_in_a_line() {
    let found = |line: &str| calls(line).iter().map(|call| call.join(" ")).collect::<Vec<_>>();
    assert_eq!(found("muslin peers --output json | jq ."), ["muslin peers --output json"]);
    assert_eq!(found("muslin lab shell n1 -- muslin status"), ["muslin lab shell n1", "muslin status"]);
    assert_eq!(found("kubectl exec daemonset/muslin -- muslin status # of a node"), ["muslin status"]);
    assert_eq!(found("cargo lab --keep"), ["muslin lab --keep"]);
    assert_eq!(found("LAB_EXEC='muslin lab shell' x/verify.sh"), Vec::<String>::new());
    assert_eq!(found("helm install muslin deploy/helm/muslin"), Vec::<String>::new());
}
