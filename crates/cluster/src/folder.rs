//! A folder of manifests as the source of cluster state.
//!
//! Every file ending in `.yaml`, `.yml` or `.json` that is not hidden is read; folders within are not. Nothing
//! that is half-written takes effect: an object that cannot be read stays as it was, a file that cannot be
//! parsed keeps all its objects, and so does a file that has become empty and a folder that has gone or lost every
//! manifest. What is removed from a file that parses, and with a file that is removed beside others, is gone.

mod watch;

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::manifest::Manifest;
use crate::problem::{Effect, Problem};
use crate::state::{AnyObject, ClusterState, ObjectRef};

pub use watch::FolderSource;

/// Largest file that is read, in bytes.
const FILE_LIMIT: u64 = 64 << 20;

/// Why a folder cannot be a source at all.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder cannot be listed.
    #[error("the folder {} cannot be read: {source}", .folder.display())]
    Unreadable {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its changes cannot be followed.
    #[error("changes of the folder {} cannot be followed: {source}", .folder.display())]
    Unwatchable {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: notify::Error,
    },
    /// The thread that follows it cannot be started.
    #[error("no thread to follow the folder {}: {source}", .folder.display())]
    NoThread {
        /// Which folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads a folder once.
///
/// # Errors
///
/// If the folder cannot be listed. Files and objects that cannot be read are in [`ClusterState::problems`].
pub fn load_folder(path: &Path) -> Result<ClusterState, FolderError> {
    let mut folder = Folder::default();
    folder.replace(
        read_files(path, |_, _| None)
            .map_err(|source| FolderError::Unreadable { folder: path.to_owned(), source })?,
    );
    Ok(folder.into_state())
}

/// The texts of a folder's files by name; `None` for one that is not to be read now.
pub(crate) type Files = BTreeMap<Arc<str>, Result<String, Unread>>;

/// Why a file's text is not there although the file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Somebody is writing it.
    BeingWritten,
    /// It is as it was when it was read last.
    Unchanged,
    /// It cannot be read; the reason in words.
    Failed(String),
}

/// Reads the manifests of a folder, but for those that `spare` gives a reason for.
fn read_files(folder: &Path, mut spare: impl FnMut(&Path, &Metadata) -> Option<Unread>) -> io::Result<Files> {
    let mut files = Files::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if !is_manifest(name) {
            continue;
        }
        let text = match std::fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => continue,
            // Removed since it was listed, or a link to nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Err(Unread::Failed(error.to_string())),
            Ok(metadata) if metadata.len() > FILE_LIMIT => {
                Err(Unread::Failed(format!("it is larger than {} MiB", FILE_LIMIT >> 20)))
            }
            Ok(metadata) => match spare(&path, &metadata) {
                Some(reason) => Err(reason),
                None => match read_text(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    text => text.map_err(|error| Unread::Failed(error.to_string())),
                },
            },
        };
        files.insert(name.into(), text);
    }
    Ok(files)
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// What is known of a folder: each file's last good objects. No file system here.
#[derive(Debug, Default)]
pub(crate) struct Folder {
    files: BTreeMap<Arc<str>, LoadedFile>,
    /// What they describe together.
    state: Arc<ClusterState>,
    /// Whether every manifest has gone, which is taken for an accident.
    emptied: bool,
    hasher: RandomState,
}

/// By what a text is known again: its length and a hash that nobody outside can foresee. The texts of a large
/// cluster are larger than all that is kept of them.
type Fingerprint = (usize, u64);

#[derive(Debug, Default)]
struct LoadedFile {
    /// Of the text that was read last.
    text: Option<Fingerprint>,
    /// Objects that the text holds.
    fresh: Vec<(ObjectRef, AnyObject)>,
    /// Last good states of objects that the text holds but that cannot be read.
    held: Vec<(ObjectRef, AnyObject)>,
    problems: Vec<Problem>,
}

impl Folder {
    /// Takes over what the folder holds now; files that are not among `files` are gone.
    pub(crate) fn replace(&mut self, files: Files) {
        self.emptied = files.is_empty() && !self.files.is_empty();
        if !self.emptied {
            self.load(files);
        }
        self.state = Arc::new(self.merged());
    }

    fn load(&mut self, files: Files) {
        // An object may move from one file to another and become unreadable in the same moment.
        let before = self.state.clone();
        self.files.retain(|name, _| files.contains_key(name));
        for (name, text) in files {
            let file = self.files.entry(name.clone()).or_default();
            match text {
                Ok(text) => {
                    let read = (text.len(), self.hasher.hash_one(&text));
                    if file.text != Some(read) {
                        file.load(&name, &text, &before);
                        file.text = Some(read);
                    }
                }
                Err(Unread::BeingWritten | Unread::Unchanged) => {}
                Err(Unread::Failed(reason)) => file.keep(&name, &reason, "make the file readable"),
            }
        }
    }

    /// The state that all files describe together. An object that is in two files is taken from the first.
    pub(crate) fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }

    /// The same, from a folder that is not needed any more.
    pub(crate) fn into_state(self) -> ClusterState {
        Arc::unwrap_or_clone(self.state)
    }

    fn merged(&self) -> ClusterState {
        let mut state = ClusterState::default();
        let mut duplicates = Vec::new();
        for (of, object) in self.files.values().flat_map(|file| &file.fresh) {
            if let Err(first) = state.add(of.name.clone(), object.clone()) {
                let second = object.origin();
                duplicates.push(Problem {
                    object: of.to_string(),
                    file: second.file.clone(),
                    line: second.line,
                    field: String::new(),
                    message: format!("it is in {}:{} already", first.file, first.line),
                    remedy: "remove one of the two".to_owned(),
                    effect: Effect::Refused,
                });
            }
        }
        for (of, object) in self.files.values().flat_map(|file| &file.held) {
            // Where a readable state of the object exists it is newer than what is held.
            let _newer = state.add(of.name.clone(), object.clone());
        }
        state.problems = self.files.values().flat_map(|file| file.problems.iter().cloned()).collect();
        state.problems.extend(duplicates);
        if self.emptied {
            state.problems.push(last_good_kept(
                "the folder",
                "it holds no manifest any more",
                "write them again, or leave a file with a comment alone to withdraw everything",
            ));
        }
        state
    }
}

impl LoadedFile {
    fn load(&mut self, name: &Arc<str>, text: &str, before: &ClusterState) {
        if text.trim().is_empty() && !(self.fresh.is_empty() && self.held.is_empty()) {
            // Many programs empty a file before they write it.
            self.keep(
                name,
                "it has become empty",
                "write it again, or remove the file to withdraw its objects",
            );
            return;
        }
        let Manifest { objects, faulty, incomplete, problems } = Manifest::parse(name, text);
        let earlier = std::mem::take(&mut self.fresh).into_iter().chain(std::mem::take(&mut self.held));
        // Where an object could not even be named, any earlier one may be meant.
        self.held = if incomplete { earlier.collect() } else { Vec::new() };
        self.held.extend(faulty.into_iter().filter_map(|of| before.find(&of).map(|object| (of, object))));
        self.fresh = objects;
        self.problems = problems;
    }

    /// Keeps everything, and says why the file's present content does not count.
    fn keep(&mut self, name: &Arc<str>, message: &str, remedy: &str) {
        self.text = None;
        self.problems = vec![last_good_kept(name, message, remedy)];
    }
}

fn last_good_kept(object: &str, message: &str, remedy: &str) -> Problem {
    Problem {
        object: object.to_owned(),
        file: Arc::default(),
        line: 0,
        field: String::new(),
        message: message.to_owned(),
        remedy: remedy.to_owned(),
        effect: Effect::LastGoodKept,
    }
}

#[cfg(test)]
mod tests;
