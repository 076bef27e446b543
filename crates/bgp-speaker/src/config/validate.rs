//! What a configuration must hold before anything is done with it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use muslin_bgp_packet::Asn;

use super::{PeerKey, RemoteAs, Secret, SessionConfig, SpeakerConfig};

/// Longest TCP-MD5 key that Linux takes (`TCP_MD5SIG_MAXKEYLEN`), in octets.
const MAX_PASSWORD: usize = 80;

/// Longest shutdown text (RFC 9003 §2), in octets.
const MAX_SHUTDOWN_TEXT: usize = 255;

/// RFC 4271 §4.4: KEEPALIVEs must not come more often than one a second.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);

/// Why a configuration was refused. The one in force stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// RFC 6286 §2.1.
    #[error("router id {found} is not allowed: it must be a non-zero number that no other speaker here has")]
    RouterId {
        /// What was configured.
        found: Ipv4Addr,
    },
    /// RFC 7607.
    #[error("AS 0 is reserved and cannot be ours ({place})")]
    AsZero {
        /// The speaker or the peer.
        place: String,
    },
    /// Two peers or ranges of one name.
    #[error("peer {key} is configured twice (second by {cause})")]
    DuplicateKey {
        /// The name.
        key: PeerKey,
        /// The object that repeats it.
        cause: String,
    },
    /// Two peers at one address.
    #[error("peer {key} ({cause}) has address {address}, which another peer has already")]
    DuplicateAddress {
        /// The second peer.
        key: PeerKey,
        /// Its address.
        address: IpAddr,
        /// The object that asked for it.
        cause: String,
    },
    /// RFC 4271 §4.2.
    #[error("peer {key} ({cause}): hold time {found} s is not allowed: 0, or 3 to 65535")]
    HoldTime {
        /// The peer.
        key: PeerKey,
        /// What was configured, in seconds.
        found: u64,
        /// The object.
        cause: String,
    },
    /// RFC 4271 §4.4: no more than one a second, and three in a hold time.
    #[error(
        "peer {key} ({cause}): KEEPALIVEs every {found:?} are not allowed: at least a second apart, at most a \
         third of the hold time of {hold} s"
    )]
    Keepalive {
        /// The peer.
        key: PeerKey,
        /// What was configured.
        found: Duration,
        /// The hold time, in seconds.
        hold: u64,
        /// The object.
        cause: String,
    },
    /// RFC 9234 §4: roles are between ASes.
    #[error("peer {key} ({cause}): a role is for external peers, and this one is internal")]
    Role {
        /// The peer.
        key: PeerKey,
        /// The object.
        cause: String,
    },
    /// A session must carry something.
    #[error("peer {key} ({cause}): no address family; give at least one")]
    NoFamily {
        /// The peer.
        key: PeerKey,
        /// The object.
        cause: String,
    },
    /// Key longer than the kernel takes, or empty.
    #[error("peer {key} ({cause}): the password has {found} octets, allowed are 1 to 80")]
    Password {
        /// The peer.
        key: PeerKey,
        /// Length found.
        found: usize,
        /// The object.
        cause: String,
    },
    /// A segment is signed in one way.
    #[error("peer {key} ({cause}): TCP-MD5 and TCP-AO exclude each other; keep one")]
    TwoSignatures {
        /// The peer.
        key: PeerKey,
        /// The object.
        cause: String,
    },
    /// RFC 9003 §2.
    #[error("peer {key} ({cause}): the shutdown text has {found} octets, allowed are up to 255")]
    ShutdownText {
        /// The peer.
        key: PeerKey,
        /// Length found.
        found: usize,
        /// The object.
        cause: String,
    },
    /// A policy that cannot be worked with.
    #[error("peer {key} ({cause}): {error}")]
    Policy {
        /// The peer.
        key: PeerKey,
        /// The object.
        cause: String,
        /// What is wrong.
        error: PolicyError,
    },
}

/// Why a policy cannot be worked with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "policy {policy} has {rules} rules of which {continuing} continue; of so many rules {most} may continue, and \
     65535 is the most there may be"
)]
pub struct PolicyError {
    /// Its name.
    pub policy: String,
    /// Number of its rules.
    pub rules: usize,
    /// How many of them continue.
    pub continuing: usize,
    /// How many may.
    pub most: usize,
}

impl SpeakerConfig {
    /// Checks what no type can say.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.router_id.is_unspecified() {
            return Err(ConfigError::RouterId { found: self.router_id });
        }
        if self.asn.0 == 0 {
            return Err(ConfigError::AsZero { place: "the speaker".into() });
        }
        let mut keys = HashSet::new();
        let mut addresses = HashSet::new();
        for peer in &self.peers {
            if !keys.insert(&peer.key) {
                return Err(ConfigError::DuplicateKey {
                    key: peer.key.clone(),
                    cause: peer.cause.to_string(),
                });
            }
            if !addresses.insert((peer.address, &peer.interface)) {
                return Err(ConfigError::DuplicateAddress {
                    key: peer.key.clone(),
                    address: peer.address,
                    cause: peer.cause.to_string(),
                });
            }
            self.validate_session(&peer.key, &peer.cause, &peer.session)?;
        }
        for range in &self.listen_ranges {
            if !keys.insert(&range.key) {
                return Err(ConfigError::DuplicateKey {
                    key: range.key.clone(),
                    cause: range.cause.to_string(),
                });
            }
            self.validate_session(&range.key, &range.cause, &range.session)?;
        }
        Ok(())
    }

    fn validate_session(
        &self,
        key: &PeerKey,
        cause: &str,
        session: &SessionConfig,
    ) -> Result<(), ConfigError> {
        let (key, cause) = (key.clone(), cause.to_owned());
        let hold = session.hold_time.as_secs();
        if matches!(hold, 1 | 2) || hold > u64::from(u16::MAX) {
            return Err(ConfigError::HoldTime { key, found: hold, cause });
        }
        let as_zero = session.local_as.is_some_and(|local| local.asn == Asn::ZERO)
            || session.remote_as == RemoteAs::Is(Asn::ZERO);
        if as_zero {
            return Err(ConfigError::AsZero { place: format!("peer {key}, {cause}") });
        }
        let third = session.hold_time / 3;
        if let Some(found) = session.keepalive
            && (found < SHORTEST_KEEPALIVE || found > third)
        {
            return Err(ConfigError::Keepalive { key, found, hold, cause });
        }
        let local_as = session.local_as.map_or(self.asn, |local| local.asn);
        let internal =
            matches!(session.remote_as, RemoteAs::Internal) || session.remote_as == RemoteAs::Is(local_as);
        if session.role.is_some() && internal {
            return Err(ConfigError::Role { key, cause });
        }
        if session.families.is_empty() {
            return Err(ConfigError::NoFamily { key, cause });
        }
        if session.password.is_some() && session.tcp_ao.is_some() {
            return Err(ConfigError::TwoSignatures { key, cause });
        }
        let keys = session.password.iter().chain(session.tcp_ao.as_ref().map(|ao| &ao.key));
        for Secret(password) in keys {
            if !(1..=MAX_PASSWORD).contains(&password.len()) {
                return Err(ConfigError::Password { key, found: password.len(), cause });
            }
        }
        for policy in [&session.import, &session.export] {
            policy.check().map_err(|error| ConfigError::Policy {
                key: key.clone(),
                cause: cause.clone(),
                error,
            })?;
        }
        match &session.shutdown {
            Some(text) if text.len() > MAX_SHUTDOWN_TEXT => {
                Err(ConfigError::ShutdownText { key, found: text.len(), cause })
            }
            _ => Ok(()),
        }
    }
}
