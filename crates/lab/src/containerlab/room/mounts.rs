//! The files of a node, from mounts that only it sees.
//!
//! A folder of the machine that gets other content becomes an empty one with a symbolic link for each entry of the
//! original, which is mounted aside. An overlay would do the same, but not for an ordinary user.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::{FsFlags, statvfs};

use super::super::file::{Access, NodeSpec};
use super::super::image;

/// Where a node has what was mounted aside, within its `/run`.
const ASIDE: &str = "lab";
/// Configuration of the machine's own daemons, which is none of a node's business.
const HIDDEN: &[&str] = &["/etc/frr", "/etc/bird", "/etc/muslin", "/etc/cni", "/etc/gobgp"];
const NONE: Option<&str> = None;

/// The folder of `muslin` and `muslin-cni`, as nodes see it.
pub(super) fn programs() -> PathBuf {
    Path::new("/run").join(ASIDE).join("programs")
}

/// The folder of the scripts that an image would have, as nodes see it.
pub(super) fn tools() -> PathBuf {
    Path::new("/run").join(ASIDE).join("tools")
}

/// Makes the mounts of a node in the caller's mount namespace, which is its own; `run` becomes its `/run`.
pub(super) fn prepare(node: &NodeSpec, run: &Path) -> io::Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let aside = run.join(ASIDE);
    let tools = aside.join("tools");
    fs::create_dir_all(&tools)?;
    for (name, text) in [("pod", image::POD), ("frr-start", image::FRR_START)] {
        let file = tools.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    }
    // All sources first: what is mounted later may hide them.
    bind(Path::new("/etc"), &place_for(Path::new("/etc"), &aside.join("etc"))?)?;
    if let Some(programs) = image::programs() {
        bind(&programs, &place_for(&programs, &aside.join("programs"))?)?;
    }
    let sources = aside.join("binds");
    fs::create_dir(&sources)?;
    for (index, bound) in node.binds.iter().enumerate() {
        bind(&bound.source, &place_for(&bound.source, &sources.join(index.to_string()))?)?;
    }

    empty(Path::new("/var"))?;
    for folder in ["cache", "lib", "log", "spool", "tmp"] {
        fs::create_dir(Path::new("/var").join(folder))?;
    }
    symlink("../run", "/var/run")?;
    empty(Path::new("/etc"))?;
    mount(Some(run), "/run", NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
    fill(Path::new("/etc"), &Path::new("/run").join(ASIDE).join("etc"))?;
    for hidden in HIDDEN.iter().map(Path::new).filter(|hidden| hidden.exists()) {
        fs::remove_file(hidden)?;
        fs::create_dir(hidden)?;
    }
    for (index, bound) in node.binds.iter().enumerate() {
        let source = Path::new("/run").join(ASIDE).join("binds").join(index.to_string());
        make_way(&bound.target)?;
        if bound.target.is_symlink() {
            fs::remove_file(&bound.target)?;
        }
        bind(&source, &place_for(&source, &bound.target)?)?;
        if bound.access == Access::Read {
            make_read_only(&bound.target)?;
        }
    }
    Ok(())
}

/// Something to mount `source` on: a folder for a folder, a file for anything else.
fn place_for(source: &Path, place: &Path) -> io::Result<PathBuf> {
    if source.is_dir() {
        fs::create_dir_all(place)?;
    } else if !place.exists() {
        fs::write(place, "")?;
    }
    Ok(place.to_path_buf())
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    // With what is mounted below: a part of what an outer user namespace has hidden cannot be shown.
    mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
    Ok(())
}

fn empty(folder: &Path) -> io::Result<()> {
    let careful = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), folder, Some("tmpfs"), careful, Some("mode=0755"))?;
    Ok(())
}

/// A symbolic link for each entry of `original`.
fn fill(folder: &Path, original: &Path) -> io::Result<()> {
    // Folders that this user may not read have nothing for the node either.
    for entry in fs::read_dir(original).into_iter().flatten() {
        let entry = entry?;
        symlink(entry.path(), folder.join(entry.file_name()))?;
    }
    Ok(())
}

/// Makes the folders above `target`; those of the machine become folders of links.
fn make_way(target: &Path) -> io::Result<()> {
    let mut above: Vec<&Path> = target.ancestors().skip(1).collect();
    above.reverse();
    for folder in above {
        if folder.is_symlink() && !matches!(folder.to_str(), Some("/bin" | "/sbin" | "/lib" | "/lib64")) {
            let original = fs::read_link(folder)?;
            let original = folder.parent().unwrap_or(folder).join(original);
            if original.starts_with(Path::new("/run").join(ASIDE)) {
                fs::remove_file(folder)?;
                fs::create_dir(folder)?;
                fill(folder, &original)?;
            }
        } else if !folder.exists() {
            fs::create_dir(folder)?;
        }
    }
    Ok(())
}

fn make_read_only(target: &Path) -> io::Result<()> {
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    // What an outer user namespace has set may not be cleared. How access times are kept stays as it is, since a
    // remount that does not speak of it leaves it (mount(2)), and not every C library knows all of its flags.
    let known = statvfs(target)?.flags();
    for (theirs, ours) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ] {
        if known.contains(theirs) {
            flags |= ours;
        }
    }
    mount(NONE, target, NONE, flags, NONE)?;
    Ok(())
}
