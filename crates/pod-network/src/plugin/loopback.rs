//! The plugin by its other name: `loopback`, which switches a pod's interface `lo` on.
//!
//! containerd calls a plugin of this name for every pod, beside the network's own, and starts no pod without it. Not every
//! node has one: k3s and RKE2 leave it to whoever is the network.

use std::path::Path;

use serde_json::Value;

use super::add::open_netns;
use crate::cni::{Address, AttachmentResult, Code, Command, Error, Interface, NetworkConfig, Request};
use crate::interface::loopback;

/// What the answer is if the configuration asks for this plugin.
pub(super) fn answer(request: &Request, config: &NetworkConfig) -> Result<Option<Value>, Error> {
    match request.command {
        Command::Add => add(request, config).map(Some),
        Command::Check => check(request).map(|()| None),
        // The interface is the namespace's and goes with it.
        Command::Del | Command::Gc | Command::Status | Command::Version => Ok(None),
    }
}

fn add(request: &Request, config: &NetworkConfig) -> Result<Value, Error> {
    let addresses = loopback::switch_on(&open_netns(request)?)?;
    let result = config.previous.clone().unwrap_or_else(|| AttachmentResult {
        interfaces: vec![Interface {
            name: loopback::NAME.to_owned(),
            mac: Some("00:00:00:00:00:00".to_owned()),
            sandbox: request.netns.as_deref().map(Path::display).map(|path| path.to_string()),
            ..Interface::default()
        }],
        ips: addresses
            .into_iter()
            .map(|address| Address { address, gateway: None, interface: Some(0) })
            .collect(),
        ..AttachmentResult::default()
    });
    result.to_json(config.version).map_err(|error| {
        Error::new(Code::Decoding, "the result cannot be written").with_details(error.to_string())
    })
}

fn check(request: &Request) -> Result<(), Error> {
    if loopback::is_on(&open_netns(request)?)? {
        return Ok(());
    }
    let message = format!("the pod's interface {} is switched off", loopback::NAME);
    Err(Error::new(Code::CheckFailed, message))
}
