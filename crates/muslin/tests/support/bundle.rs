//! What `muslin collect` wrote.
#![allow(unreachable_pub, reason = "a part of each test file that has it")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

/// The files of an archive.
pub fn unpack(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut octets = Vec::new();
        entry.read_to_end(&mut octets).unwrap();
        (name, octets)
    });
    entries.collect()
}
