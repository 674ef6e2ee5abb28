//! Journals of jobs as files, one in each job's directory: who may run the job.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use wasm_migrate_protocol::JobId;
use wasm_migrate_protocol::ownership::journal::{BLOCK_BYTES, Cause, Entry, Journal};
use wasm_migrate_protocol::ownership::{Holding, Ownership, OwnershipError, Record};

use super::directory::Directory;

/// A journal has few entries; one that is longer is no journal.
const JOURNAL_BYTES_MAX: u64 = 16 << 20;

/// The journals of a node. No other process writes them while this one has the node's lock.
#[derive(Debug)]
pub(crate) struct Journals {
    directory: Directory,
    writing: Mutex<()>,
}

impl Journals {
    pub(crate) fn new(directory: Directory) -> Self {
        Self {
            directory,
            writing: Mutex::new(()),
        }
    }

    fn read(&self, job: &JobId) -> io::Result<Option<(Journal, u64)>> {
        let mut bytes = Vec::new();
        match File::open(self.directory.journal(job)) {
            Ok(file) => file.take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Journal::read(&bytes).map(Some).map_err(io::Error::other)
    }

    fn append(&self, job: &JobId, read: Option<(Journal, u64)>, record: &Record) -> io::Result<()> {
        let path = self.directory.journal(job);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let (journal, whole) = read.unwrap_or_else(|| (Journal::begin().0, 0));
        let mut blocks = Vec::with_capacity(2 * BLOCK_BYTES);
        if whole == 0 {
            blocks.extend(Journal::begin().1);
        }
        let cause = match &record.holding {
            Holding::Owned { arrival: None } if journal.entries.is_empty() => Cause::Submitted,
            _ => Cause::Migration,
        };
        blocks.extend(
            journal.block(&Entry {
                time: SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or(Duration::ZERO),
                cause,
                record: record.clone(),
            }),
        );
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&path)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        file.write_all(&blocks)?;
        file.sync_all()?;
        if whole == 0 {
            // The name must be there as well.
            for directory in path.ancestors().skip(1).take(2) {
                File::open(directory)?.sync_all()?;
            }
        }
        Ok(())
    }
}

impl Ownership for &Journals {
    fn load(&self, job: &JobId) -> Result<Option<Record>, OwnershipError> {
        let read = self.read(job).map_err(store)?;
        Ok(read.and_then(|(journal, _)| journal.record().cloned()))
    }

    fn compare_and_set(
        &mut self,
        job: &JobId,
        expected: Option<&Record>,
        new: &Record,
    ) -> Result<(), OwnershipError> {
        let _writing = self.writing.lock();
        let read = self.read(job).map_err(store)?;
        let found = read
            .as_ref()
            .and_then(|(journal, _)| journal.record().cloned());
        if found.as_ref() != expected {
            return Err(OwnershipError::Changed {
                found,
                expected: expected.cloned(),
            });
        }
        self.append(job, read, new).map_err(store)
    }
}

fn store(error: io::Error) -> OwnershipError {
    OwnershipError::Store(Box::new(error))
}

#[cfg(test)]
mod tests {
    use wasm_migrate_protocol::Epoch;

    use super::*;

    #[test]
    fn a_journal_changes_by_comparison_and_survives_a_cut() {
        let root = tempfile::tempdir().expect("there is room");
        let directory = Directory::new(root.path());
        let journals = Journals::new(directory.clone());
        let mut journals = &journals;
        let job = JobId::new("job").expect("it is a name");
        let owned = |epoch| Record {
            epoch: Epoch(epoch),
            holding: Holding::Owned { arrival: None },
        };
        assert_eq!(journals.load(&job).expect("there is none"), None);
        journals
            .compare_and_set(&job, None, &owned(1))
            .expect("it is new");
        let refused = journals.compare_and_set(&job, None, &owned(2));
        assert!(matches!(refused, Err(OwnershipError::Changed { .. })));
        journals
            .compare_and_set(&job, Some(&owned(1)), &owned(2))
            .expect("it is as expected");
        let path = directory.journal(&job);
        let bytes = fs::read(&path).expect("it is there");
        fs::write(&path, &bytes[..bytes.len() - 9]).expect("there is room");
        assert_eq!(journals.load(&job).expect("it is cut"), Some(owned(1)));
        journals
            .compare_and_set(&job, Some(&owned(1)), &owned(3))
            .expect("the rest is cut off");
        assert_eq!(journals.load(&job).expect("it is whole"), Some(owned(3)));
    }
}
