//! Which pages of a memory a snapshot holds, summarised and run by run.

use std::io::{self, Write};

use indicatif::HumanBytes;
use serde::Serialize;
use wasm_migrate::{PAGE_BYTES, PageKind, PageRun, SnapshotReader};

/// Pages of one memory. The last of them may reach beyond it.
#[derive(Serialize)]
pub(crate) struct MemoryMap {
    /// By kind.
    summary: Vec<KindSummary>,
    runs: Vec<ByteRun>,
}

/// All pages of one kind.
#[derive(Serialize)]
struct KindSummary {
    kind: PageKind,
    bytes: u64,
    runs: usize,
}

/// Neighbouring pages of one kind.
#[derive(Serialize)]
struct ByteRun {
    kind: PageKind,
    /// Address of the first byte.
    start: u64,
    bytes: u64,
}

impl MemoryMap {
    pub(crate) fn new(reader: &SnapshotReader<'_>, memory: usize) -> Self {
        let page_bytes = PAGE_BYTES as u64;
        let runs: Vec<ByteRun> = reader
            .page_map(memory)
            .into_iter()
            .map(|PageRun { kind, first, count }| ByteRun {
                kind,
                start: first * page_bytes,
                bytes: count * page_bytes,
            })
            .collect();
        let kinds = [PageKind::Stored, PageKind::Inherited, PageKind::Zero];
        let summary = kinds.map(|kind| {
            let of_kind = || runs.iter().filter(move |run| run.kind == kind);
            KindSummary {
                kind,
                bytes: of_kind().map(|run| run.bytes).sum(),
                runs: of_kind().count(),
            }
        });
        Self {
            summary: summary.into_iter().filter(|kind| kind.runs > 0).collect(),
            runs,
        }
    }

    /// One line for all.
    pub(crate) fn print_summary(&self, out: &mut dyn Write) -> io::Result<()> {
        let kinds: Vec<String> = self
            .summary
            .iter()
            .map(|KindSummary { kind, bytes, runs }| {
                let plural = if *runs == 1 { "" } else { "s" };
                format!(
                    "{} {} in {runs} run{plural}",
                    HumanBytes(*bytes),
                    name(*kind)
                )
            })
            .collect();
        match kinds.is_empty() {
            true => Ok(()),
            false => writeln!(out, "     {}", kinds.join(", ")),
        }
    }

    /// One line for each run.
    pub(crate) fn print_runs(&self, out: &mut dyn Write) -> io::Result<()> {
        for ByteRun { kind, start, bytes } in &self.runs {
            let end = start + bytes;
            writeln!(
                out,
                "     {start:#010x}..{end:#010x} {:<9} {}",
                name(*kind),
                HumanBytes(*bytes)
            )?;
        }
        Ok(())
    }
}

fn name(kind: PageKind) -> &'static str {
    match kind {
        PageKind::Zero => "zero",
        PageKind::Inherited => "inherited",
        PageKind::Stored => "stored",
    }
}
