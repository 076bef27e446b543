//! The reference, made from the command line's own definition and from the definitions of the resources.

use std::fmt::Write;
use std::fs;

use clap::{Arg, Command, CommandFactory};
use serde_json::Value;

use super::super::Cli;
use super::repository;

/// Compares a page with what it should be, or writes it.
pub(super) fn hold(page: &str, text: &str) {
    let path = repository().join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(text.lines()).find(|(found, wanted)| found != wanted);
    assert!(
        found == text,
        "{page} is not what the code says: UPDATE_DOCS=1 cargo test -p muslin --bin muslin pages\nfirst: {differs:?}"
    );
}

#[test]
fn the_reference_of_commands_is_what_the_command_line_says() {
    let mut text =
        "# Commands\n\nMade from the command line's own definition; `muslin COMMAND --help` prints the same.\n"
            .to_owned();
    for command in Cli::command().get_subcommands() {
        describe(&mut text, "muslin", command, 2);
    }
    hold("docs/reference/commands.md", &text);
}

fn describe(text: &mut String, above: &str, command: &Command, depth: usize) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let positional = command.get_positionals().map(|arg| {
        let shown = value_name(arg);
        if arg.is_required_set() { format!(" {shown}") } else { format!(" [{shown}]") }
    });
    let positional: String = positional.collect();
    writeln!(text, "\n{} {name}\n\n{}\n", "#".repeat(depth), about.unwrap_or_default()).unwrap();
    if !command.has_subcommands() || command.get_positionals().next().is_some() {
        writeln!(text, "```text\n{name}{positional} [OPTIONS]\n```").unwrap();
    }
    let shown: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.get_id() != "help" && arg.get_id() != "version")
        .collect();
    if !shown.is_empty() {
        text.push_str("\n| option | meaning | default |\n|---|---|---|\n");
    }
    for arg in shown {
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if arg.get_action().takes_values() && !default.is_empty() {
            format!("`{}`", default.join(","))
        } else {
            String::new()
        };
        let mut help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let values: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if arg.get_action().takes_values() && !values.is_empty() {
            write!(help, "; {}", values.join(", ")).unwrap();
        }
        if let Some(variable) = arg.get_env() {
            write!(help, "; environment `{}`", variable.to_string_lossy()).unwrap();
        }
        let help = help.replace('|', "\\|").replace('\n', " ");
        writeln!(text, "| {} | {help} | {default} |", option(arg)).unwrap();
    }
    for inner in command.get_subcommands() {
        describe(text, &name, inner, depth + 1);
    }
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    names.first().map_or_else(|| arg.get_id().to_string().to_uppercase(), ToString::to_string)
}

pub(super) fn option(arg: &Arg) -> String {
    let value = if arg.get_action().takes_values() { format!(" {}", value_name(arg)) } else { String::new() };
    let shown = match (arg.get_long(), arg.get_short()) {
        (Some(long), Some(short)) => format!("`--{long}{value}`, `-{short}`"),
        (Some(long), None) => format!("`--{long}{value}`"),
        (None, Some(short)) => format!("`-{short}{value}`"),
        (None, None) => format!("`{}`", value_name(arg)),
    };
    shown.replace('|', "\\|")
}

#[test]
fn the_reference_of_resources_is_what_the_definitions_say() {
    let mut text = "# Resources\n\nMade from the definitions that the API server is given; `kubectl explain` prints the same. A default stands in the meaning.\n".to_owned();
    for crd in muslin_cluster::crds() {
        let definition: Value = serde_saphyr::from_str(&crd.yaml).unwrap();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"];
            let name = version["name"].as_str().unwrap();
            writeln!(text, "\n## {kind}\n\n`muslin.dev/{name}`. {}\n", sentence(schema)).unwrap();
            text.push_str("| field | type | meaning |\n|---|---|---|\n");
            for part in ["spec", "status"] {
                fields(&mut text, part, &schema["properties"][part]);
            }
        }
    }
    hold("docs/reference/resources.md", &text);
}

fn fields(text: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let must = if required.contains(&name.as_str()) { ", required" } else { "" };
        let words: Vec<String> = field["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        let kind = match field["type"].as_str() {
            _ if !words.is_empty() => words.join(", "),
            Some("array") => format!("list of {}", field["items"]["type"].as_str().unwrap_or("object")),
            Some(kind) => kind.to_owned(),
            None => "integer or string".to_owned(),
        };
        writeln!(text, "| `{path}` | {kind}{must} | {} |", sentence(field)).unwrap();
        fields(text, &path, field);
        fields(text, &format!("{path}[]"), &field["items"]);
        fields(text, &format!("{path}.*"), &field["additionalProperties"]);
    }
}

pub(super) fn sentence(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
