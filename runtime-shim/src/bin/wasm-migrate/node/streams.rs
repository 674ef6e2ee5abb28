//! A job's three standard streams, which go on where the job does.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasm_migrate::{HostState, HostStateError, SectionVersion};

use super::input::{Input, SavedInput};
use super::output::Output;

/// Section of a snapshot that holds [`Saved`], as postcard.
pub(crate) const SECTION: &str = "streams";
pub(crate) const VERSION: SectionVersion = SectionVersion::new(1, 0);

/// The streams of one guest of a job. Clones are the same.
#[derive(Clone)]
pub(crate) struct Streams {
    pub(crate) input: Arc<Input>,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// Where the streams stand.
#[derive(Serialize, Deserialize)]
struct Saved {
    input: SavedInput,
    stdout: u64,
    stderr: u64,
}

impl Streams {
    /// Those of a job with this directory, and the guest's end of its input.
    pub(crate) fn new(directory: &Path) -> io::Result<(Self, OwnedFd)> {
        let (input, guest_end) = Input::new()?;
        let streams = Self {
            input: Arc::new(input),
            stdout: Output::new(directory, "stdout"),
            stderr: Output::new(directory, "stderr"),
        };
        Ok((streams, guest_end))
    }

    /// For a job that starts anew.
    pub(crate) fn begin(&self) -> io::Result<()> {
        self.stdout.begin_at(0)?;
        self.stderr.begin_at(0)
    }

    /// Makes sure that a crash does not take away what was written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.stdout.sync()?;
        self.stderr.sync()
    }
}

impl HostState for Streams {
    fn name(&self) -> &str {
        SECTION
    }

    fn version(&self) -> SectionVersion {
        VERSION
    }

    /// No: `wasm-migrate resume` goes on with a job's checkpoint on a terminal.
    fn is_required(&self) -> bool {
        false
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, HostStateError> {
        let saved = Saved {
            input: self.input.save()?,
            stdout: self.stdout.end(),
            stderr: self.stderr.end(),
        };
        Ok(postcard::to_stdvec(&saved)?)
    }

    fn restore(&mut self, _: SectionVersion, bytes: &[u8]) -> Result<(), HostStateError> {
        let saved: Saved = postcard::from_bytes(bytes)?;
        self.stdout.begin_at(saved.stdout)?;
        self.stderr.begin_at(saved.stderr)?;
        self.input.restore(&saved.input)?;
        Ok(())
    }

    /// Nothing: nobody else writes these streams.
    fn activate(&mut self) {}

    /// Nothing: what was opened is empty.
    fn abort(&mut self) {}
}
