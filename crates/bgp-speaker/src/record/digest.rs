//! Digests by which two runs are compared: FNV-1a of 64 bits, the same on every machine.

use std::fmt::Write;

use crate::Speaker;
use crate::rib::{RouteFilter, RouteView};
use crate::speaker::{Answer, Output, Query};

/// A digest that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    pub(super) fn value(self) -> u64 {
        self.0
    }

    fn add(&mut self, octets: &[u8]) {
        self.0 = octets
            .iter()
            .fold(self.0, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
    }

    /// Adds an output. Secrets do not show in it.
    pub(super) fn add_output(&mut self, output: &Output) {
        match output {
            Output::Send { conn, octets } => {
                self.add(&conn.number().to_be_bytes());
                self.add(octets);
            }
            other => {
                let mut text = String::new();
                // Writing to a String cannot fail.
                let _ = write!(text, "{other:?}");
                self.add(text.as_bytes());
            }
        }
        self.add(&[0xff]);
    }

    /// The digest of a speaker's Loc-RIB.
    pub(super) fn of_tables(speaker: &Speaker) -> u64 {
        let mut digest = Self::default();
        let mut filter = RouteFilter::default();
        while let Answer::Routes(page) = speaker.query(&Query::LocRib(filter.clone())) {
            for route in page.routes {
                let RouteView { prefix, peer, state, next_hop, origin, as_path, med, local_pref, .. } = route;
                let mut text = String::new();
                // Writing to a String cannot fail. What later versions show besides does not count.
                let _ = write!(
                    text,
                    "{prefix} {peer:?} {state:?} {next_hop:?} {origin} {as_path} {med:?} {local_pref:?} {:?}",
                    route.communities
                );
                digest.add(text.as_bytes());
            }
            match page.next {
                Some(next) => filter.after = Some(next),
                None => break,
            }
        }
        digest.value()
    }
}
