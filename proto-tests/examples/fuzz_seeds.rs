//! Writes the seeds of every fuzz target: `fuzz_seeds DIR` fills `DIR/<target>/`. It stands here and not in
//! the fuzzing crate because everything there is linked with libFuzzer.

#[path = "../fuzz/src/seeds.rs"]
#[allow(unreachable_pub, reason = "public in the fuzzing crate")]
mod seeds;

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let Some(directory) = env::args_os().nth(1) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: fuzz_seeds DIR"));
    };
    for seed in seeds::seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/bgp-packet/golden"))? {
        let directory = Path::new(&directory).join(seed.target);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(seed.name), seed.octets)?;
    }
    Ok(())
}
