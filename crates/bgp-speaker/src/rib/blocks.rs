//! A coarse index of destinations: which blocks of the table hold any that concern a peer or a next hop.
//!
//! An exact index costs a list per path; one bit per 256 destinations answers "where must I look" for a
//! hundredth of that. A bit may outlive what it was set for: who walks a block and finds nothing clears it.

use super::destination::DestinationId;
use super::slab::Handle;

/// Destinations of one block.
pub(crate) const BLOCK: u32 = 256;

/// A set of blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks(Vec<u64>);

impl Blocks {
    /// Notes that a destination concerns the owner of this set.
    pub(crate) fn insert(&mut self, destination: DestinationId) {
        let block = destination.index() / BLOCK;
        let word = (block / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (block % 64);
    }

    /// Forgets a block in which nothing was found.
    pub(crate) fn remove(&mut self, block: u32) {
        if let Some(word) = self.0.get_mut((block / 64) as usize) {
            *word &= !(1 << (block % 64));
        }
    }

    /// The first block of the set at or after `from`.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        let start = (from / 64) as usize;
        let mut mask = u64::MAX << (from % 64);
        for (word, bits) in self.0.iter().enumerate().skip(start) {
            let rest = bits & mask;
            if rest != 0 {
                return Some(word as u32 * 64 + rest.trailing_zeros());
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_in_order_until_removed() {
        let mut blocks = Blocks::default();
        for index in [3, 255, 256 * 70 + 1, 256 * 64] {
            blocks.insert(DestinationId::from_index(index));
        }
        let found = |blocks: &Blocks| {
            let mut all = Vec::new();
            let mut from = 0;
            while let Some(block) = blocks.next(from) {
                all.push(block);
                from = block + 1;
            }
            all
        };
        assert_eq!(found(&blocks), [0, 64, 70]);
        blocks.remove(64);
        assert_eq!(found(&blocks), [0, 70]);
        assert_eq!(Blocks::default().next(9), None);
    }
}
