//! The answer to ADD, in the version that was asked for.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::Version;

/// What an attachment consists of. Fields that only some versions know are filled here and left out when the
/// answer is written for another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AttachmentResult {
    /// Interfaces on both sides; [`Address::interface`] is an index into them.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// The addresses.
    #[serde(default)]
    pub ips: Vec<Address>,
    /// Routes inside the container.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Name resolution, as the configuration has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<Dns>,
    /// What plugins before us said and we do not know: handed on.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One interface of an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name in its namespace.
    pub name: String,
    /// Its hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Its MTU in octets (since 1.1.0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The container's namespace, `None` on the host's side.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "unless_blank")]
    pub sandbox: Option<String>,
    /// What plugins before us said and we do not know: handed on.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Some plugins write an empty sandbox for the host's side.
fn unless_blank<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(input)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// One address of an attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The next hop of the default route of its family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The index of its interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// One route inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Destination.
    pub dst: IpNet,
    /// Next hop; `None` for what is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// What plugins before us said and we do not know: handed on.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Name resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Servers, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Search list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl AttachmentResult {
    /// The answer as `version` writes it.
    pub fn to_json(&self, version: Version) -> Result<Value, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        value["cniVersion"] = version.as_str().into();
        for interface in items(&mut value, "interfaces") {
            if version < Version::V1_1_0 {
                interface.remove("mtu");
            }
        }
        for (written, address) in items(&mut value, "ips").zip(&self.ips) {
            if version < Version::V1_0_0 {
                let family = if address.address.addr().is_ipv4() { "4" } else { "6" };
                written.insert("version".to_owned(), family.into());
            }
        }
        Ok(value)
    }
}

fn items<'a>(value: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
