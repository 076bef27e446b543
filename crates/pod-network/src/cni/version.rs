//! The versions of the specification that we speak.

use std::fmt;
use std::str::FromStr;

/// A version of the CNI specification, in the order of their appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.3.0
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0: CHECK appears.
    V0_4_0,
    /// 1.0.0: addresses lose their `version` field.
    V1_0_0,
    /// 1.1.0: GC and STATUS appear, results carry MTUs.
    V1_1_0,
}

impl Version {
    /// Every version we speak, oldest first.
    pub const ALL: [Self; 5] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The newest version we speak.
    pub const LATEST: Self = Self::V1_1_0;

    /// The version as the protocol writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A version that is not one of [`Version::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported;

impl FromStr for Version {
    type Err = Unsupported;

    fn from_str(text: &str) -> Result<Self, Unsupported> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(Unsupported)
    }
}
