//! The plugin's five commands, and the program around them.
//!
//! ```text
//!   ADD   network.json → ledger (lock, allocate, save, unlock) → interface → result
//!   DEL   interface switched off → ledger → answer … → interface deleted by a process of its own
//! ```
//!
//! The ledger is written before anything is made and after everything is gone, so whatever is cut short leaves
//! at most an address that nobody uses: the DEL that follows a failed ADD, GC, or the comparison with the kernel
//! when addresses run short releases it.

mod add;
mod check;
mod del;
mod failure;
mod gc;
mod loopback;
mod reaper;
mod status;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cni::{Code, Command, Error, NetworkConfig, PluginName, Request, Version};
use crate::ipam::Attachment;

const ABOUT: &str =
    concat!("muslin-cni ", env!("CARGO_PKG_VERSION"), ": the CNI plugin of Muslin, a BGP-routed pod network");

/// The program `muslin-cni`.
pub fn main() -> ExitCode {
    if let Some(reaper) = reaper::Reaper::from_command_line(std::env::args().skip(1)) {
        return reaper.run();
    }
    let variable = |name: &str| std::env::var_os(name).map(OsString::into_string).and_then(Result::ok);
    let call = Call {
        variable: &variable,
        input: &mut io::stdin(),
        output: &mut io::stdout(),
        log: &mut io::stderr(),
    };
    call.run()
}

/// One call of the plugin with everything that it sees of the world outside the kernel.
struct Call<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    input: &'a mut dyn Read,
    output: &'a mut dyn Write,
    log: &'a mut dyn Write,
}

impl Call<'_> {
    fn run(self) -> ExitCode {
        let command = (self.variable)("CNI_COMMAND").unwrap_or_default();
        if command.is_empty() {
            let versions = Version::ALL.map(Version::as_str).join(", ");
            let _ = writeln!(self.log, "{ABOUT}\nCNI protocol versions supported: {versions}");
            return ExitCode::SUCCESS;
        }
        let mut version = Version::LATEST;
        let answer = answer(self.variable, self.input, self.log, &mut version);
        let (answer, exit) = match answer {
            Ok(answer) => (answer, ExitCode::SUCCESS),
            Err(error) => (Some(error.to_json(version)), ExitCode::FAILURE),
        };
        let written = answer.map_or(Ok(()), |answer| writeln!(self.output, "{answer:#}"));
        // Whoever closed our output does not learn of it, but the exit code tells the rest.
        if written.and_then(|()| self.output.flush()).is_ok() { exit } else { ExitCode::FAILURE }
    }
}

/// `version` becomes the one that an error is to be written in, as soon as it is known.
fn answer(
    variable: &dyn Fn(&str) -> Option<String>,
    input: &mut dyn Read,
    log: &mut dyn Write,
    version: &mut Version,
) -> Result<Option<Value>, Error> {
    let request = Request::from_environment(variable)?;
    let mut text = Vec::new();
    input.read_to_end(&mut text).map_err(|error| {
        Error::new(Code::Io, "the network configuration cannot be read").with_details(error.to_string())
    })?;
    *version = NetworkConfig::version_of(&text).unwrap_or(Version::LATEST);
    if request.command == Command::Version {
        // Whatever else the configuration says, or whether there is one.
        return Ok(Some(versions(*version)));
    }
    let config = NetworkConfig::parse(&text)?;
    require_version(request.command, config.version)?;
    if config.plugin == PluginName::Loopback {
        return loopback::answer(&request, &config);
    }
    let attachment = Attachment {
        network: config.name.clone(),
        container: request.container.clone(),
        interface: request.interface.clone(),
    };
    match request.command {
        Command::Add => add::add(&request, &config, &attachment).map(Some),
        Command::Del => del::del(&config, &attachment, log).map(|()| None),
        Command::Check => check::check(&request, &config, &attachment).map(|()| None),
        Command::Gc => gc::gc(&config).map(|()| None),
        Command::Status => status::status(&config).map(|()| None),
        Command::Version => Ok(Some(versions(config.version))),
    }
}

fn versions(asked: Version) -> Value {
    json!({ "cniVersion": asked.as_str(), "supportedVersions": Version::ALL.map(Version::as_str) })
}

/// CHECK came with 0.4.0, GC and STATUS with 1.1.0.
fn require_version(command: Command, version: Version) -> Result<(), Error> {
    let since = match command {
        Command::Check => Version::V0_4_0,
        Command::Gc | Command::Status => Version::V1_1_0,
        Command::Add | Command::Del | Command::Version => Version::V0_3_0,
    };
    if version >= since {
        return Ok(());
    }
    let message = format!("cniVersion {version} does not have {}, which came with {since}", command.as_str());
    Err(Error::new(Code::IncompatibleVersion, message))
}

#[cfg(test)]
mod tests;
