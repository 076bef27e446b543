//! What the kernel answers when it refuses a message.

use std::fmt;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::constants::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS};
use super::message::{Message, attributes, u32_at};

/// The kernel said no: its error number and, from its extended acknowledgement, its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct KernelRefusal {
    /// Error number, positive (`errno(3)`).
    pub errno: i32,
    /// The kernel's explanation, when it gave one.
    pub message: Option<Box<str>>,
    /// Offset of the attribute that it objects to, from the start of the message.
    pub offset: Option<u32>,
}

impl KernelRefusal {
    /// A refusal without words.
    pub(crate) fn from_errno(errno: Errno) -> Self {
        Self { errno: errno.raw_os_error(), message: None, offset: None }
    }

    /// Whether this is the given error.
    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.errno == errno.raw_os_error()
    }
}

impl fmt::Display for KernelRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = std::io::Error::from_raw_os_error(self.errno);
        match &self.message {
            Some(message) => write!(formatter, "{message} ({error})"),
            None => write!(formatter, "{error}"),
        }
    }
}

/// Reads a `NLMSG_ERROR`: nothing for an acknowledgement.
pub(crate) fn parse_error(message: &Message<'_>) -> Result<(), KernelRefusal> {
    let errno = u32_at(message.body, 0).unwrap_or_default().cast_signed().saturating_neg();
    if errno == 0 {
        return Ok(());
    }
    let mut refusal = KernelRefusal { errno, message: None, offset: None };
    if message.flags & NLM_F_ACK_TLVS != 0 {
        // Behind the error number comes the header of the refused message, and the message itself
        // unless it was capped.
        let quoted = if message.flags & NLM_F_CAPPED == 0 {
            u32_at(message.body, 4).unwrap_or(16) as usize
        } else {
            16
        };
        let start = (4 + quoted).next_multiple_of(4);
        for attribute in attributes(message.body.get(start..).unwrap_or_default()) {
            match attribute.kind {
                NLMSGERR_ATTR_MSG => refusal.message = Some(attribute.text().into()),
                NLMSGERR_ATTR_OFFS => refusal.offset = attribute.u32(),
                _ => {}
            }
        }
    }
    Err(refusal)
}
