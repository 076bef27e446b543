//! Records in files: a ring of bounded size in a folder of their own.
//!
//! A file that is full is followed by one that begins with a checkpoint, and the oldest goes when all together
//! are too large. Files are readable for their owner alone: records have all that peers say, though no secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::record::Recorded;

/// Octets that are kept in memory before they are written.
const BUFFER: usize = 64 * 1024;

/// What waits no longer than this to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// What files of records are called.
const SUFFIX: &str = "muslin-record";

/// Where records go and how large they get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordConfig {
    /// The folder; made if it is not there.
    pub folder: PathBuf,
    /// Octets after which a file is full.
    pub file_size: u64,
    /// Files that are kept.
    pub files: usize,
}

impl RecordConfig {
    /// Four files of 16 MiB.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), file_size: 16 << 20, files: 4 }
    }
}

/// The file that is written, and those before it.
#[derive(Debug)]
pub(super) struct Recorder {
    config: RecordConfig,
    file: File,
    written: u64,
    flushed: Instant,
    scratch: Vec<u8>,
}

impl Recorder {
    /// Opens the first file.
    pub(super) fn open(config: RecordConfig) -> io::Result<Self> {
        fs::create_dir_all(&config.folder)?;
        let file = next_file(&config.folder)?;
        let recorder = Self { config, file, written: 0, flushed: Instant::now(), scratch: Vec::new() };
        recorder.forget_old();
        Ok(recorder)
    }

    /// Writes what was recorded, if it is much or has waited.
    pub(super) fn write(&mut self, now: Instant, speaker: &mut Recorded) -> io::Result<()> {
        let waited = now.saturating_duration_since(self.flushed) >= FLUSH;
        if speaker.untaken() < BUFFER && !waited {
            return Ok(());
        }
        self.flushed = now;
        self.flush(speaker)?;
        if self.written >= self.config.file_size {
            speaker.mark(now);
            self.flush(speaker)?;
            self.file = next_file(&self.config.folder)?;
            self.written = 0;
            speaker.checkpoint(now, wall());
            self.flush(speaker)?;
            self.forget_old();
        }
        Ok(())
    }

    /// Writes everything.
    pub(super) fn flush(&mut self, speaker: &mut Recorded) -> io::Result<()> {
        self.scratch.clear();
        speaker.take_record(&mut self.scratch);
        self.file.write_all(&self.scratch)?;
        self.written += self.scratch.len() as u64;
        Ok(())
    }

    /// Removes the oldest files beyond those that are kept; one that cannot be removed is met again.
    fn forget_old(&self) {
        let Ok(files) = files(&self.config.folder) else { return };
        let surplus = files.len().saturating_sub(self.config.files.max(2));
        for (_, path) in &files[..surplus] {
            let _kept = fs::remove_file(path);
        }
    }
}

/// The time since 1970.
#[expect(clippy::disallowed_methods, reason = "records and collectors say when something was")]
pub(super) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The files of records in a folder by number, the oldest first.
fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_record = path.extension().is_some_and(|extension| extension == SUFFIX);
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        files.extend(number.filter(|_| is_record).map(|number| (number, path)));
    }
    files.sort();
    Ok(files)
}

fn next_file(folder: &Path) -> io::Result<File> {
    let next = files(folder)?.last().map_or(1, |(number, _)| number + 1);
    let path = folder.join(format!("{next:08}.{SUFFIX}"));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
