//! `CNI_ARGS`: `KEY=value;KEY=value`.

use std::net::IpAddr;

use super::{Code, Error};

/// What the runtime said in `CNI_ARGS`. The keys with `K8S_` name the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `IP`: addresses that the pod is to get, separated by commas.
    pub addresses: Vec<IpAddr>,
    /// `MAC`: the hardware address that the pod's interface is to get.
    pub mac: Option<String>,
    /// `K8S_POD_NAMESPACE`
    pub pod_namespace: Option<String>,
    /// `K8S_POD_NAME`
    pub pod_name: Option<String>,
}

impl Arguments {
    /// Reads `CNI_ARGS`. A key that we do not know is an error unless `IgnoreUnknown` is set, and so is a pair
    /// without `=`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut arguments = Self::default();
        let mut unknown = Vec::new();
        let mut ignore_unknown = false;
        for pair in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| invalid(format!("CNI_ARGS: {pair:?} is not KEY=value")))?;
            match key {
                "IgnoreUnknown" => ignore_unknown = is_true(value)?,
                "IP" => arguments.addresses = parse_addresses(value)?,
                "MAC" => arguments.mac = Some(value.to_owned()),
                "K8S_POD_NAMESPACE" => arguments.pod_namespace = Some(value.to_owned()),
                "K8S_POD_NAME" => arguments.pod_name = Some(value.to_owned()),
                "K8S_POD_INFRA_CONTAINER_ID" | "K8S_POD_UID" => {}
                other => unknown.push(other),
            }
        }
        if unknown.is_empty() || ignore_unknown {
            return Ok(arguments);
        }
        Err(invalid(format!("CNI_ARGS: unknown keys {} and IgnoreUnknown is not set", unknown.join(", "))))
    }
}

fn is_true(value: &str) -> Result<bool, Error> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(invalid(format!("CNI_ARGS: IgnoreUnknown is {value:?}, neither true nor false"))),
    }
}

fn parse_addresses(value: &str) -> Result<Vec<IpAddr>, Error> {
    value
        .split(',')
        .map(|address| {
            // Some runtimes append the prefix length of their network; a pod's address is a host's here.
            let host = address.split('/').next().unwrap_or_default().trim();
            host.parse().map_err(|_| invalid(format!("CNI_ARGS: IP={address} is not an address")))
        })
        .collect()
}

fn invalid(message: String) -> Error {
    Error::new(Code::InvalidEnvironment, message)
}
