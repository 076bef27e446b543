//! The error answer: JSON on standard output.

use serde_json::json;

use super::Version;

/// The code of an error answer. 1 to 99 are the specification's ("Error"), from 100 on they are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// The configuration's version is not one that we speak, or not one that knows the command.
    IncompatibleVersion = 1,
    /// The configuration asks for something that we do not offer.
    UnsupportedField = 2,
    /// An environment variable is missing or wrong; the message names it.
    InvalidEnvironment = 4,
    /// A file or socket failed.
    Io = 5,
    /// Standard input is not JSON.
    Decoding = 6,
    /// The configuration is JSON, but not a valid one.
    InvalidConfig = 7,
    /// `CNI_NETNS` is not a network namespace that can be used.
    InvalidNetns = 8,
    /// Not now, but probably soon.
    TryAgainLater = 11,
    /// STATUS: an ADD would fail.
    Unavailable = 50,
    /// STATUS: an ADD would fail, and pods that exist may be cut off.
    LimitedConnectivity = 51,
    /// Every address of the node's blocks is taken.
    Exhausted = 100,
    /// There is an interface, or an address, where the new one should go.
    Occupied = 101,
    /// The kernel refused.
    Kernel = 102,
    /// CHECK found something missing or changed.
    CheckFailed = 103,
}

/// An error answer. It is written as `{cniVersion, code, msg, details}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}{details}", if details.is_empty() { "" } else { ": " })]
pub struct Error {
    /// What kind of failure this is, for programs.
    pub code: Code,
    /// What failed, naming the object.
    pub message: String,
    /// More of it, possibly empty.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    /// The same with `details`.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The answer as the protocol writes it.
    pub fn to_json(&self, version: Version) -> serde_json::Value {
        json!({
            "cniVersion": version.as_str(),
            "code": self.code as u32,
            "msg": self.message,
            "details": self.details,
        })
    }
}
