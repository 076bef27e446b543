//! Completion for shells, and manual pages: both from the command line as clap knows it.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::output::write_line;
use crate::cli::{Cli, CompletionArgs, ManArgs};

/// Prints the script that a shell reads.
pub(super) fn completion(args: &CompletionArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "muslin", &mut script);
    write_line(String::from_utf8(script)?.trim_end())
}

/// Writes a page for the program and one for each of its commands.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<()> {
    fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    let mut program = Cli::command();
    // Commands then know by which name they are called.
    program.build();
    pages(&program, &args.folder).with_context(|| args.folder.display().to_string())
}

fn pages(command: &Command, folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)?;
    let mut shown =
        command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help");
    shown.try_for_each(|inner| pages(inner, folder))
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_command_has_a_manual_page_with_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        man(&ManArgs { folder: folder.path().to_owned() }).unwrap();
        let mut program = Cli::command();
        program.build();
        for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
            if command.get_name() != "help" {
                assert!(
                    folder.path().join(format!("muslin-{}.1", command.get_name())).exists(),
                    "{}",
                    command.get_name()
                );
            }
        }
        let page = fs::read_to_string(folder.path().join("muslin-doctor.1")).unwrap();
        assert!(page.contains("no\\-probes") && page.contains(".TH"), "{page}");
        assert!(folder.path().join("muslin-peer-reset.1").exists());
        assert!(!folder.path().join("muslin-lab-node.1").exists(), "it is nobody's to call");
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "muslin", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["doctor", "explain", "trace", "collect", "watch", "no-probes", "yaml"] {
                assert!(script.contains(word), "{shell} does not know {word}");
            }
        }
    }
}
