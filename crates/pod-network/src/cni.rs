//! The CNI protocol as values: what a runtime asks, and what it is answered.
//!
//! Source: the Container Network Interface specification, versions 0.3.0 to 1.1.0.

mod arguments;
mod config;
mod error;
mod request;
mod result;
mod version;

pub use arguments::Arguments;
pub use config::{AddressRange, NetworkConfig, PluginName, ValidAttachment};
pub use error::{Code, Error};
pub use request::{Command, Request};
pub use result::{Address, AttachmentResult, Dns, Interface, Route};
pub use version::Version;
