use std::io;
use std::path::PathBuf;
use std::time::Duration;

use muslin_netns::NetnsError;
use muslin_pod_network::firewall::FirewallError;

/// Why a lab could not be built, or was not finished.
///
/// That a proof fails is not an error; the [`Report`](crate::Report) says so.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine or this user lacks something that was asked for; the text names it and the remedy.
    #[error("{0}")]
    Missing(String),
    /// Namespaces, links, addresses, routes.
    #[error(transparent)]
    Network(#[from] NetnsError),
    /// The rules that a test breaks on purpose.
    #[error(transparent)]
    Firewall(#[from] FirewallError),
    /// A file or folder of the lab.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that the lab's own process needs of the system.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A process of the lab could not be started or ended by itself.
    #[error("{process} {problem}\n{log}")]
    Process {
        /// Its name in the lab, such as "agent of n1".
        process: String,
        /// What happened.
        problem: String,
        /// The last lines it wrote.
        log: String,
    },
    /// The CNI plugin refused a pod.
    #[error("muslin-cni {command} for pod {pod}: {message}")]
    Plugin {
        /// `ADD` or `DEL`.
        command: &'static str,
        /// Name of the pod.
        pod: String,
        /// What the plugin printed.
        message: String,
    },
    /// Something did not come true in time.
    #[error("waited {} s for {what}; still missing: {missing}", waited.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// What had not come.
        missing: String,
        /// For how long.
        waited: Duration,
    },
    /// The probing sockets.
    #[error("cannot probe from {host}: {source}")]
    Probe {
        /// The host in whose namespace the socket is.
        host: String,
        /// What the system said.
        source: io::Error,
    },
}

impl LabError {
    /// What becomes of the system's word about a file or folder.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// What becomes of the system's word about something else.
    pub fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }

    pub(crate) fn probe(host: &str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Probe { host: host.to_owned(), source }
    }
}
