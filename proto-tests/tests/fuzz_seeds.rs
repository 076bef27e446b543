//! The fuzz targets on a stable toolchain without a fuzzer: every seed, every seed cut anywhere, every seed
//! with any one octet changed to a value that often matters, and everything that fuzzing ever found.

#[cfg(test)]
#[path = "../fuzz/src/seeds.rs"]
#[allow(unreachable_pub, reason = "public in the fuzzing crate")]
mod seeds;
#[cfg(test)]
#[path = "../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "public in the fuzzing crate")]
#[allow(unexpected_cfgs, reason = "the planted bug is a feature of the fuzzing crate")]
mod targets;

#[cfg(test)]
mod replay {
    use std::fs;
    use std::path::Path;

    use crate::seeds::seeds;
    use crate::targets;

    fn run(target: &str, octets: &[u8]) {
        let (_, target) = targets::ALL.iter().find(|(name, _)| *name == target).unwrap();
        target(octets);
    }

    #[test]
    fn every_seed_holds_cut_or_changed_anywhere() {
        let seeds =
            seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/bgp-packet/golden")).unwrap();
        for (target, _) in targets::ALL {
            assert!(seeds.iter().any(|seed| seed.target == target), "no seed for {target}");
        }
        for seed in seeds {
            run(seed.target, &seed.octets);
            for at in 0..seed.octets.len() {
                run(seed.target, &seed.octets[..at]);
                let mut changed = seed.octets.clone();
                let often = [seed.octets[at] ^ 0x80, 0xFF, 0, 1, seed.octets[at].wrapping_add(1)];
                // A session costs as much as a hundred messages.
                let tried = if seed.target == "session" { 2 } else { often.len() };
                for octet in often.into_iter().take(tried) {
                    changed[at] = octet;
                    run(seed.target, &changed);
                }
            }
        }
    }

    #[test]
    fn whatever_was_found_once_holds() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
        for (target, _) in targets::ALL {
            let Ok(entries) = fs::read_dir(directory.join(target)) else { continue };
            for entry in entries {
                run(target, &fs::read(entry.unwrap().path()).unwrap());
            }
        }
    }
}
