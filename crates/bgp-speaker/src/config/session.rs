//! Parts of a session's configuration that are types of their own.

use std::sync::Arc;
use std::time::Duration;

use muslin_bgp_packet::{Asn, Role};
use serde::{Deserialize, Serialize};

use super::Secret;

/// An AS of ours that only this peer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocalAs {
    /// Its number: that of our OPEN, and the first of every AS_PATH that we send to an external peer.
    pub asn: Asn,
    /// Where it stands beside the speaker's own AS.
    pub prepend: LocalAsPrepend,
}

impl LocalAs {
    /// The AS instead of the speaker's own.
    pub fn new(asn: Asn) -> Self {
        Self { asn, prepend: LocalAsPrepend::default() }
    }
}

/// In which AS paths a [`LocalAs`] and the speaker's own AS stand. Each also is a loop where it is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum LocalAsPrepend {
    /// Sent paths have it instead of the speaker's own AS, received ones stay as they are: others call this
    /// `no-prepend replace-as`.
    #[default]
    ReplaceAs,
    /// Sent paths have it before the speaker's own AS, received ones stay as they are: `no-prepend`.
    NoPrepend,
    /// Sent paths have it before the speaker's own AS, and it is put before received ones.
    Both,
}

/// Our place beside an external peer (RFC 9234).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RoleConfig {
    /// What we are to the peer; the peer must be the counterpart.
    pub role: Role,
    /// Whether a peer that does not say its role is refused (RFC 9234 §4.2).
    pub strict: bool,
}

/// How many prefixes of one family a peer may have in its Adj-RIB-In.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrefixLimit {
    /// Most prefixes; with ADD-PATH each path counts.
    pub most: u32,
    /// The share of it at which a warning is given, in percent; 100 or more gives none before the limit.
    pub warning: u8,
    /// What happens beyond it.
    pub over: OverLimit,
}

impl PrefixLimit {
    /// A limit that warns at three quarters and resets the session for a minute.
    pub fn new(most: u32) -> Self {
        Self { most, warning: 75, over: OverLimit::default() }
    }

    /// The number of prefixes at which a warning is given.
    pub fn warns_at(&self) -> u32 {
        let share = u64::from(self.most) * u64::from(self.warning) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }
}

/// What happens when a peer has more prefixes than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverLimit {
    /// The session ends (Cease, subcode 1) and the peer is kept out for so long; each time in a row for twice as
    /// long, up to 64 times.
    Restart(Duration),
    /// The session ends and stays down until an operator resets it or changes the limit.
    Shutdown,
    /// The session stays; what comes beyond the limit is refused.
    Discard,
    /// The session stays, nothing is refused; it is said once.
    Warn,
}

impl Default for OverLimit {
    fn default() -> Self {
        Self::Restart(Duration::from_mins(1))
    }
}

/// How segments are signed by TCP-AO (RFC 5925).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpAo {
    /// The master key.
    pub key: Secret,
    /// Identifier of the key in what we send.
    pub send_id: u8,
    /// Identifier of the key in what we receive.
    pub receive_id: u8,
    /// The algorithm.
    pub algorithm: TcpAoAlgorithm,
}

/// Algorithms of RFC 5926.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum TcpAoAlgorithm {
    /// HMAC-SHA-1-96.
    #[default]
    HmacSha1,
    /// AES-128-CMAC-96.
    AesCmac,
}

/// What we call ourselves in OPENs, for whoever looks at the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identification {
    /// Our host's name, with its domain if it has one.
    pub host: Option<Arc<str>>,
    /// Our software and its version.
    pub software: Option<Arc<str>>,
}
