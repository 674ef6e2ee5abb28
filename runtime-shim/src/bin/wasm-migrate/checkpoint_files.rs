//! The files of checkpoints, and the thread that writes them while the guest goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use wasm_migrate::{
    ChangedPages, Compression, MemoryContents, ParentReference, ReadOptions, Snapshot,
    SnapshotChain, SnapshotError, WriteOptions, Written,
};

use crate::file_lock::FileLock;
use crate::keys::LoadedKeys;

/// Where checkpoints go. No other process uses these files until all clones are dropped.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointFiles {
    /// Without the number.
    base: PathBuf,
    lock: Arc<FileLock>,
}

/// The newest checkpoint, and where it lies.
pub(crate) struct Newest {
    pub(crate) path: PathBuf,
    pub(crate) chain: SnapshotChain<'static>,
}

/// What is to be written.
pub(crate) enum Job {
    /// Everything.
    Full(Snapshot<MemoryContents>),
    /// What changed since the last one.
    Incremental(Snapshot<ChangedPages>, ParentReference),
}

/// The last checkpoint that was written, for the next to build on. `None` if the last write failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Last(Arc<Mutex<Option<ParentReference>>>);

/// What the writing thread keeps.
pub(crate) struct Writer {
    files: CheckpointFiles,
    keep: usize,
    compression: Compression,
    keys: Arc<LoadedKeys>,
    next: u64,
    /// Those that have been written, and whether each holds everything.
    written: Vec<(u64, bool)>,
    last: Last,
}

impl Last {
    pub(crate) fn get(&self) -> Option<ParentReference> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, parent: Option<ParentReference>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = parent;
    }
}

impl CheckpointFiles {
    /// Checkpoints beside a snapshot of this name. What a killed process had begun to write is removed.
    pub(crate) fn beside(snapshot: &Path) -> anyhow::Result<Self> {
        let base = snapshot.with_added_extension("checkpoint");
        let lock = FileLock::take(&base.with_added_extension("lock"));
        let shown = base.display();
        let lock = lock
            .with_context(|| format!("checkpoints cannot be left at `{shown}.*`"))?
            .with_context(|| {
                format!(
                    "another process leaves checkpoints at `{shown}.*`: wait for its end, or name other files \
                     with --snapshot"
                )
            })?;
        let this = Self {
            lock: Arc::new(lock),
            base,
        };
        for name in this.endings().filter(|name| name.ends_with(".tmp")) {
            remove(&this.base.with_added_extension(name));
        }
        Ok(this)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.base.with_added_extension(number.to_string())
    }

    /// Numbers of the files that are there, ascending.
    fn numbers(&self) -> Vec<u64> {
        let numbers = self.endings().filter_map(|name| name.parse().ok());
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        numbers
    }

    /// What follows the base and a dot in the names of the files that are there.
    fn endings(&self) -> impl Iterator<Item = String> {
        let parent = self
            .base
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        let entries = fs::read_dir(parent.unwrap_or(Path::new(".")));
        let mut start = self.base.file_name().unwrap_or_default().to_os_string();
        start.push(".");
        entries.into_iter().flatten().filter_map(move |entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some(name.strip_prefix(start.to_str()?)?.to_owned())
        })
    }

    /// The newest checkpoint that can be read. Those that cannot are told.
    pub(crate) fn latest(&self, options: &ReadOptions) -> Option<Newest> {
        self.numbers().into_iter().rev().find_map(|number| {
            let path = self.path(number);
            let chain = SnapshotChain::open(&path, options);
            match chain.and_then(|chain| chain.verify().map(|()| chain)) {
                Ok(chain) => Some(Newest { path, chain }),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    log::warn!("checkpoint `{}` cannot be used: {error:#}", path.display());
                    None
                }
            }
        })
    }

    /// Removes those before `first`, newest first: none is left that builds on one that is gone.
    pub(crate) fn remove_before(&self, first: u64) {
        for number in self.numbers().into_iter().rev() {
            if number < first {
                remove(&self.path(number));
            }
        }
    }

    /// Removes them all: nobody is to go on from one.
    pub(crate) fn remove_all(&self) {
        self.remove_before(u64::MAX);
        if let Err(error) = self.lock.remove() {
            log::warn!("the lock of checkpoints cannot be removed: {error}");
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        log::warn!(
            "`{}` is not needed and cannot be removed: {error}",
            path.display()
        );
    }
}

impl Writer {
    pub(crate) fn new(
        files: CheckpointFiles,
        keep: usize,
        compression: Compression,
        keys: Arc<LoadedKeys>,
        last: Last,
    ) -> Self {
        Self {
            next: files.numbers().last().map_or(1, |last| last + 1),
            files,
            keep,
            compression,
            keys,
            written: Vec::new(),
            last,
        }
    }

    pub(crate) fn write(&mut self, job: &Job) -> Result<(), SnapshotError> {
        // Until this one is whole, the next has nothing to build on.
        self.last.set(None);
        let path = self.files.path(self.next);
        let options = WriteOptions {
            compression: self.compression,
            ..self.keys.options()
        };
        let (Written { bytes, id }, is_full) = match job {
            Job::Full(snapshot) => (snapshot.write(&path, options)?, true),
            Job::Incremental(snapshot, parent) => {
                let options = WriteOptions {
                    parent: Some(parent),
                    ..options
                };
                (snapshot.write(&path, options)?, false)
            }
        };
        log::info!("checkpoint `{}`: {bytes} bytes", path.display());
        let name = path.file_name().unwrap_or_default();
        self.last.set(Some(ParentReference {
            name: name.to_string_lossy().into_owned(),
            id,
        }));
        self.written.push((self.next, is_full));
        self.next += 1;
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
