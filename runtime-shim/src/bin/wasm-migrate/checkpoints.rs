//! Checkpoints: snapshots that a guest leaves behind at intervals while it runs, so that a new process can
//! go on if this one is killed.
//!
//! They are numbered files beside where a snapshot would go. Most hold only what changed since the one
//! before; one in [`FULL_EVERY`] holds everything, so that older ones can be removed. They are written by
//! a thread of their own while the guest goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::Context as _;
use wasm_migrate::{Compression, Parent, ReadOptions, Snapshot, WriteOptions};

use crate::keys::LoadedKeys;

const FULL_EVERY: u64 = 8;

/// Where checkpoints go.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointFiles {
    /// Without the number.
    base: PathBuf,
}

/// Checkpoints of one guest.
pub(crate) struct Checkpoints {
    files: CheckpointFiles,
    /// Gone when no more are to come.
    sender: Option<SyncSender<Snapshot>>,
    is_writing: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

/// What the writing thread keeps.
struct Writer {
    files: CheckpointFiles,
    keep: usize,
    compression: Compression,
    keys: Arc<LoadedKeys>,
    next: u64,
    /// Those that have been written, and whether each holds everything.
    written: Vec<(u64, bool)>,
    parent: Option<Parent>,
}

impl CheckpointFiles {
    /// Checkpoints beside a snapshot of this name.
    pub(crate) fn beside(snapshot: &Path) -> Self {
        Self {
            base: snapshot.with_added_extension("checkpoint"),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.base.with_added_extension(number.to_string())
    }

    /// Numbers of the files that are there, ascending.
    fn numbers(&self) -> Vec<u64> {
        let parent = self
            .base
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        let Ok(entries) = fs::read_dir(parent.unwrap_or(Path::new("."))) else {
            return Vec::new();
        };
        let base = self.base.file_name().unwrap_or_default();
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| {
                let number = name.strip_prefix(base.to_str()?)?.strip_prefix('.')?;
                number.parse().ok()
            })
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// The newest checkpoint that can be read. Those that cannot are told.
    pub(crate) fn latest(&self, options: &ReadOptions) -> Option<(PathBuf, Snapshot)> {
        self.numbers().into_iter().rev().find_map(|number| {
            let path = self.path(number);
            match Snapshot::read(&path, options) {
                Ok(snapshot) => Some((path, snapshot)),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    log::warn!("checkpoint `{}` cannot be used: {error:#}", path.display());
                    None
                }
            }
        })
    }

    /// Removes those before `first`, newest first: none is left that builds on one that is gone.
    fn remove_before(&self, first: u64) {
        for number in self.numbers().into_iter().rev() {
            if number < first {
                let path = self.path(number);
                if let Err(error) = fs::remove_file(&path) {
                    log::warn!(
                        "`{}` is not needed and cannot be removed: {error}",
                        path.display()
                    );
                }
            }
        }
    }
}

impl Checkpoints {
    pub(crate) fn start(
        files: CheckpointFiles,
        keep: usize,
        compression: Compression,
        keys: Arc<LoadedKeys>,
    ) -> anyhow::Result<Self> {
        let (sender, snapshots) = sync_channel::<Snapshot>(1);
        let is_writing = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            next: files.numbers().last().map_or(1, |last| last + 1),
            files: files.clone(),
            keep,
            compression,
            keys,
            written: Vec::new(),
            parent: None,
        };
        let is_done = Arc::clone(&is_writing);
        let thread = std::thread::Builder::new().name("checkpoints".to_owned());
        let writer = thread
            .spawn(move || {
                for snapshot in snapshots {
                    if let Err(error) = writer.write(&snapshot) {
                        eprintln!("a checkpoint was not written, the guest goes on: {error:#}");
                    }
                    is_done.store(false, Ordering::Release);
                }
            })
            .context("cannot start the thread `checkpoints`")?;
        Ok(Self {
            files,
            sender: Some(sender),
            is_writing,
            writer: Some(writer),
        })
    }

    /// Is the last one still being written?
    pub(crate) fn are_behind(&self) -> bool {
        self.is_writing.load(Ordering::Acquire)
    }

    /// Has a checkpoint written.
    pub(crate) fn add(&self, snapshot: Snapshot) {
        self.is_writing.store(true, Ordering::Release);
        let sender = self.sender.as_ref().expect("there until the end");
        // The thread takes all that comes until the sender is gone.
        sender.send(snapshot).expect("the thread is there");
    }

    /// Waits for the last one; removes them all if the guest has come to its end.
    pub(crate) fn finish(mut self, guest_has_ended: bool) {
        self.sender = None;
        if let Some(writer) = self.writer.take()
            && let Err(panic) = writer.join()
        {
            std::panic::resume_unwind(panic);
        }
        if guest_has_ended {
            self.files.remove_before(u64::MAX);
        }
    }
}

impl Writer {
    fn write(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let since_full = self
            .written
            .iter()
            .rev()
            .take_while(|(_, full)| !full)
            .count() as u64;
        if since_full + 1 >= FULL_EVERY {
            self.parent = None;
        }
        let (number, is_full) = (self.next, self.parent.is_none());
        let path = self.files.path(number);
        let options = WriteOptions {
            compression: self.compression,
            parent: self.parent.as_ref(),
            ..self.keys.options()
        };
        let written = snapshot.write(&path, options)?;
        log::info!("checkpoint `{}`: {} bytes", path.display(), written.bytes);
        let name = path.file_name().unwrap_or_default();
        self.parent = Some(written.into_parent(name.to_string_lossy().into_owned()));
        self.next += 1;
        self.written.push((number, is_full));
        self.remove_old();
        Ok(())
    }

    /// Removes what neither the newest ones nor those that they build on need.
    fn remove_old(&mut self) {
        // Also those of an earlier process stay until there are enough.
        let Some(oldest_kept) = self.written.len().checked_sub(self.keep) else {
            return;
        };
        let full = self.written[..=oldest_kept]
            .iter()
            .rposition(|(_, full)| *full);
        let Some(first) = full else { return };
        self.written.drain(..first);
        self.files.remove_before(self.written[0].0);
    }
}
