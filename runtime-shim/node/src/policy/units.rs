//! Values of `node.toml` that TOML has no type for.

use std::collections::BTreeSet;

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use wasm_migrate_protocol::Digest;

use crate::fingerprint::parse_digest;

#[derive(Deserialize)]
#[serde(untagged)]
enum Size {
    Number(u64),
    Text(String),
}

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// `"2GiB"`, `"500 MB"` or a number of bytes.
pub(super) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let expected = "a number of bytes, or a text such as \"2GiB\" or \"500MB\"";
    let wrong = |found| D::Error::invalid_value(found, &expected);
    match Size::deserialize(from) {
        Ok(Size::Number(number)) => Ok(Some(number)),
        Ok(Size::Text(text)) => parse_bytes(&text)
            .map(Some)
            .ok_or_else(|| wrong(Unexpected::Str(&text))),
        Err(_) => Err(wrong(Unexpected::Other("something else"))),
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)))
        .unwrap_or((text, 1));
    number.trim_end().parse::<u64>().ok()?.checked_mul(unit)
}

/// A list of digests in hexadecimal.
pub(super) fn digests<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeSet<Digest>>, D::Error> {
    let read = |text: String| {
        let expected = "a module's digest: 64 hexadecimal digits";
        parse_digest(&text)
            .map(Digest)
            .ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    };
    let texts = Vec::<String>::deserialize(from)?;
    texts
        .into_iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("2GiB", Some(2 << 30)),
            ("500 MB", Some(500_000_000)),
            ("17", Some(17)),
            ("17B", Some(17)),
            ("", None),
            ("GiB", None),
            ("-1KiB", None),
            ("99999999TiB", None),
            ("2gib", None),
        ] {
            assert_eq!(parse_bytes(text), bytes, "{text}");
        }
    }
}
