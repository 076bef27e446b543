//! What an UPDATE as a whole leads to: the strongest of everything that is wrong (RFC 7606 §3 h).

use super::UpdateView;
use crate::attribute::Absent;
use crate::{AttributeFault, Notification, Treatment, UpdateError};

impl UpdateView<'_> {
    /// The treatment of the message, given what [`parse_attributes`](crate::parse_attributes) found in its
    /// block: the strongest of all. For a block without faults, as one that was met before, pass `absent` and
    /// an empty slice.
    ///
    /// [`Treatment::TreatAsWithdraw`] means that everything announced is withdrawn, and what is withdrawn as
    /// well. [`Treatment::DisableFamily`] concerns that family; announcements of another one are to be
    /// withdrawn exactly if [`withdraws_announcements`](Self::withdraws_announcements).
    pub fn verdict(&self, absent: Absent, faults: &[AttributeFault]) -> Treatment {
        let disabled = self.structure.disabled.map_or(Treatment::None, Treatment::DisableFamily);
        let attributes = self.attributes_verdict(absent, faults);
        disabled.max(attributes)
    }

    /// Whether the announced routes must be treated as withdrawn, also when a stronger
    /// [`verdict`](Self::verdict) hides it.
    pub fn withdraws_announcements(&self, absent: Absent, faults: &[AttributeFault]) -> bool {
        self.attributes_verdict(absent, faults) == Treatment::TreatAsWithdraw
    }

    fn attributes_verdict(&self, absent: Absent, faults: &[AttributeFault]) -> Treatment {
        let strongest = self.structure.fault.iter().chain(faults).map(|fault| &fault.treatment).max();
        let strongest = strongest.cloned().unwrap_or_default();
        if strongest >= Treatment::TreatAsWithdraw && !self.encodes_reachable() {
            return Treatment::SessionReset(self.nothing_to_withdraw(faults));
        }
        if self.missing(absent).is_empty() { strongest } else { strongest.max(Treatment::TreatAsWithdraw) }
    }

    /// Mandatory attributes that this message needs and does not have.
    pub fn missing(&self, absent: Absent) -> Absent {
        if !self.is_reachable() {
            return Absent::empty();
        }
        // NEXT_HOP belongs to the message's own NLRI field (RFC 4760 §3).
        if self.announced().is_empty() { absent.difference(Absent::NEXT_HOP) } else { absent }
    }

    /// Whether there are routes that a fault can be made up for by withdrawing, known to us or not.
    fn encodes_reachable(&self) -> bool {
        !self.announced.is_empty() || self.reach.is_present()
    }

    /// RFC 7606 §5.2: faulty attributes of no route mean that the routes were not found.
    fn nothing_to_withdraw(&self, faults: &[AttributeFault]) -> Notification {
        if let Some(fault) = &self.structure.fault {
            return Notification::update(fault.error, &[]);
        }
        let strongest = faults.iter().find(|fault| fault.treatment >= Treatment::TreatAsWithdraw);
        match strongest {
            Some(fault) => Notification::update(fault.error, self.block.attribute_at(fault.offset)),
            None => Notification::update(UpdateError::MalformedAttributeList, &[]),
        }
    }
}
