//! Part of a memory, byte by byte.

use std::io::{self, Write};
use std::ops::Range;
use std::str::FromStr;

use anyhow::Context as _;
use serde::Serialize;
use wasm_migrate::{PAGE_BYTES, SnapshotChain};

/// Which part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemoryRange {
    memory: usize,
    bytes: Range<u64>,
}

/// The bytes of a part that lies in the memory.
#[derive(Serialize)]
pub(crate) struct MemoryView {
    memory: usize,
    /// Address of the first byte.
    start: u64,
    #[serde(serialize_with = "as_hex")]
    bytes: Vec<u8>,
}

impl FromStr for MemoryRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (memory, range) = text.split_once(':').unwrap_or(("0", text));
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        let (start, end) = range
            .split_once("..")
            .ok_or("give START..END or START..+LENGTH")?;
        let start = number(start).map_err(|error| error.to_string())?;
        let end = match end.strip_prefix('+') {
            Some(length) => number(length).map(|length| start.saturating_add(length)),
            None => number(end),
        };
        let end = end.map_err(|error| error.to_string())?;
        if end < start {
            return Err("it ends before it starts".to_owned());
        }
        Ok(Self {
            memory: memory.parse().map_err(|error| format!("{error}"))?,
            bytes: start..end,
        })
    }
}

impl MemoryRange {
    /// Reads what lies in the memory.
    pub(crate) fn read(&self, chain: &SnapshotChain<'_>) -> anyhow::Result<MemoryView> {
        let Self { memory, bytes } = self;
        let sizes = &chain.newest().snapshot().state.memories;
        let size = sizes.get(*memory).with_context(|| {
            format!(
                "there is no memory {memory}: the snapshot has {}",
                sizes.len()
            )
        })?;
        let end = bytes.end.min(size.bytes());
        let start = bytes.start.min(end);
        // Only pages can be read.
        let page_bytes = PAGE_BYTES as u64;
        let first_page = start / page_bytes;
        let before = start - first_page * page_bytes;
        let length = usize::try_from(before + end - start).context("that is too much")?;
        let mut bytes = vec![0; length];
        chain.read(*memory, first_page, &mut bytes)?;
        bytes.drain(..before as usize);
        Ok(MemoryView {
            memory: *memory,
            start,
            bytes,
        })
    }
}

impl MemoryView {
    /// Prints it in the manner of `hexdump -C`.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        const LINE_BYTES: usize = 16;
        writeln!(out, "\nmemory {}", self.memory)?;
        let addresses = (self.start..).step_by(LINE_BYTES);
        for (at, line) in addresses.zip(self.bytes.chunks(LINE_BYTES)) {
            let digits: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
            let shown = |byte: &u8| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            };
            let text: String = line.iter().map(shown).collect();
            writeln!(out, "  {at:08x}  {digits:<48} |{text}|")?;
        }
        Ok(())
    }
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    serializer.serialize_str(&digits)
}

#[cfg(test)]
mod tests {
    use super::MemoryRange;

    #[test]
    fn ranges_are_read() {
        let range = |memory, bytes| Ok(MemoryRange { memory, bytes });
        assert_eq!("0x10..0x20".parse(), range(0, 16..32));
        assert_eq!("2:5..+0x10".parse(), range(2, 5..21));
        for text in ["", "5", "5..4", "x..y", "a:0..1", "0..-1"] {
            assert!(text.parse::<MemoryRange>().is_err(), "{text}");
        }
    }
}
