//! `network.json`: what the agent tells the plugin about this node.
//!
//! The plugin runs for every pod, also while the agent restarts, so the agent leaves the node's address blocks
//! and MTU in a file and replaces it as they change.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::atomic_file::{self, Durability};

/// The format that this build writes and the newest that it reads.
const VERSION: u32 = 1;
const NAME: &str = "network.json";

/// What the plugin needs to know of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFile {
    /// The ranges that pods of this node get their addresses from, in order of preference: one address of each
    /// family that has a block.
    pub blocks: Vec<IpNet>,
    /// The MTU of pod interfaces in octets, normally the uplink's; `None` lets the plugin look at the link of
    /// the default route.
    pub mtu: Option<u32>,
    /// Addresses inside the blocks that no pod may get, such as those of the node's own interfaces.
    pub reserved: Vec<IpAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Format {
    version: u32,
    blocks: Vec<IpNet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reserved: Vec<IpAddr>,
}

/// Why the node's network file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The agent has not written it yet: a reason to try again, not a fault.
    #[error("{}: the agent has not yet said which addresses this node has", .0.display())]
    NotYet(PathBuf),
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The contents are not what an agent writes.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A newer agent wrote it.
    #[error("{}: version {found} is newer than {VERSION}, the newest that this muslin-cni reads", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl NetworkFile {
    /// Replaces `network.json` in `data_dir` (created if missing) atomically; it survives a power failure.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let format = Format {
            version: VERSION,
            blocks: self.blocks.clone(),
            mtu: self.mtu,
            reserved: self.reserved.clone(),
        };
        std::fs::create_dir_all(data_dir)?;
        let mut contents = serde_json::to_vec_pretty(&format)?;
        contents.push(b'\n');
        atomic_file::replace(&data_dir.join(NAME), &contents, 0o644, Durability::PowerLoss)
    }

    /// Reads `network.json` from `data_dir`. A file without blocks is [`ReadError::NotYet`]: the node has none yet.
    pub fn read(data_dir: &Path) -> Result<Self, ReadError> {
        let path = data_dir.join(NAME);
        let contents = match std::fs::read(&path) {
            Ok(contents) => contents,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::NotYet(path)),
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let format: Format = match serde_json::from_slice(&contents) {
            Ok(format) => format,
            Err(source) => return Err(ReadError::Malformed { path, source }),
        };
        if format.version > VERSION {
            return Err(ReadError::Newer { path, found: format.version });
        }
        if format.blocks.is_empty() {
            return Err(ReadError::NotYet(path));
        }
        let blocks = format.blocks.iter().map(IpNet::trunc).collect();
        Ok(Self { blocks, mtu: format.mtu, reserved: format.reserved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dual_stack() -> NetworkFile {
        NetworkFile {
            blocks: vec!["10.244.1.0/24".parse().unwrap(), "fd00:10:244:1::/64".parse().unwrap()],
            mtu: Some(1450),
            reserved: vec!["10.244.1.1".parse().unwrap()],
        }
    }

    #[test]
    fn what_the_agent_writes_the_plugin_reads() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("made/on/the/way");
        dual_stack().write(&data_dir).unwrap();
        assert_eq!(NetworkFile::read(&data_dir).unwrap(), dual_stack());
    }

    #[test]
    fn a_missing_file_or_one_without_blocks_means_not_yet() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(NetworkFile::read(folder.path()), Err(ReadError::NotYet(_))));
        NetworkFile { blocks: Vec::new(), ..dual_stack() }.write(folder.path()).unwrap();
        assert!(matches!(NetworkFile::read(folder.path()), Err(ReadError::NotYet(_))));
    }

    #[test]
    fn a_newer_version_is_refused_by_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), r#"{"version": 2, "blocks": []}"#).unwrap();
        let error = NetworkFile::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("version 2 is newer than 1"), "{error}");
    }

    #[test]
    fn a_malformed_file_is_named_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), r#"{"version": 1, "blocks": ["10.0.0.0/33"]}"#).unwrap();
        let error = NetworkFile::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("network.json") && error.contains("line 1"), "{error}");
    }
}
