//! Container images without a registry: archives in the form of `docker save`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use muslin_lab::LabError;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::programs::{Programs, find};

/// The image of pods' namespaces, by the name that this release of Kubernetes expects.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.10.1";
/// The image with Kubernetes' own test server, and a shell with common tools.
pub const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.56";
/// The same with the names that Kubernetes' tests have for images with other tools; ours has one kind of them.
const TOOL_IMAGES: &[&str] = &[
    AGNHOST,
    "registry.k8s.io/build-image/distroless-iptables:v0.7.11",
    "registry.k8s.io/e2e-test-images/busybox:1.37.0-1",
    "registry.k8s.io/e2e-test-images/jessie-dnsutils:1.7",
];
/// The image of a server that sends its clients packets outside of their window, at which they must not hang up.
const REGRESSION: &str = "registry.k8s.io/e2e-test-images/regression-issue-74839:1.2";
/// The image of the cluster's DNS.
pub(crate) const COREDNS: &str = "registry.k8s.io/coredns/coredns:v1.13.2";

/// The image of an Ingress controller, where a lab was given one.
pub const INGRESS: &str = "ghcr.io/zalando/skipper:v0.22.0";

/// The product's image, as the chart of this version names it.
pub(crate) const PRODUCT: &str = concat!("ghcr.io/muslin-net/muslin:", env!("CARGO_PKG_VERSION"));
/// The tag of the product's image of a second build.
pub const OTHER_BUILD: &str = "other-build";
/// The product's image of a second build.
pub(crate) const OTHER_PRODUCT: &str = "ghcr.io/muslin-net/muslin:other-build";

/// Tools of the machine that test pods call; those that are not installed are left out.
const TOOLS: [&str; 27] = [
    "bash",
    "cat",
    "conntrack",
    "curl",
    "cut",
    "date",
    "dd",
    "dig",
    "env",
    "getent",
    "grep",
    "head",
    "hostname",
    "ip",
    "ls",
    "nc",
    "nslookup",
    "ping",
    "seq",
    "sleep",
    "ss",
    "tail",
    "timeout",
    "touch",
    "tr",
    "wc",
    "wget",
];

/// Writes the archives into a folder; their paths.
pub(crate) fn write_all(programs: &Programs, folder: &Path) -> Result<Vec<PathBuf>, LabError> {
    fs::create_dir_all(folder).map_err(LabError::file(folder))?;
    let pause = Image {
        names: &[PAUSE],
        entrypoint: &["/pause"],
        arguments: &[],
        user: "65535:65535",
        layers: vec![vec![(programs.get("pause"), "pause".into())]],
    };
    let server = vec![(programs.get("coredns"), "coredns".into())];
    let coredns = Image {
        names: &[COREDNS],
        entrypoint: &["/coredns"],
        arguments: &[],
        user: "0:0",
        layers: vec![server.clone()],
    };
    // Its HTTPS servers use the certificate when they are given no other.
    let files = ["agnhost", "localhost.crt", "localhost.key"].map(|name| (programs.get(name), name.into()));
    let agnhost = Image {
        names: TOOL_IMAGES,
        entrypoint: &["/agnhost"],
        arguments: &["pause"],
        user: "0:0",
        // As upstream's, it has a DNS server for tests; a node keeps the layer once.
        layers: vec![server, tools().into_iter().chain(files).collect()],
    };
    let regression = Image {
        names: &[REGRESSION],
        entrypoint: &["/regression-issue-74839"],
        arguments: &[],
        user: "0:0",
        layers: vec![vec![(programs.get("regression-issue-74839"), "regression-issue-74839".into())]],
    };
    [("pause", pause), ("coredns", coredns), ("agnhost", agnhost), ("regression", regression)]
        .into_iter()
        .map(|(name, image)| {
            let path = folder.join(format!("{name}.tar"));
            image.write(&path).map_err(LabError::file(&path))?;
            Ok(path)
        })
        .collect()
}

/// Writes the image of an Ingress controller.
pub(crate) fn write_ingress_controller(program: PathBuf, folder: &Path) -> Result<PathBuf, LabError> {
    let files = vec![(program, "usr/bin/skipper".into())];
    let image = Image {
        names: &[INGRESS],
        entrypoint: &["/usr/bin/skipper"],
        arguments: &[],
        user: "65534:65534",
        layers: vec![files],
    };
    let path = folder.join("ingress.tar");
    image.write(&path).map_err(LabError::file(&path))?;
    Ok(path)
}

/// Writes the product's image, of the programs in a folder and the libraries that they load.
///
/// It is what a release's image is but for these libraries, and needs no other compiler than this one.
pub(crate) fn write_product(name: &str, programs: &Path, folder: &Path) -> Result<PathBuf, LabError> {
    fs::create_dir_all(folder).map_err(LabError::file(folder))?;
    let mut files = BTreeSet::new();
    for program in ["muslin", "muslin-cni"] {
        let path = programs.join(program);
        files.extend(libraries(&path).map(|library| (library.clone(), place(&library))));
        files.insert((path, Path::new("usr/bin").join(program)));
    }
    let layers = vec![files.into_iter().collect()];
    let image =
        Image { names: &[name], entrypoint: &["/usr/bin/muslin"], arguments: &[], user: "0:0", layers };
    let path = folder.join("muslin.tar");
    image.write(&path).map_err(LabError::file(&path))?;
    Ok(path)
}

/// What an image holds and how it starts.
struct Image<'a> {
    names: &'a [&'a str],
    entrypoint: &'static [&'static str],
    /// What it is told when nobody says more.
    arguments: &'static [&'static str],
    user: &'static str,
    /// From the lowest to the highest.
    layers: Vec<Layer>,
}

/// Files of this machine, and where they go.
type Layer = Vec<(PathBuf, PathBuf)>;

impl Image<'_> {
    fn write(&self, path: &Path) -> io::Result<()> {
        let mut archive = Builder::new(BufWriter::new(File::create(path)?));
        let layer_path = path.with_extension("layer");
        let mut digests = Vec::new();
        for layer in &self.layers {
            // It is named by its digest, which is known when it is written.
            let mut file = Hashed { inner: BufWriter::new(File::create(&layer_path)?), hash: Sha256::new() };
            write_layer(layer, &mut file)?;
            file.inner.flush()?;
            let digest = hexadecimal(&file.hash.finalize());
            archive.append_path_with_name(&layer_path, format!("{digest}.tar"))?;
            digests.push(digest);
        }
        fs::remove_file(layer_path)?;
        let configuration = serde_json::json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.arguments,
                "User": self.user,
                "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin:/"],
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": digests.iter().map(|digest| format!("sha256:{digest}")).collect::<Vec<_>>(),
            },
        })
        .to_string();
        let configuration_name = format!("{}.json", hexadecimal(&Sha256::digest(&configuration)));
        let manifest = serde_json::json!([{
            "Config": configuration_name,
            "RepoTags": self.names,
            "Layers": digests.iter().map(|digest| format!("{digest}.tar")).collect::<Vec<_>>(),
        }])
        .to_string();
        append(&mut archive, &configuration_name, configuration.as_bytes())?;
        append(&mut archive, "manifest.json", manifest.as_bytes())?;
        archive.into_inner()?.flush()
    }
}

fn write_layer(files: &Layer, to: impl Write) -> io::Result<()> {
    let mut layer = Builder::new(to);
    for folder in ["etc/", "proc/", "root/", "run/", "sys/", "usr/", "usr/bin/", "usr/lib/", "usr/lib64/"] {
        special(&mut layer, folder, EntryType::Directory, 0o755)?;
    }
    special(&mut layer, "tmp/", EntryType::Directory, 0o1777)?;
    for name in ["bin", "lib", "lib64"] {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        layer.append_link(&mut header, name, format!("usr/{name}"))?;
    }
    append(&mut layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")?;
    append(&mut layer, "etc/group", b"root:x:0:\nnogroup:x:65534:\n")?;
    append(&mut layer, "etc/nsswitch.conf", b"hosts: files dns\n")?;
    for (from, to) in files {
        let unnamed = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", from.display()));
        let file = File::open(from).map_err(unnamed)?;
        let mut header = header(EntryType::Regular, 0o755, file.metadata()?.len());
        layer.append_data(&mut header, to, file)?;
    }
    if files.iter().any(|(_, to)| to.ends_with("bash")) {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        layer.append_link(&mut header, "usr/bin/sh", "bash")?;
    }
    layer.into_inner()?.flush()
}

/// The tools that are installed, with the libraries that they load.
fn tools() -> BTreeSet<(PathBuf, PathBuf)> {
    let mut files = BTreeSet::new();
    for tool in TOOLS {
        let Some(path) = find(tool).and_then(|path| path.canonicalize().ok()) else { continue };
        files.extend(libraries(&path).map(|library| {
            let place = place(&library);
            (library, place)
        }));
        files.insert((path, Path::new("usr/bin").join(tool)));
    }
    files
}

/// Where a library goes: with merged folders, /lib is /usr/lib.
fn place(library: &Path) -> PathBuf {
    let place = library.strip_prefix("/").unwrap_or(library);
    if place.starts_with("usr") { place.to_path_buf() } else { Path::new("usr").join(place) }
}

/// What the dynamic linker would load for a program.
fn libraries(program: &Path) -> impl Iterator<Item = PathBuf> {
    let output = Command::new("ldd").arg(program).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let words: Vec<PathBuf> =
        text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    words.into_iter().filter(|path| path.is_file())
}

fn append(archive: &mut Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = header(EntryType::Regular, 0o644, content.len() as u64);
    archive.append_data(&mut header, name, content)
}

fn special(archive: &mut Builder<impl Write>, name: &str, kind: EntryType, mode: u32) -> io::Result<()> {
    archive.append_data(&mut header(kind, mode, 0), name, io::empty())
}

/// The same on every day, so that the same content is the same image.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As Go and images call it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A writer that knows the digest of what passed.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_image_cannot_be_without_its_program_and_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_product("muslin:test", &folder.path().join("nowhere"), folder.path()).unwrap_err();
        let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let words: Vec<String> = chain.map(ToString::to_string).collect();
        assert!(words.concat().contains("nowhere/muslin: No such file"), "{words:?}");
    }
}
