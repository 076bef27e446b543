//! RFC 7606 verdicts as values.

use std::fmt;

use crate::{AfiSafi, Notification, UpdateError};

/// What a fault in an UPDATE leads to (RFC 7606 §2), from the weakest to the strongest. Of several, the
/// strongest wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// Nothing is wrong.
    #[default]
    None,
    /// The attribute is left out, the route stands.
    AttributeDiscard,
    /// All routes that the message announces are withdrawn.
    TreatAsWithdraw,
    /// All routes of the family are dropped, and further ones ignored while the session lasts (RFC 4760 §7).
    DisableFamily(AfiSafi),
    /// The session ends.
    SessionReset(Notification),
}

/// One thing that is wrong with one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFault {
    /// The attribute's type.
    pub type_code: u8,
    /// The fault by its number in RFC 4271 §6.3.
    pub error: UpdateError,
    /// What it leads to.
    pub treatment: Treatment,
    /// Where the attribute starts, in octets from the start of the attributes that were looked at.
    pub offset: usize,
    /// What is wrong, for people.
    pub reason: &'static str,
}

impl fmt::Display for AttributeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at octet {}: {}: {}",
            crate::attribute::AttributeName(self.type_code),
            self.offset,
            self.reason,
            self.treatment
        )
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no fault"),
            Self::AttributeDiscard => f.write_str("attribute discarded"),
            Self::TreatAsWithdraw => f.write_str("treated as withdraw"),
            Self::DisableFamily(family) => write!(f, "{family} disabled"),
            Self::SessionReset(notification) => write!(f, "session reset, {notification}"),
        }
    }
}
