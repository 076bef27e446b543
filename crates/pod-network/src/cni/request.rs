//! The environment of a call: command, container, namespace, interface name.

use std::path::PathBuf;

use super::{Arguments, Code, Error};

/// Linux allows 15 octets and a zero (`IFNAMSIZ`).
const INTERFACE_NAME_MAX: usize = 15;

/// What the runtime wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Is it still attached as it should be?
    Check,
    /// Release whatever is not listed.
    Gc,
    /// Would ADD work?
    Status,
    /// Which versions do you speak?
    Version,
}

impl Command {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => return None,
        })
    }

    /// The command's name in the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }
}

/// A call's environment, valid as far as its command needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for commands without a container.
    pub container: String,
    /// `CNI_NETNS`; `None` where it is allowed to be missing and is, or is empty.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`; empty for commands without a container.
    pub interface: String,
    /// `CNI_ARGS`.
    pub arguments: Arguments,
    /// `CNI_NETNS_OVERRIDE`: the namespace may be the plugin's own.
    pub may_share_netns: bool,
}

impl Request {
    /// Reads the variables that the command in `CNI_COMMAND` needs. Errors have code 4 and name every variable
    /// that is missing, or the first that is wrong.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let get = |name: &str| variable(name).unwrap_or_default();
        let command = get("CNI_COMMAND");
        let command = Command::parse(&command).ok_or_else(|| {
            invalid(format!("unknown CNI_COMMAND {command:?}: ADD, DEL, CHECK, GC, STATUS or VERSION"))
        })?;
        let mut request = Self {
            command,
            container: String::new(),
            netns: None,
            interface: String::new(),
            arguments: Arguments::default(),
            may_share_netns: false,
        };
        let needed: &[&str] = match command {
            Command::Add | Command::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Command::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Command::Gc | Command::Status | Command::Version => return Ok(request),
        };
        let missing: Vec<&str> = needed.iter().copied().filter(|name| get(name).is_empty()).collect();
        if !missing.is_empty() {
            return Err(invalid(format!("required environment variables missing: {}", missing.join(", "))));
        }
        request.container = get("CNI_CONTAINERID");
        request.interface = get("CNI_IFNAME");
        check_container(&request.container)?;
        check_interface(&request.interface)?;
        request.netns = Some(get("CNI_NETNS")).filter(|path| !path.is_empty()).map(PathBuf::from);
        request.arguments = Arguments::parse(&get("CNI_ARGS"))?;
        request.may_share_netns =
            matches!(get("CNI_NETNS_OVERRIDE").as_str(), "1" | "true" | "True" | "TRUE");
        Ok(request)
    }
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidEnvironment, message)
}

/// The specification's `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`, which holds for container ids and network names.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn check_container(id: &str) -> Result<(), Error> {
    if is_identifier(id) {
        return Ok(());
    }
    Err(invalid(format!("CNI_CONTAINERID {id:?}: a letter or digit, then letters, digits, '_', '.' or '-'")))
}

fn check_interface(name: &str) -> Result<(), Error> {
    let fault = if name.len() > INTERFACE_NAME_MAX {
        "is longer than 15 octets"
    } else if matches!(name, "." | "..") {
        "is a folder"
    } else if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        "contains '/', ':' or white space"
    } else {
        return Ok(());
    };
    Err(invalid(format!("CNI_IFNAME {name:?} {fault}")))
}
