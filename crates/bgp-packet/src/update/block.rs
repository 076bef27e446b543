//! The attributes of an UPDATE that its routes have in common, as a key.

/// At most three runs of an UPDATE's octets: what is before, between and behind MP_REACH_NLRI and
/// MP_UNREACH_NLRI.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttributeBlock<'a> {
    runs: [&'a [u8]; 3],
    used: usize,
}

impl<'a> AttributeBlock<'a> {
    /// Adds a run; there are never more than three that are not empty.
    pub(super) fn push(&mut self, run: &'a [u8]) {
        if !run.is_empty()
            && let Some(slot) = self.runs.get_mut(self.used)
        {
            *slot = run;
            self.used += 1;
        }
    }

    /// The runs in the order of the wire.
    pub fn runs(&self) -> &[&'a [u8]] {
        &self.runs[..self.used]
    }

    /// Number of octets.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// Whether there are no attributes.
    pub const fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The octets in one piece, to be used as a key: mostly a slice of the message itself; otherwise they are
    /// copied into `scratch`, whose former content is lost.
    pub fn contiguous<'s>(&self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        match self.runs() {
            [] => &[],
            [run] => run,
            runs => {
                scratch.clear();
                for run in runs {
                    scratch.extend_from_slice(run);
                }
                scratch
            }
        }
    }

    /// The attribute that starts `offset` octets into the block, or what there is of it.
    pub(super) fn attribute_at(&self, offset: usize) -> &'a [u8] {
        let mut before = 0;
        for run in self.runs() {
            if let Some(rest) = offset.checked_sub(before).and_then(|at| run.get(at..))
                && !rest.is_empty()
            {
                let after = crate::attribute::raw_attribute(rest).map_or(0, |(after, _)| after.len());
                return &rest[..rest.len() - after];
            }
            before += run.len();
        }
        &[]
    }
}
