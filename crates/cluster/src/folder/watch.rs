//! Following a folder's changes.
//!
//! ```text
//!   kernel (inotify) ──▶ notify's thread ──▶ channel of 256 events ──▶ our thread ──▶ watch<Arc<ClusterState>>
//! ```
//!
//! The channel is bounded: when it is full, notify's thread waits, the kernel's own bounded queue fills, and its
//! overflow is an event that makes us read everything again. All events that are there are taken together, so a
//! burst costs one reading, of the files that have changed. A file between its first write and its closing is left
//! as it was. The folder's parent is watched too, since the folder itself may be replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, Flag, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use super::{Folder, FolderError, Unread, read_files};
use crate::problem::{Effect, Problem};
use crate::state::ClusterState;

/// Events that may wait to be looked at.
const QUEUE: usize = 256;

/// How long changes wait at most for a reading of others before them.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// A folder that is followed; dropping it ends that.
#[derive(Debug)]
pub struct FolderSource {
    state: watch::Receiver<Arc<ClusterState>>,
    /// Dropping the watcher closes the channel, which ends the thread.
    _watcher: Arc<std::sync::Mutex<RecommendedWatcher>>,
}

impl FolderSource {
    /// Reads a folder and follows it from then on.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read or followed at the start. Later the last good state stays, with a problem.
    pub fn watch(path: &Path) -> Result<Self, FolderError> {
        // Events carry canonical paths only if the watch was made with one.
        let path = path
            .canonicalize()
            .map_err(|source| FolderError::Unreadable { folder: path.to_owned(), source })?;
        let (events, queue) = sync_channel(QUEUE);
        let unwatchable = |source| FolderError::Unwatchable { folder: path.clone(), source };
        let mut watcher = notify::recommended_watcher(move |event| {
            // Without a receiver nobody follows the folder any more.
            let _ended = events.send(event);
        })
        .map_err(unwatchable)?;
        if let Some(parent) = path.parent() {
            // A parent that may not be watched costs only the notice of the folder's replacement.
            if let Err(error) = watcher.watch(parent, RecursiveMode::NonRecursive) {
                tracing::debug!(parent = %parent.display(), %error, "the folder's replacement will not be noticed");
            }
        }
        watcher.watch(&path, RecursiveMode::NonRecursive).map_err(unwatchable)?;

        let mut folder = Folder::default();
        // The watch is there before the first reading: a change in between is seen twice, not never.
        let mut seen = BTreeMap::new();
        let files = read_files(&path, |file, metadata| {
            seen.insert(file.to_owned(), Look::of(metadata));
            None
        });
        folder.replace(files.map_err(|source| FolderError::Unreadable { folder: path.clone(), source })?);
        let (publish, state) = watch::channel(folder.state().clone());
        let watcher = Arc::new(std::sync::Mutex::new(watcher));
        let follower = Follower {
            path: path.clone(),
            folder,
            publish,
            being_written: BTreeSet::new(),
            seen,
            watcher: Arc::downgrade(&watcher),
        };
        std::thread::Builder::new()
            .name("muslin-folder".to_owned())
            .spawn(move || follower.run(&queue))
            .map_err(|source| FolderError::NoThread { folder: path, source })?;
        Ok(Self { state, _watcher: watcher })
    }

    /// The state, now and as it changes.
    pub fn state(&self) -> watch::Receiver<Arc<ClusterState>> {
        self.state.clone()
    }
}

struct Follower {
    path: PathBuf,
    folder: Folder,
    publish: watch::Sender<Arc<ClusterState>>,
    /// Files that were written to and not closed since.
    being_written: BTreeSet<PathBuf>,
    /// What each file looked like before it was read last, but for those that events have named since.
    seen: BTreeMap<PathBuf, Look>,
    watcher: std::sync::Weak<std::sync::Mutex<RecommendedWatcher>>,
}

/// What tells one content of a file from another without reading it: device, inode, length, and the time of its
/// last change. A change that is too quick for that clock is told by its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look(u64, u64, u64, (i64, i64));

impl Look {
    fn of(file: &Metadata) -> Self {
        Self(file.st_dev(), file.st_ino(), file.st_size(), (file.st_ctime(), file.st_ctime_nsec()))
    }
}

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nothing,
    Reading,
    /// The folder itself may be another one now.
    NewWatch,
}

impl Follower {
    fn run(mut self, queue: &Receiver<notify::Result<Event>>) {
        while let Ok(first) = queue.recv() {
            let mut need = self.note(first);
            loop {
                // Everything that has happened by now is answered by one reading.
                while let Ok(next) = queue.try_recv() {
                    need = need.max(self.note(next));
                }
                match std::mem::replace(&mut need, Need::Nothing) {
                    Need::Nothing => break,
                    Need::Reading => {}
                    Need::NewWatch => self.watch_again(),
                }
                let begun = Instant::now();
                let mut files = self.read_what_changed();
                while let Ok(next) = queue.try_recv() {
                    need = need.max(self.note(next));
                }
                if let Ok(files) = &mut files {
                    self.leave_out_what_is_being_written(files);
                }
                self.publish(files);
                // A folder that changes without end gets half a core; what comes meanwhile is read together.
                std::thread::park_timeout(begun.elapsed().min(LONGEST_REST));
            }
        }
    }

    fn read_what_changed(&mut self) -> std::io::Result<super::Files> {
        let before = std::mem::take(&mut self.seen);
        let mut seen = BTreeMap::new();
        let files = read_files(&self.path, |path, metadata| {
            if self.being_written.contains(path) {
                return Some(Unread::BeingWritten);
            }
            let look = Look::of(metadata);
            seen.insert(path.to_owned(), look);
            (before.get(path) == Some(&look)).then_some(Unread::Unchanged)
        })?;
        // What could not be read is tried again; so is everything if the folder could not.
        for (name, _) in files.iter().filter(|(_, text)| matches!(text, Err(Unread::Failed(_)))) {
            seen.remove(&self.path.join(&**name));
        }
        self.seen = seen;
        Ok(files)
    }

    /// A write that began while we read makes its file's text doubtful; its end is an event.
    fn leave_out_what_is_being_written(&self, files: &mut super::Files) {
        let names = self.being_written.iter().filter_map(|path| path.file_name()?.to_str());
        for name in names {
            if let Some(text) = files.get_mut(name) {
                *text = Err(Unread::BeingWritten);
            }
        }
    }

    fn publish(&mut self, files: std::io::Result<super::Files>) {
        let mut gone = None;
        match files {
            Ok(files) => self.folder.replace(files),
            Err(error) => gone = Some(error),
        }
        let mut state = self.folder.state().clone();
        let gone = gone.map(|error| Problem {
            object: self.path.display().to_string(),
            file: Arc::default(),
            line: 0,
            field: String::new(),
            message: format!("the folder cannot be read: {error}"),
            remedy: "put it back".to_owned(),
            effect: Effect::LastGoodKept,
        });
        if let Some(problem) = gone {
            Arc::make_mut(&mut state).problems.push(problem);
        }
        self.publish.send_if_modified(|published| {
            let changed = *published != state;
            *published = state;
            changed
        });
    }

    fn note(&mut self, event: notify::Result<Event>) -> Need {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(folder = %self.path.display(), %error, "an event of the folder was lost");
                return Need::NewWatch;
            }
        };
        if event.attrs.flag() == Some(Flag::Rescan) {
            self.being_written.clear();
            self.seen.clear();
            return Need::Reading;
        }
        if event.paths.contains(&self.path) {
            return match event.kind {
                EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => {
                    Need::NewWatch
                }
                _ => Need::Nothing,
            };
        }
        let mut need = Need::Nothing;
        for path in event.paths {
            self.seen.remove(&path);
            if path.parent() == Some(&self.path) {
                need = need.max(self.note_file(path, event.kind));
            }
        }
        need
    }

    fn note_file(&mut self, path: PathBuf, kind: EventKind) -> Need {
        match kind {
            EventKind::Modify(ModifyKind::Data(_)) => {
                self.being_written.insert(path);
                Need::Nothing
            }
            // A new plain file is complete when it is closed; a link, or a file linked here, is at once.
            EventKind::Create(CreateKind::File)
                if std::fs::symlink_metadata(&path).is_ok_and(|file| file.is_file() && file.len() == 0) =>
            {
                Need::Nothing
            }
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Remove(_)
            | EventKind::Modify(ModifyKind::Name(_)) => {
                self.being_written.remove(&path);
                Need::Reading
            }
            EventKind::Create(_) | EventKind::Modify(_) => Need::Reading,
            _ => Need::Nothing,
        }
    }

    /// The watch follows the folder that was, not the name: after a replacement it has to be made anew.
    fn watch_again(&mut self) {
        self.being_written.clear();
        self.seen.clear();
        let Some(watcher) = self.watcher.upgrade() else { return };
        let Ok(mut watcher) = watcher.lock() else { return };
        // It fails when the kernel has dropped the watch with its folder.
        let _gone = watcher.unwatch(&self.path);
        if let Err(error) = watcher.watch(&self.path, RecursiveMode::NonRecursive) {
            tracing::debug!(folder = %self.path.display(), %error, "the folder is not there");
        }
    }
}

#[cfg(test)]
mod tests;
