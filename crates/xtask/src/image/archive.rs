//! One file that every tool reads: an OCI image layout with all architectures (`ctr`, `podman`, `skopeo`), and
//! beside it the list that `docker load` wants, of the first one.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::manifests::hex;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Where programs are, and all that `PATH` has.
const BIN: &str = "usr/bin";

/// An image of one architecture.
pub(super) struct Image {
    architecture: &'static str,
    layer: Blob,
}

/// Octets under their digest.
struct Blob {
    digest: String,
    contents: Vec<u8>,
}

impl Image {
    /// With these programs, by name, and the first one as what it runs.
    pub(super) fn new(architecture: &'static str, programs: &[(&str, Vec<u8>)]) -> Self {
        let mut layer = Builder::new(Vec::new());
        for folder in ["usr/", "usr/bin/"] {
            append(&mut layer, folder, EntryType::Directory, 0o755, &[]);
        }
        for (name, contents) in programs {
            append(&mut layer, &format!("{BIN}/{name}"), EntryType::Regular, 0o755, contents);
        }
        Self { architecture, layer: Blob::new(finish(layer)) }
    }

    /// Octets on a node.
    pub(super) fn size(&self) -> usize {
        self.layer.contents.len()
    }

    fn config(&self, created: &str) -> Blob {
        Blob::json(&json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": created,
            "config": {
                "Entrypoint": [format!("/{BIN}/muslin")],
                "Env": [format!("PATH=/{BIN}")],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": "muslin",
                    "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                    "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
                    "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [self.layer.digest] },
            "history": [{ "created": created, "created_by": "cargo xtask image" }],
        }))
    }
}

impl Blob {
    fn new(contents: Vec<u8>) -> Self {
        Self { digest: format!("sha256:{}", hex(&Sha256::digest(&contents))), contents }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest, "size": self.contents.len() })
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }
}

/// The file's contents: `images`, one for each architecture, under `name`, which ends with the tag.
pub(super) fn archive(images: &[Image], name: &str, created: &str) -> Result<Vec<u8>> {
    let (_, tag) = name.rsplit_once(':').context("the image's name has no tag")?;
    let mut blobs = Vec::new();
    let mut manifests = Vec::new();
    let mut docker = None;
    for image in images {
        let config = image.config(created);
        let manifest = Blob::json(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(CONFIG),
            "layers": [image.layer.descriptor(LAYER)],
        }));
        docker.get_or_insert_with(
            || json!([{ "Config": config.path(), "RepoTags": [name], "Layers": [image.layer.path()] }]),
        );
        let mut descriptor = manifest.descriptor(MANIFEST);
        descriptor["platform"] = json!({ "architecture": image.architecture, "os": "linux" });
        manifests.push(descriptor);
        blobs.extend([config, manifest]);
    }
    let index = Blob::json(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }));
    let mut top = index.descriptor(INDEX);
    top["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": tag,
    });
    let top = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [top] });
    blobs.push(index);

    let mut file = Builder::new(Vec::new());
    let mut add = |path: &str, contents: &[u8]| append(&mut file, path, EntryType::Regular, 0o644, contents);
    add("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string().as_bytes());
    add("index.json", top.to_string().as_bytes());
    add("manifest.json", docker.context("no image")?.to_string().as_bytes());
    for blob in images.iter().map(|image| &image.layer).chain(&blobs) {
        add(&blob.path(), &blob.contents);
    }
    Ok(finish(file))
}

/// Adds an entry that is root's and was made at the beginning of time.
fn append(tar: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, mode: u32, contents: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(contents.len() as u64);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    // Writing to memory fails only for a path longer than the format has room for, and ours are not.
    let _written = tar.append_data(&mut header, path, contents);
}

fn finish(tar: Builder<Vec<u8>>) -> Vec<u8> {
    // Writing to memory does not fail.
    tar.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;

    use super::*;

    const NAME: &str = "example.org/muslin:0.1.0";

    fn write() -> Vec<u8> {
        let programs = |text: &str| [("muslin", text.as_bytes().to_vec()), ("muslin-cni", vec![7; 2_000])];
        let images =
            [Image::new("amd64", &programs("for amd64")), Image::new("arm64", &programs("for arm64"))];
        archive(&images, NAME, "2026-01-01T00:00:00Z").unwrap()
    }

    fn read(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(Result::unwrap);
        let read = |mut entry: tar::Entry<'_, &[u8]>| {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
            (entry.path().unwrap().display().to_string(), contents)
        };
        entries.map(read).collect()
    }

    fn json_of(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Value {
        serde_json::from_slice(&files[path]).unwrap()
    }

    /// The file that a descriptor names, which has to be what it says.
    fn described<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
        let digest = descriptor["digest"].as_str().unwrap();
        let contents = &files[&format!("blobs/{}", digest.replace(':', "/"))];
        assert_eq!(descriptor["size"], contents.len());
        assert_eq!(digest, Blob::new(contents.clone()).digest);
        contents
    }

    #[test]
    fn equal_programs_give_equal_octets() {
        assert_eq!(write(), write());
    }

    #[test]
    fn from_the_index_every_digest_leads_to_the_programs_of_its_architecture() {
        let files = read(&write());
        let top = json_of(&files, "index.json");
        assert_eq!(top["manifests"][0]["annotations"]["io.containerd.image.name"], NAME);
        let index: Value = serde_json::from_slice(described(&files, &top["manifests"][0])).unwrap();
        for (number, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
            let entry = &index["manifests"][number];
            assert_eq!(entry["platform"]["architecture"], architecture);
            let manifest: Value = serde_json::from_slice(described(&files, entry)).unwrap();
            let config: Value = serde_json::from_slice(described(&files, &manifest["config"])).unwrap();
            assert_eq!(config["architecture"], architecture);
            assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/muslin"]));
            assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
            let layer = read(described(&files, &manifest["layers"][0]));
            assert_eq!(layer["usr/bin/muslin"], format!("for {architecture}").as_bytes());
            assert_eq!(layer["usr/bin/muslin-cni"], vec![7; 2_000]);
        }
    }

    #[test]
    fn docker_load_gets_the_first_architecture() {
        let files = read(&write());
        let list = json_of(&files, "manifest.json");
        assert_eq!(list[0]["RepoTags"], json!([NAME]));
        assert_eq!(json_of(&files, list[0]["Config"].as_str().unwrap())["architecture"], "amd64");
        assert!(files.contains_key(list[0]["Layers"][0].as_str().unwrap()));
    }
}
