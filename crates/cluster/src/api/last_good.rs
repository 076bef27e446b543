//! The last good state on disk, for a start while the API server is away.
//!
//! One file, `cluster.json` in a folder of its own, which is a folder of manifests as `muslin plan --state` and
//! `muslin agent --state` read them: a List with one object a line. It is replaced whole (written beside,
//! synced, renamed), so that a crash leaves the old one or the new one. It holds the passwords of this node's own
//! sessions, since without them these could not come up; so it belongs to the agent's user alone (0600).

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest;
use crate::state::{ClusterState, Kind};

const FILE: &str = "cluster.json";
const HEAD: &str = r#"{"apiVersion":"v1","kind":"List","items":["#;
const TAIL: &str = "]}";

/// Why the last good state cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// The file system refuses.
    #[error("the last good state {}: {source}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no state of ours, or it is damaged.
    #[error("the last good state {}, line {line}: {reason}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

/// Writes `state` in the place of what was there.
pub(super) fn save(folder: &Path, state: &ClusterState) -> Result<(), LastGoodError> {
    let file = folder.join(FILE);
    let new = folder.join(format!(".{FILE}.new"));
    let written = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| {
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut out = BufWriter::new(options);
        write(&mut out, state)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, &file)?;
        File::open(folder)?.sync_all()
    });
    written.map_err(|source| LastGoodError::Io { file, source })
}

fn write(out: &mut impl Write, state: &ClusterState) -> io::Result<()> {
    write!(out, "{HEAD}")?;
    for (index, object) in state.manifests().enumerate() {
        write!(out, "{}", if index == 0 { "\n" } else { ",\n" })?;
        serde_json::to_writer(&mut *out, &object?)?;
    }
    writeln!(out, "\n{TAIL}")
}

/// Reads what was written; `None` if nothing ever was. Line by line, so that it costs no more memory than the
/// state itself.
pub(super) fn load(folder: &Path) -> Result<Option<ClusterState>, LastGoodError> {
    let file = folder.join(FILE);
    let failed = |source| LastGoodError::Io { file: file.clone(), source };
    let lines = match File::open(&file) {
        Ok(open) => BufReader::new(open).lines(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    let mut state = ClusterState::default();
    let mut ended = false;
    for (index, line) in lines.enumerate() {
        let line = line.map_err(failed)?;
        let damaged = |reason: String| LastGoodError::Damaged { file: file.clone(), line: index + 1, reason };
        match line.trim_end_matches(',') {
            HEAD | "" => {}
            TAIL => ended = true,
            object => read(object, &mut state).map_err(damaged)?,
        }
    }
    if !ended {
        let reason = "it ends too early".to_owned();
        return Err(LastGoodError::Damaged { file, line: 0, reason });
    }
    Ok(Some(state))
}

/// Adds the object of one line. A single one that this version cannot read is left out: the API server has it.
fn read(line: &str, state: &mut ClusterState) -> Result<(), String> {
    let value: serde_json::Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let text = |pointer: &str| value.pointer(pointer).and_then(serde_json::Value::as_str);
    let kind = text("/kind").unwrap_or_default();
    let Some(kind) = Kind::ALL.iter().find(|known| known.name() == kind).copied() else {
        return Err(format!("there is no kind {kind:?}"));
    };
    let Some(name) = text("/metadata/name") else { return Err("the object has no name".to_owned()) };
    let name: Arc<str> = match text("/metadata/namespace") {
        Some(namespace) => format!("{namespace}/{name}").into(),
        None => name.into(),
    };
    match manifest::object(kind, value) {
        Ok(object) => {
            state.put(name, object);
        }
        Err(faults) => {
            let faults: Vec<_> =
                faults.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
            tracing::warn!(kind = kind.name(), %name, faults = faults.join("; "), "left out of the last good state");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {rack: a}}
spec: {podCIDRs: [10.244.1.0/24]}
---
apiVersion: v1
kind: Secret
metadata: {name: tor, namespace: muslin-system}
data: {password: c2VzYW1l}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPPeer
metadata: {name: tor}
spec: {peerAddress: 172.30.1.1, peerASN: external, holdTime: 9s, password: {secretKeyRef: {name: tor}}}
---
apiVersion: muslin.dev/v1alpha1
kind: BGPFilter
metadata: {name: f}
spec: {export: [{action: Continue, communities: ['/^65000:/'], operations: {prepend: {times: 2}, nextHop: Self}}]}
";

    /// Without the places in files, which differ.
    fn texts(state: &ClusterState) -> Vec<String> {
        state.manifests().map(|object| object.unwrap().to_string()).collect()
    }

    #[test]
    fn what_is_saved_is_what_is_loaded_and_is_a_folder_of_manifests() {
        let folder = tempfile::tempdir().unwrap();
        let state = ClusterState::from_manifest("", STATE);
        assert_eq!(state.problems, []);
        save(folder.path(), &state).unwrap();
        assert_eq!(texts(&load(folder.path()).unwrap().unwrap()), texts(&state));

        let as_folder = crate::load_folder(folder.path()).unwrap();
        assert_eq!(as_folder.problems, []);
        assert_eq!(texts(&as_folder), texts(&state));
    }

    #[test]
    fn what_an_earlier_version_kept_whole_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let objects = [
            r#"{"apiVersion":"v1","kind":"Node","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z","labels":{"rack":"a"},"name":"n1","uid":"f00"},"spec":{"podCIDR":"10.244.1.0/24","podCIDRs":["10.244.1.0/24"]},"status":{"addresses":[{"address":"10.0.0.1","type":"InternalIP"}]}}"#,
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop","uid":"f01"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1"],"ports":[{"port":80,"protocol":"TCP","targetPort":80}],"selector":{"app":"web"},"sessionAffinity":"None","type":"ClusterIP"},"status":{"loadBalancer":{}}}"#,
            r#"{"addressType":"IPv4","apiVersion":"discovery.k8s.io/v1","endpoints":[{"addresses":["10.244.1.5"],"conditions":{"ready":true,"serving":true,"terminating":false},"nodeName":"n1","targetRef":{"kind":"Pod","name":"web-1","namespace":"shop"}}],"kind":"EndpointSlice","metadata":{"labels":{"kubernetes.io/service-name":"web"},"name":"web-x","namespace":"shop"}}"#,
        ];
        fs::write(folder.path().join(FILE), format!("{HEAD}\n{}\n{TAIL}\n", objects.join(",\n"))).unwrap();
        let state = load(folder.path()).unwrap().unwrap();
        assert_eq!(state.nodes["n1"].pod_cidrs().len(), 1);
        assert_eq!(state.services["shop/web"].addresses().len(), 1);
        assert_eq!(state.endpoint_slices["shop/web-x"].endpoints[0].pod(), Some("shop/web-1"));
    }

    #[test]
    fn nobody_else_may_read_the_passwords() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("last-known-good");
        save(&folder, &ClusterState::default()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join(FILE))), (0o700, 0o600));
    }

    #[test]
    fn a_truncated_file_is_refused_whole() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &ClusterState::from_manifest("", STATE)).unwrap();
        let file = folder.path().join(FILE);
        let whole = fs::read_to_string(&file).unwrap();
        for end in [0, whole.len() / 3, whole.len() - TAIL.len() - 1] {
            fs::write(&file, &whole[..end]).unwrap();
            assert!(matches!(load(folder.path()), Err(LastGoodError::Damaged { .. })), "{end}");
        }
    }

    #[test]
    fn where_nothing_was_saved_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path()).unwrap().is_none());
        assert!(load(&folder.path().join("absent")).unwrap().is_none());
    }
}
