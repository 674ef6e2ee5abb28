//! Names and numbers that messages, journals and machines share. Those that come from a peer are checked when they are
//! made, so that a job's name is safe as a directory's name and no number overflows later.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes of a page: what kernels track, what is sent and what is asked for. A host whose kernel has larger pages asks for
/// several at once.
pub const PAGE_BYTES: u64 = 4096;

/// Characters of a job's or a node's name, at most.
pub const NAME_MAX: usize = 64;

/// One migration of one job: random, chosen by the source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MigrationId(pub [u8; 16]);

/// A BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// Fencing epoch of a job: counts who may run it. A node runs a job only in an epoch that its journal says is its own, and of
/// two epochs the greater one counts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
pub struct Epoch(pub u64);

/// Name of a job: 1 to 64 letters, digits, `-` and `_`, the same on all nodes that it visits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// Name of a node, as its certificate has it: 1 to 64 letters, digits, `-`, `_` and `.`, not beginning with `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

/// A text that is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{found}` is no name of a {of}: names have 1 to {NAME_MAX} of a-z, A-Z, 0-9, `-` and `_`{also}"
)]
pub struct NameError {
    found: String,
    of: &'static str,
    also: &'static str,
}

/// Pages of one memory that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PageRun {
    /// Index of the memory.
    pub memory: u32,
    /// The first page, counted in [`PAGE_BYTES`] from the memory's beginning.
    pub first: u64,
    /// How many; never 0 in a message that was accepted.
    pub count: u32,
}

impl Epoch {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl JobId {
    /// Checks a name.
    ///
    /// # Errors
    /// It is empty, too long, or has other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        check(text.into(), "job", "").map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NodeName {
    /// Checks a name.
    ///
    /// # Errors
    /// It is empty, too long, begins with `.`, or has other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        check(text.into(), "node", " and, but not first, `.`").map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names are the same strings wherever they are shown, looked up or used as a file's name.
fn check(text: String, of: &'static str, also: &'static str) -> Result<String, NameError> {
    let fits = |(at, byte): (usize, u8)| {
        byte.is_ascii_alphanumeric()
            || byte == b'-'
            || byte == b'_'
            || byte == b'.' && !also.is_empty() && at > 0
    };
    if text.is_empty() || text.len() > NAME_MAX || !text.bytes().enumerate().all(fits) {
        let found = text.chars().take(NAME_MAX + 1).collect();
        return Err(NameError { found, of, also });
    }
    Ok(text)
}

impl PageRun {
    /// One page.
    #[must_use]
    pub fn one(memory: u32, page: u64) -> Self {
        Self {
            memory,
            first: page,
            count: 1,
        }
    }

    /// The page behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }

    /// Its pages.
    pub fn pages(&self) -> impl Iterator<Item = u64> + use<> {
        self.first..self.end()
    }
}

macro_rules! name_conversions {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_conversions!(JobId);
name_conversions!(NodeName);

macro_rules! hexadecimal {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hexadecimal!(MigrationId);
hexadecimal!(Digest);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_as_directories() {
        for good in ["a", "life-2", "A_b", &"x".repeat(NAME_MAX)] {
            assert!(JobId::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a.b",
            "a b",
            "ä",
            "a\0",
            &"x".repeat(NAME_MAX + 1),
        ] {
            assert!(JobId::new(bad).is_err(), "{bad}");
        }
        assert!(NodeName::new("node.example").is_ok());
        assert!(NodeName::new(".node").is_err());
    }
}
