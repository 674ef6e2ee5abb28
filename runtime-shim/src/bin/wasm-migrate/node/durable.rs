//! Checkpoints of jobs: what a job goes on from if its node's process ends. Memory is copied while the guest runs, between two
//! short stops, if the kernel tells which pages were written meanwhile; else while it stands still.

use std::time::Duration;

use anyhow::Context as _;
use wasm_migrate::live::{LiveGuest, StopError, StoppedGuest};
use wasm_migrate::{
    ChangedPages, Compression, MemoryContents, MemorySize, MemoryView, Snapshot, WriteOptions,
};

use super::directory::{self, Directory};
use super::job::Job;
use super::tracking::Claim;

/// How long a guest is waited for that is in a host function.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a job does after its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// It goes on, also while that is written.
    GoesOn,
    /// It has stopped, and goes on from there when the node is started again; if it cannot be written, it goes on.
    Stays,
}

/// Writes a checkpoint of a running job. A job that has come to its end needs none: its end is on disk.
pub(crate) fn checkpoint(
    directory: &Directory,
    job: &Job,
    claim: &Claim,
    then: Then,
) -> anyhow::Result<()> {
    let Some(guest) = job.guest() else {
        return job.wait_until_ended();
    };
    let (snapshot, stopped) = match copy(claim, &guest) {
        Err(_) if job.guest().is_none() => return job.wait_until_ended(),
        copied => copied?,
    };
    let stopped = match then {
        Then::GoesOn => {
            stopped.go_on();
            None
        }
        // Dropped, it goes on.
        Then::Stays => Some(stopped),
    };
    job.streams().sync().context("its output")?;
    let options = WriteOptions {
        compression: Compression::Zstd(1),
        ..WriteOptions::default()
    };
    snapshot.write(&directory.checkpoint(&job.id), options)?;
    if let Some(stopped) = stopped {
        stopped.depart().release();
    }
    Ok(())
}

/// The guest as it was at one moment.
fn copy(
    claim: &Claim,
    guest: &LiveGuest,
) -> anyhow::Result<(Snapshot<MemoryContents>, StoppedGuest)> {
    let mut copied = None;
    if claim.is_quick() {
        let before = claim.ask(guest, false)?;
        let contents: std::io::Result<Vec<_>> =
            before.places.iter().map(|one| one.copy()).collect();
        // What cannot be copied so is copied while the guest stands still.
        copied = contents.ok();
    }
    let stopped = guest.stop(Some(PATIENCE)).map_err(anyhow::Error::from)?;
    let memories = stopped.memories();
    let contents = match copied {
        Some(contents) => bring_up_to_date(claim, contents, &memories)?,
        None => memories.iter().copied().map(MemoryContents::copy).collect(),
    };
    let snapshot: Snapshot<MemorySize> = stopped.snapshot().clone();
    drop(memories);
    Ok((snapshot.with_memories(contents), stopped))
}

fn bring_up_to_date(
    claim: &Claim,
    mut contents: Vec<MemoryContents>,
    memories: &[MemoryView<'_>],
) -> anyhow::Result<Vec<MemoryContents>> {
    let written = claim.ask_stopped(memories)?;
    for (memory, set) in &written {
        let at = *memory as usize;
        let pages = set.runs().flat_map(|(first, count)| first..first + count);
        contents[at].apply(&ChangedPages::copy(memories[at], pages));
    }
    Ok(contents)
}

/// Removes a job's checkpoint.
pub(crate) fn forget(directory: &Directory, job: &Job) -> std::io::Result<()> {
    directory::remove(&directory.checkpoint(&job.id))
}

/// Did the guest end instead of stopping?
pub(crate) fn has_ended(error: &StopError) -> bool {
    matches!(error, StopError::Ended)
}
