//! How a certificate is named where people compare or pin it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What stands before the digits.
const PREFIX: &str = "b3:";

/// BLAKE3 of a certificate's DER bytes; as text `b3:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fingerprint: it is `b3:` and 64 hexadecimal digits, as `keys show` prints it")]
pub struct FingerprintError(String);

impl Fingerprint {
    /// Of a certificate's DER bytes.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        Self(blake3::hash(certificate).into())
    }
}

/// 32 bytes from 64 hexadecimal digits of either case.
pub(crate) fn parse_digest(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| {
        (byte as char)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        text.strip_prefix(PREFIX)
            .and_then(parse_digest)
            .map(Self)
            .ok_or_else(|| FingerprintError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let fingerprint = Fingerprint::of(b"certificate");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for bad in ["", "b3:", "b3:00", &fingerprint.to_string()[3..], "b3:é"] {
            let error = bad.parse::<Fingerprint>().unwrap_err().to_string();
            assert!(error.contains("64 hexadecimal digits"), "{error}");
        }
    }
}
