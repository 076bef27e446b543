//! Standard input: the network configuration of a call.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::request::is_identifier;
use super::{AttachmentResult, Code, Dns, Error, Version};
use crate::conflist::LOOPBACK;

/// How long a released address rests unless the configuration says otherwise: longer than connection tracking
/// and peers' neighbour tables remember a short conversation.
const REST: Duration = Duration::from_mins(1);

/// The configuration of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkConfig {
    /// The version that answers are written in.
    pub version: Version,
    /// By which of its names the plugin is called.
    pub plugin: PluginName,
    /// The network's name.
    pub name: String,
    /// Where `network.json` and the ledger are.
    pub data_dir: PathBuf,
    /// An MTU in octets that overrules the agent's.
    pub mtu: Option<u32>,
    /// How long a released address rests.
    pub rest: Duration,
    /// Addresses that the runtime asks for (`runtimeConfig.ips`, `args.cni.ips`).
    pub addresses: Vec<IpAddr>,
    /// A hardware address that the runtime asks for (`runtimeConfig.mac`, `args.cni.mac`).
    pub mac: Option<String>,
    /// The only ranges that addresses may come from (`runtimeConfig.ipRanges`); empty for no such limit.
    pub ranges: Vec<AddressRange>,
    /// Handed on into the result; the runtime's (`runtimeConfig.dns`) before the configuration's.
    pub dns: Option<Dns>,
    /// The result of the plugins before us, or on CHECK and DEL of the whole ADD.
    pub previous: Option<AttachmentResult>,
    /// GC: the attachments that still exist.
    pub valid_attachments: Vec<ValidAttachment>,
}

/// The names of the plugin (`type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PluginName {
    /// `muslin-cni`, or whatever else the program was installed as.
    #[default]
    Muslin,
    /// `loopback`, which container runtimes call for every pod.
    Loopback,
}

/// First and last address.
pub type AddressRange = RangeInclusive<IpAddr>;

/// An attachment that GC keeps.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidAttachment {
    /// The container's id.
    #[serde(rename = "containerID")]
    pub container: String,
    /// The interface's name inside it.
    #[serde(rename = "ifname")]
    pub interface: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Format {
    #[serde(rename = "type")]
    plugin: Option<String>,
    name: Option<String>,
    data_dir: Option<PathBuf>,
    mtu: Option<u32>,
    rest_seconds: Option<u64>,
    dns: Option<Dns>,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    #[serde(default)]
    args: Args,
    prev_result: Option<AttachmentResult>,
    #[serde(rename = "cni.dev/valid-attachments")]
    valid_attachments: Option<Vec<ValidAttachment>>,
    /// What early runtimes call it; libcni sends both.
    #[serde(rename = "cni.dev/attachments")]
    attachments: Option<Vec<ValidAttachment>>,
}

/// What capabilities pass; those of other plugins (`portMappings`, `bandwidth`) are not ours to read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeConfig {
    ips: Option<Vec<String>>,
    mac: Option<String>,
    ip_ranges: Option<Vec<Vec<RangeFormat>>>,
    dns: Option<RuntimeDns>,
}

#[derive(Default, Deserialize)]
struct Args {
    #[serde(default)]
    cni: ArgsOfCni,
}

#[derive(Default, Deserialize)]
struct ArgsOfCni {
    ips: Option<Vec<String>>,
    mac: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RangeFormat {
    subnet: IpNet,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
}

/// The runtime's words for what the configuration calls nameservers and search (CNI conventions, `dns`).
#[derive(Deserialize)]
struct RuntimeDns {
    #[serde(default)]
    servers: Vec<String>,
    #[serde(default)]
    searches: Vec<String>,
    #[serde(default)]
    options: Vec<String>,
}

impl NetworkConfig {
    /// The version that `input` asks for, as far as it can be told, for answers to input that is otherwise wrong.
    pub fn version_of(input: &[u8]) -> Option<Version> {
        let value: Value = serde_json::from_slice(input).ok()?;
        value.get("cniVersion")?.as_str()?.parse().ok()
    }

    /// Reads standard input. Codes: 6 not JSON, 1 a version we do not speak, 7 anything else that is wrong.
    pub fn parse(input: &[u8]) -> Result<Self, Error> {
        let value: Value = serde_json::from_slice(input).map_err(|error| {
            Error::new(Code::Decoding, "the network configuration is not JSON")
                .with_details(error.to_string())
        })?;
        // A configuration without a version is one of 0.1.0, by the specification's conventions.
        let version = value.get("cniVersion").map_or(Some("0.1.0"), Value::as_str).unwrap_or_default();
        let version: Version = version.parse().map_err(|_| {
            let supported = Version::ALL.map(Version::as_str).join(", ");
            Error::new(Code::IncompatibleVersion, format!("cniVersion {version:?}: one of {supported}"))
        })?;
        let format: Format = serde_json::from_value(value).map_err(|error| invalid(error.to_string()))?;
        format.into_config(version)
    }
}

impl Format {
    fn into_config(self, version: Version) -> Result<NetworkConfig, Error> {
        let name = self.name.unwrap_or_default();
        if !is_identifier(&name) {
            return Err(invalid(format!(
                "name {name:?}: a letter or digit, then letters, digits, '_', '.' or '-'"
            )));
        }
        let asked = self.runtime_config.ips.or(self.args.cni.ips).unwrap_or_default();
        let ranges = self.runtime_config.ip_ranges.unwrap_or_default();
        let runtime_dns = self.runtime_config.dns.map(|dns| Dns {
            nameservers: dns.servers,
            search: dns.searches,
            options: dns.options,
            domain: None,
        });
        Ok(NetworkConfig {
            version,
            plugin: match self.plugin.as_deref() {
                Some(LOOPBACK) => PluginName::Loopback,
                _ => PluginName::Muslin,
            },
            name,
            data_dir: self.data_dir.unwrap_or_else(|| PathBuf::from(crate::DEFAULT_DATA_DIR)),
            mtu: self.mtu,
            rest: self.rest_seconds.map_or(REST, Duration::from_secs),
            addresses: asked.iter().map(|text| parse_address(text)).collect::<Result<_, _>>()?,
            mac: self.runtime_config.mac.or(self.args.cni.mac),
            ranges: ranges.iter().flatten().map(RangeFormat::bounds).collect(),
            dns: runtime_dns.or(self.dns),
            previous: self.prev_result,
            valid_attachments: self.valid_attachments.or(self.attachments).unwrap_or_default(),
        })
    }
}

impl RangeFormat {
    fn bounds(&self) -> AddressRange {
        self.range_start.unwrap_or(self.subnet.network())..=self.range_end.unwrap_or(self.subnet.broadcast())
    }
}

/// An address with or without a prefix length: both are written by runtimes.
fn parse_address(text: &str) -> Result<IpAddr, Error> {
    let host = text.split('/').next().unwrap_or_default();
    host.parse().map_err(|_| invalid(format!("ips: {text:?} is not an address")))
}

fn invalid(details: String) -> Error {
    Error::new(Code::InvalidConfig, "the network configuration is not valid").with_details(details)
}
