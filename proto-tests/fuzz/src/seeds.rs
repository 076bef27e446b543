//! Seeds out of the golden messages.

use std::path::Path;
use std::{fs, io};

/// One input of one target.
pub struct Seed {
    /// The target's name.
    pub target: &'static str,
    /// A name that is unique within the target.
    pub name: String,
    /// The input.
    pub octets: Vec<u8>,
}

/// Octets of marker, length and type.
const HEADER: usize = 19;

/// Contexts that matter, as the octet from which the targets make them: 2- and 4-octet AS numbers, external
/// and internal peers, path identifiers, extended next hops.
const CONTEXTS: [u8; 6] = [0b0000_0000, 0b0000_0001, 0b0000_0011, 0b0000_0101, 0b0010_0001, 0b0100_0001];

/// Sessions that matter, as the octet from which the target makes them: an external and an internal peer, one with
/// path identifiers, one with two-octet AS numbers, and a connection that has still to be opened.
const SESSIONS: [u8; 5] = [0b0000_0001, 0b0000_0011, 0b0000_0101, 0b0000_1001, 0b0000_0000];

/// The seeds of all targets, from the messages in the folder `golden`.
///
/// # Errors
/// A file that cannot be read or is not hexadecimal.
pub fn seeds(golden: &Path) -> io::Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    for entry in fs::read_dir(golden)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let message = octets(&fs::read_to_string(&path)?)?;
        let (Some(kind), Some(body)) = (message.get(HEADER - 1), message.get(HEADER..)) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: no message", path.display()),
            ));
        };
        let mut add = |target, name: String, octets| seeds.push(Seed { target, name, octets });
        match kind {
            1 => add("open", name.clone(), body.to_vec()),
            2 => {
                for context in CONTEXTS {
                    let with = |octets: &[u8]| [&[context][..], octets].concat();
                    add("update", format!("{name}-{context}"), with(body));
                    add("attributes", format!("{name}-{context}"), with(body.get(4..).unwrap_or_default()));
                }
            }
            3 => add("notification", name.clone(), body.to_vec()),
            5 => add("route_refresh", name.clone(), body.to_vec()),
            _ => {}
        }
        for mode in SESSIONS {
            // A message as the target reads it: type and length, then the body. Twice, so that the second one finds
            // what the first one left.
            let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
            let framed = [&[*kind][..], &length, body].concat();
            add("session", format!("{name}-{mode}"), [&[mode][..], &framed, &framed].concat());
        }
        add("frame", name, [&[7][..], &message, &message].concat());
    }
    seeds.sort_by(|a, b| (a.target, &a.name).cmp(&(b.target, &b.name)));
    Ok(seeds)
}

fn octets(text: &str) -> io::Result<Vec<u8>> {
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let octets: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    octets.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("not hexadecimal: {digits}")))
}
