//! Version of the protocol, and the one rule about it.
//!
//! 1.0: first.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the protocol. A new minor version may add messages and fields at the end, which the side with the older one
/// is never sent: both speak the smaller of their minor versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProtocolVersion {
    /// Another one cannot be spoken with.
    pub major: u8,
    /// The smaller one of both sides is spoken.
    pub minor: u8,
}

/// A version that this node cannot speak with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the other node speaks version {0} of the migration protocol, this one version {ours}: use wasm-migrate of the same \
     major version on both",
    ours = ProtocolVersion::CURRENT
)]
pub struct VersionError(pub ProtocolVersion);

impl ProtocolVersion {
    /// What this crate speaks.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// The version that both sides speak, if there is one.
    ///
    /// # Errors
    /// The major versions differ.
    pub fn common_with(self, other: Self) -> Result<Self, VersionError> {
        if self.major != other.major {
            return Err(VersionError(other));
        }
        Ok(self.min(other))
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_minor_version_is_spoken() {
        let version = |major, minor| ProtocolVersion { major, minor };
        assert_eq!(version(1, 2).common_with(version(1, 5)), Ok(version(1, 2)));
        assert_eq!(version(1, 5).common_with(version(1, 2)), Ok(version(1, 2)));
        assert_eq!(
            version(1, 0).common_with(version(2, 0)),
            Err(VersionError(version(2, 0)))
        );
    }
}
