//! What a session runs over: its addresses, its device, and how its segments are signed.

use super::BgpPeerSpec;

/// A key of TCP-AO.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpAo {
    /// The Secret and its key.
    pub secret_key_ref: SecretKeyRef,
    /// Identifier of the key in what we send, the peer's receive id; 1 if absent.
    #[serde(rename = "sendID", default, skip_serializing_if = "Option::is_none")]
    pub send_id: Option<u8>,
    /// Identifier of the key in what we receive, the peer's send id; as `sendID` if absent.
    #[serde(rename = "receiveID", default, skip_serializing_if = "Option::is_none")]
    pub receive_id: Option<u8>,
    /// How segments are signed (RFC 5926); `HMAC-SHA-1-96` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<TcpAoAlgorithm>,
}

/// How segments are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
pub enum TcpAoAlgorithm {
    /// HMAC with SHA-1, cut to 96 bits.
    #[serde(rename = "HMAC-SHA-1-96")]
    HmacSha1,
    /// CMAC with AES-128, cut to 96 bits.
    #[serde(rename = "AES-128-CMAC-96")]
    AesCmac,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PasswordSource {
    /// The Secret and its key.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    pub name: String,
    /// The Secret's namespace; [`crate::DEFAULT_NAMESPACE`] if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-muslin-default" = crate::DEFAULT_NAMESPACE))]
    pub namespace: Option<String>,
    /// The key within the Secret; `password` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-muslin-default" = "password"))]
    pub key: Option<String>,
}

impl BgpPeerSpec {
    pub(super) fn check_transport(&self, fault: &mut impl FnMut(&str, &str, &str)) {
        if self.password.is_some() && self.tcp_ao.is_some() {
            fault(".tcpAO", "there is a `password` too", "keep one: a segment is signed in one way");
        }
        if self.source_interface.is_some() && self.local_address.is_some() {
            fault(".sourceInterface", "there is a `localAddress` too", "keep one");
        }
        if self.source_interface.is_some() && self.listen_range.is_some() {
            fault(".sourceInterface", "peers of a listen range connect to us", "leave it out");
        }
        // IFNAMSIZ, with its terminating zero.
        for (name, field) in [(&self.source_interface, ".sourceInterface"), (&self.vrf, ".vrf")] {
            if name.as_ref().is_some_and(|name| !(1..=15).contains(&name.len())) {
                fault(field, "found a name that no interface has", "write 1 to 15 characters");
            }
        }
    }
}
