//! A node's agent: the real program, started in the node's namespace.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use muslin_netns::Namespace;

use crate::LabError;
use crate::daemon::Daemon;

/// How long an agent may take until it answers on its socket.
const PATIENCE: Duration = Duration::from_secs(15);

/// A running agent and its folders.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) daemon: Daemon,
    pub(crate) folders: AgentFolders,
}

/// Where an agent keeps what.
#[derive(Clone, Debug)]
pub(crate) struct AgentFolders {
    run: PathBuf,
    data: PathBuf,
    pub(crate) cni: PathBuf,
    log: PathBuf,
}

impl AgentFolders {
    pub(crate) fn create(folder: &Path) -> Result<Self, LabError> {
        let folders = Self {
            run: folder.join("run"),
            data: folder.join("data"),
            cni: folder.join("cni"),
            log: folder.join("agent.log"),
        };
        for folder in [&folders.run, &folders.data, &folders.cni] {
            fs::create_dir_all(folder).map_err(LabError::file(folder))?;
        }
        Ok(folders)
    }

    /// The socket of the agent's local API.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("muslin.sock")
    }

    /// Where commands on the node find them.
    pub(crate) fn environment(&self) -> Vec<(String, OsString)> {
        let named = [
            ("MUSLIN_SOCKET", self.socket()),
            ("MUSLIN_DATA_DIR", self.data.clone()),
            ("MUSLIN_CNI_CONF_DIR", self.cni.clone()),
        ];
        named.into_iter().map(|(name, path)| (name.to_owned(), path.into())).collect()
    }
}

impl Agent {
    pub(crate) fn start(
        muslin: &Path,
        node: &str,
        namespace: &Namespace,
        state: &Path,
        folders: AgentFolders,
    ) -> Result<Self, LabError> {
        let mut command = Command::new(muslin);
        command.arg("agent").args(["--node", node]).arg("--state").arg(state);
        command.arg("--run-dir").arg(&folders.run).arg("--data-dir").arg(&folders.data);
        command.arg("--cni-conf-dir").arg(&folders.cni);
        let daemon = Daemon::start(format!("agent of {node}"), namespace, &mut command, folders.log.clone())?;
        Ok(Self { daemon, folders })
    }

    /// Waits until the agent says that it is converged: everything it wants is in the kernel and with its peers.
    pub(crate) fn await_converged(&mut self, patience: Duration) -> Result<(), LabError> {
        let socket = self.folders.socket();
        self.daemon.await_path(&socket, PATIENCE)?;
        let question = format!("/v1/ready?wait=converged&timeout={}", patience.as_secs());
        match get(&socket, &question, patience + PATIENCE) {
            Ok((200, _)) => Ok(()),
            Ok((status, body)) => {
                Err(self.daemon.failed(format!("is not ready (status {status}): {}", body.trim())))
            }
            Err(error) => {
                Err(self.daemon.failed(format!("does not answer on {}: {error}", socket.display())))
            }
        }
    }
}

/// One HTTP request over a unix socket: status and body.
fn get(socket: &Path, path: &str, patience: Duration) -> io::Result<(u16, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    let question = format!("GET {path} HTTP/1.0\r\nHost: muslin\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, body.to_owned())).ok_or_else(|| io::Error::other("not an HTTP answer"))
}
