use std::io;

/// What can go wrong with a namespace; every message names the namespace and what was being done.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The kernel refused a new network namespace (most often: the process is not root in its user namespace).
    #[error("cannot create the network namespace {namespace}: {source}")]
    Create {
        /// Name given to [`Namespace::new`](crate::Namespace::new).
        namespace: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A thread could not enter the namespace.
    #[error("cannot enter the network namespace {namespace}: {source}")]
    Enter {
        /// The namespace.
        namespace: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a change of, or a question about, links, addresses or routes.
    #[error("{namespace}: cannot {action}: {source}")]
    Netlink {
        /// The namespace.
        namespace: String,
        /// What was asked, such as "add address 192.0.2.1/24 to eth0".
        action: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No link of that name is in the namespace.
    #[error("{namespace}: there is no link {link}")]
    NoSuchLink {
        /// The namespace.
        namespace: String,
        /// The name that was looked for.
        link: String,
    },
    /// A kernel setting could not be written or read.
    #[error("{namespace}: cannot set {key}: {source}")]
    Sysctl {
        /// The namespace.
        namespace: String,
        /// Path below `/proc/sys`.
        key: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The process could not be isolated; `remedy` says what the person at the keyboard can do.
    #[error("cannot {action}: {source}; {remedy}")]
    Isolate {
        /// The step that failed.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
}

impl NetnsError {
    pub(crate) fn netlink(namespace: &str, action: impl Into<String>, source: &rtnetlink::Error) -> Self {
        let source = match source {
            rtnetlink::Error::NetlinkError(message) => message.to_io(),
            other => io::Error::other(other.to_string()),
        };
        Self::Netlink { namespace: namespace.to_owned(), action: action.into(), source }
    }
}
