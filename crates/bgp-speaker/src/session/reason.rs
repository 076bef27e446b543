//! Why a session or an attempt ended, in words, and what can be done about it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use muslin_bgp_packet::{Cease, Notification};

/// Why we end a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An operator shut the peer down, with this text for the peer (RFC 9003): Cease/2.
    Shutdown(Arc<str>),
    /// The peer is no longer configured: Cease/3.
    Removed,
    /// An operator reset the session, with this text for the peer: Cease/4. It starts again.
    Reset(Arc<str>),
    /// What was negotiated no longer fits the configuration: Cease/6. It starts again.
    ConfigurationChanged,
    /// We have another address: the peer knows whoever is there as another neighbour, and would keep what this one
    /// announced beside it, so to it this one is gone: Cease/3. It starts again from there.
    AddressChanged,
    /// The peer is on another link of ours than when the session began: Cease/6. It starts again.
    LinkChanged,
    /// Our process restarts: the connection is closed without a Cease, so that a peer with graceful
    /// restart keeps our routes (RFC 4724 §4.1).
    Restart,
}

impl Stop {
    pub(crate) fn notification(&self) -> Option<Notification> {
        match self {
            Self::Shutdown(text) => Some(Notification::cease_with_text(Cease::AdministrativeShutdown, text)),
            Self::Removed | Self::AddressChanged => Some(Notification::cease(Cease::PeerDeconfigured)),
            Self::Reset(text) => Some(Notification::cease_with_text(Cease::AdministrativeReset, text)),
            Self::ConfigurationChanged | Self::LinkChanged => {
                Some(Notification::cease(Cease::OtherConfigurationChange))
            }
            Self::Restart => None,
        }
    }

    /// Whether the session is started again at once.
    pub(super) fn restarts(&self) -> bool {
        match self {
            Self::Reset(_) | Self::ConfigurationChanged | Self::AddressChanged | Self::LinkChanged => true,
            Self::Shutdown(_) | Self::Removed | Self::Restart => false,
        }
    }
}

/// Why a session, or an attempt to get one, ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndReason {
    /// The transport connection was refused or unreachable.
    #[error("cannot connect: {error}")]
    ConnectFailed {
        /// What the system said.
        error: ErrorKind,
    },
    /// Nobody answered the connection attempt.
    #[error("no answer to our connection attempt within {} s", waited.as_secs())]
    ConnectTimedOut {
        /// How long we waited.
        waited: Duration,
    },
    /// The peer closed the connection and said nothing.
    #[error("the peer closed the connection without a NOTIFICATION")]
    ClosedByPeer,
    /// The transport connection broke.
    #[error("the connection broke: {error}")]
    ConnectionFailed {
        /// What the system said.
        error: ErrorKind,
    },
    /// The peer opened a new connection after a restart (RFC 4724 §4.2).
    #[error("the peer restarted and opened a new connection")]
    ReplacedByPeer,
    /// We found an error.
    #[error("we sent {notification}: {detail}")]
    Sent {
        /// What we told the peer.
        notification: Notification,
        /// What was found and what is allowed.
        detail: String,
    },
    /// The peer found an error, or ends the session for reasons of its own.
    #[error("the peer sent {notification}")]
    Received {
        /// What it said; [`Notification::communication`] has its words, if any.
        notification: Notification,
    },
    /// We ended it on purpose.
    #[error("{}", stop_in_words(.0))]
    Stopped(Stop),
}

fn stop_in_words(stop: &Stop) -> String {
    match stop {
        Stop::Shutdown(text) if text.is_empty() => "shut down by configuration".into(),
        Stop::Shutdown(text) => format!("shut down by configuration: {text}"),
        Stop::Removed => "the peer is no longer configured".into(),
        Stop::Reset(text) if text.is_empty() => "reset by an operator".into(),
        Stop::Reset(text) => format!("reset by an operator: {text}"),
        Stop::ConfigurationChanged => "reset because the configuration changed".into(),
        Stop::AddressChanged => "reset because our own address is another one now".into(),
        Stop::LinkChanged => "reset because the peer is on another link now".into(),
        Stop::Restart => "we restart".into(),
    }
}

impl EndReason {
    /// What an operator can do, if we know.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::ConnectFailed { error } => Some(connect_remedy(*error)),
            Self::ConnectTimedOut { .. } => Some(
                "check that the peer is up and reachable, that no firewall drops its BGP port, and that both \
                 sides have the same TCP-MD5 password: a wrong one looks like silence",
            ),
            Self::ClosedByPeer => Some("look into the peer's log; it may not know our address or our AS"),
            Self::ConnectionFailed { error: ErrorKind::TimedOut } => Some(
                "the peer acknowledged nothing for the TCP user timeout: look whether it is up and whether the path drops packets",
            ),
            Self::ConnectionFailed { .. } => Some("look at the path to the peer and into the peer's log"),
            Self::Sent { notification, .. } => sent_remedy(&meaning(notification)),
            Self::Received { notification } => received_remedy(&meaning(notification)),
            Self::Stopped(Stop::Shutdown(_)) => Some("remove the shutdown from the peer's configuration"),
            Self::ReplacedByPeer | Self::Stopped(_) => None,
        }
    }

    /// Whether we ended the session because of the peer's prefix limit.
    pub(super) fn is_over_limit(&self) -> bool {
        matches!(self, Self::Sent { notification, .. } if meaning(notification).is_cease(Cease::MaximumPrefixes))
    }

    /// Whether it only resolves two connections into one.
    pub(super) fn is_collision(&self) -> bool {
        match self {
            Self::Sent { notification, .. } | Self::Received { notification } => {
                notification.is_cease(Cease::ConnectionCollision)
            }
            Self::ConnectFailed { .. }
            | Self::ConnectTimedOut { .. }
            | Self::ClosedByPeer
            | Self::ConnectionFailed { .. }
            | Self::ReplacedByPeer
            | Self::Stopped(_) => false,
        }
    }
}

/// What a Hard Reset stands for (RFC 8538 §3.1); any other NOTIFICATION stands for itself.
fn meaning(notification: &Notification) -> Notification {
    notification.inner().unwrap_or_else(|| notification.clone())
}

fn connect_remedy(error: ErrorKind) -> &'static str {
    match error {
        ErrorKind::ConnectionRefused => {
            "nothing listens there: start the peer's BGP speaker, or correct the address or port"
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "there is no way to the peer: check the interface, its addresses and routes; a directly connected \
             peer must be on a link of ours"
        }
        ErrorKind::AddrNotAvailable => "the configured local address is not on this machine",
        ErrorKind::PermissionDenied => "a local firewall rule or missing capability forbids the connection",
        ErrorKind::NotFound => "the configured interface does not exist",
        _ => "check the path to the peer",
    }
}

fn sent_remedy(notification: &Notification) -> Option<&'static str> {
    match (notification.code, notification.subcode) {
        (2, 2) => Some("make the peer's AS and the one configured here agree"),
        (2, 3) => Some("give every speaker a router id of its own"),
        (2, 6) => Some("configure a hold time of 0 or at least 3 s at the peer"),
        (2, 7) => Some("configure an address family that both sides have"),
        (2, 11) => Some("make the roles of both sides belong together, or take `strict` out"),
        (4, _) => Some("the peer or the path to it stalls: look at its load and at the link"),
        (8, _) => Some("the peer reads nothing: look at its load, and whether its process hangs"),
        (6, 1) => Some("raise the prefix limit, or filter what the peer sends"),
        (1..=3 | 5 | 7, _) => Some("the peer sent what the protocol does not allow: report it to its vendor"),
        _ => None,
    }
}

fn received_remedy(notification: &Notification) -> Option<&'static str> {
    match (notification.code, notification.subcode) {
        (2, 2) => Some("the peer expects another AS of us: compare both configurations"),
        (2, 3) => Some("the peer does not accept our router id: it may be its own"),
        (2, 7) => Some("the peer wants a capability that we do not offer: compare the address families"),
        (2, 11) => Some("the peer has another role for us: compare both configurations (RFC 9234)"),
        (4, _) => Some("the peer heard nothing of us in its hold time: look at our load and at the link"),
        (8, _) => Some("the peer could not send to us for long: look at our load and at the path"),
        (6, 1) => Some("we announced more prefixes than the peer takes: look at its limit"),
        (6, 2) => Some("the peer is shut down by its operator"),
        (6, 3) => Some("the peer has removed us from its configuration"),
        (6, 5) => Some("the peer refuses our connection: it may not know our address"),
        (6, 4 | 7) => None,
        _ => Some("look into the peer's log"),
    }
}
