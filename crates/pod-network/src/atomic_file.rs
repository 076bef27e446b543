//! Files that are either the old one or the new one, never half of either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How much a replaced file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of any process. After a power failure the file may be the old one, or empty.
    Process,
    /// A power failure too: costs a flush of the disk.
    PowerLoss,
}

/// Replaces `path` with `contents` by renaming a finished file over it.
///
/// A reader sees the old or the new contents, and a program file may be replaced while it runs (writing into
/// it would fail with `ETXTBSY`). `mode` holds the permission bits of the new file.
pub fn replace(path: &Path, contents: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let unfinished = beside(path);
    let written = write(&unfinished, contents, mode, durability).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // The error that matters is the first one; a full disk gets its bytes back where that is possible.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    if durability == Durability::PowerLoss
        && let Some(folder) = path.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The unfinished file's name: hidden and without a known ending, so that a runtime that watches the folder
/// for `*.conflist` never reads it.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.unfinished"))
}

fn write(path: &Path, contents: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    if durability == Durability::PowerLoss {
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_with_the_old_file_open_keeps_the_old_contents() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        replace(&path, b"old", 0o644, Durability::Process)?;
        let mut reader = File::open(&path)?;
        replace(&path, b"new", 0o600, Durability::PowerLoss)?;
        let mut seen = String::new();
        io::Read::read_to_string(&mut reader, &mut seen)?;
        assert_eq!(seen, "old");
        assert_eq!(fs::read(&path)?, b"new");
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        Ok(())
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_leftover() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("taken");
        fs::create_dir(&path)?;
        assert!(replace(&path, b"new", 0o644, Durability::Process).is_err());
        assert!(path.is_dir());
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }
}
