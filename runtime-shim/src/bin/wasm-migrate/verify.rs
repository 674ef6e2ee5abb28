//! `wasm-migrate verify`: whether a snapshot is whole.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::HumanBytes;
use serde::Serialize;
use wasm_migrate::SnapshotChain;

use crate::keys::ReadKeys;
use crate::progress::Progress;
use crate::{output, terminal};

/// Reads a snapshot to its end, and those that it builds on, and checks every digest. Exit status 0: it is
/// whole and undamaged.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The snapshot.
    snapshot: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: ReadKeys,
}

#[derive(Serialize)]
struct Verified {
    id: String,
    format: String,
    original_digest: String,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    signer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    frames: usize,
    memory_bytes: u64,
    stored_bytes: u64,
}

pub(crate) fn verify(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let options = arguments.keys.load()?;
    let chain = SnapshotChain::open(&arguments.snapshot, &options)?;
    let progress = Progress::new("reading", Some(chain.bytes_to_verify()));
    let chain = chain.on_progress(move |bytes| progress.add(bytes));
    chain.verify()?;
    let reader = chain.newest();
    let state = &reader.snapshot().state;
    let header = reader.header();
    let verified = Verified {
        id: output::hex(&header.id()),
        format: format!("{}.{}", header.version.0, header.version.1),
        original_digest: output::hex(&header.original_digest),
        epoch: header.epoch,
        signer: reader.signer().as_ref().map(output::hex),
        parent: reader.parent().map(|parent| parent.name.clone()),
        frames: state.frames.len(),
        memory_bytes: state
            .memories
            .iter()
            .fold(0, |sum: u64, size| sum.saturating_add(size.bytes())),
        stored_bytes: header.total_bytes(),
    };
    output::print(arguments.json, &verified, |out| {
        writeln!(out, "`{}` is whole", arguments.snapshot.display())?;
        writeln!(out, "id        {}", verified.id)?;
        writeln!(out, "format    {}", verified.format)?;
        writeln!(out, "original  {}", verified.original_digest)?;
        writeln!(out, "epoch     {}", verified.epoch)?;
        let signer = verified.signer.as_deref();
        writeln!(out, "signed    {}", signer.unwrap_or("no"))?;
        if let Some(parent) = &verified.parent {
            writeln!(out, "builds on {}", terminal::name(parent))?;
        }
        writeln!(
            out,
            "holds     {} frames, {} of memory, in {}",
            verified.frames,
            HumanBytes(verified.memory_bytes),
            HumanBytes(verified.stored_bytes)
        )
    })
}
