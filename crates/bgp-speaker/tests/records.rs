//! Records of what happened once: each file in `records/` is replayed, and the tables must come out as they did.
//!
//! To make a bug of the field a regression test, add the file that `--record` wrote. What goes out on the wire may
//! change with time, so it is compared only by `muslin replay`, with the program that wrote the record.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use muslin_bgp_speaker::record::replay;

#[test]
fn every_record_comes_to_the_tables_that_it_came_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "muslin-record") {
            let replay = replay(&fs::read(&path).unwrap()).unwrap_or_else(|error| {
                panic!("{}: {error}", path.display());
            });
            assert_eq!(replay.tables_agree, Some(true), "{}", path.display());
            replayed += 1;
        }
    }
    assert!(replayed > 0, "{} has no records", folder.display());
}
