//! WASI preview 1 for a guest that moves.
//!
//! All functions of `wasi_snapshot_preview1`, over the descriptors, clocks and streams of one guest,
//! a [`WasiCtx`]. Its whole state can be recorded with [`WasiCtx::snapshot`] and rebuilt elsewhere with
//! [`WasiCtx::restore`]: descriptors keep their numbers, files their offsets, clocks go on, and a sleep
//! ends when it would have ended.
//!
//! ```text
//! guest --call--> linker --> files, attributes, paths, dirs, clocks, poll, process, stdio
//!                                 |  (each: methods of WasiCtx)
//!                                 v
//!                 WasiCtx { descriptors, preopens, streams, clocks }
//!                                 ^
//!                       snapshot / restore <--> bytes (wire)
//! ```
//!
//! Calls that wait (`poll_oneoff`, reading from a stream, writing to one that is full) notice a stop request
//! and are made again after the resume. A [`FilePolicy`] says which contents of files go along and how
//! closely files at the destination are checked. Limits: no sockets; data inside a named pipe do not move;
//! opening a named pipe for writing waits for its reader without noticing a stop request.

mod attributes;
mod clocks;
mod contents;
mod dirs;
mod fd_table;
mod files;
mod find;
mod host_state;
mod linker;
mod listing;
mod memory;
mod paths;
mod policy;
mod poll;
mod process;
mod reopen;
mod restore;
mod shipped;
mod snapshot;
mod standalone;
mod stdio;
mod types;
mod wire;

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

pub use host_state::SECTION;
pub use linker::add_to_linker;
pub use listing::{ListedDescriptor, ListedWasi};
pub use policy::{ChangedFiles, CheckFiles, FilePolicy, ShipFiles};
pub use snapshot::{DescriptorFault, DescriptorProblem, RestoreError, SnapshotError};
pub(crate) use standalone::{Opened, Origin, StandaloneDescriptor};
pub use standalone::{StandaloneError, StandaloneFiles};

use clocks::Clocks;
use fd_table::{Descriptor, FdTable};
use poll::SuspendedPoll;
use restore::Prepared;
use stdio::{Stdio, StreamName};

/// The error with which a guest's `proc_exit` ends the call that runs it: its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest exited with status {0}")]
pub struct Exit(pub i32);

/// What a guest finds when it starts: arguments, environment, streams and directories.
///
/// Without further ado standard input is empty and what the guest writes is thrown away.
#[derive(Debug, Default)]
pub struct WasiBuilder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdio: Stdio,
    preopens: Vec<Preopen>,
    files: FilePolicy,
}

/// Everything WASI knows about one guest.
#[derive(Debug)]
pub struct WasiCtx {
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdio: Stdio,
    /// Directories that the embedder opened to the guest. Their indices are part of the state.
    preopens: Vec<Preopen>,
    table: FdTable,
    clocks: Clocks,
    /// The call of `poll_oneoff` that the guest will make again when it is resumed.
    suspended_poll: Option<SuspendedPoll>,
    /// What will take this one's place as soon as a guest that is being resumed runs.
    prepared: Option<Box<Prepared>>,
    files: FilePolicy,
}

/// A directory that the embedder opened to the guest.
#[derive(Debug, Clone)]
struct Preopen {
    /// The guest's name for it.
    name: String,
    /// `None` if the guest has no use for it any more and it was not mapped at the resume.
    dir: Option<Arc<Dir>>,
}

/// A directory that could not be opened to a guest.
#[derive(Debug, thiserror::Error)]
#[error("the directory {} could not be opened as {guest:?} for the guest", host.display())]
pub struct PreopenError {
    /// The directory.
    pub host: PathBuf,
    /// The name that the guest was to know it by.
    pub guest: String,
    /// What the host says.
    pub source: io::Error,
}

impl WasiBuilder {
    /// A guest without arguments, environment, streams and directories.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the arguments, the program's name first.
    #[must_use]
    pub fn args(mut self, args: Vec<String>) -> Self {
        self.args = args;
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Gives the guest the standard streams of this process.
    #[must_use]
    pub fn inherit_stdio(mut self) -> Self {
        self.stdio = Stdio::inherited();
        self
    }

    /// Has the guest read its standard input from `reader`. A read that waits in `reader` does not
    /// notice a stop request.
    #[must_use]
    pub fn stdin(mut self, reader: Box<dyn Read + Send>) -> Self {
        self.stdio.set_stdin(reader);
        self
    }

    /// Has the guest read its standard input from a descriptor of this process, such as a pipe's. A read that waits there
    /// notices a stop request.
    #[must_use]
    pub fn stdin_descriptor(mut self, descriptor: OwnedFd) -> Self {
        self.stdio.set_stdin_descriptor(descriptor);
        self
    }

    /// Has `writer` receive what the guest writes to its standard output.
    #[must_use]
    pub fn stdout(mut self, writer: Box<dyn Write + Send>) -> Self {
        self.stdio.set_stdout(writer);
        self
    }

    /// Has `writer` receive what the guest writes to its standard error.
    #[must_use]
    pub fn stderr(mut self, writer: Box<dyn Write + Send>) -> Self {
        self.stdio.set_stderr(writer);
        self
    }

    /// Opens the directory `host` to the guest, which knows it as `guest`.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub fn preopen(mut self, host: &Path, guest: &str) -> Result<Self, PreopenError> {
        let dir =
            Dir::open_ambient_dir(host, ambient_authority()).map_err(|source| PreopenError {
                host: host.to_owned(),
                guest: guest.to_owned(),
                source,
            })?;
        self.preopens.push(Preopen {
            name: guest.to_owned(),
            dir: Some(Arc::new(dir)),
        });
        Ok(self)
    }

    /// Says what becomes of the guest's files when it moves.
    #[must_use]
    pub fn files(mut self, policy: FilePolicy) -> Self {
        self.files = policy;
        self
    }

    /// The state of a guest that is about to start.
    #[must_use]
    pub fn build(self) -> WasiCtx {
        let Self {
            args,
            env,
            stdio,
            preopens,
            files,
        } = self;
        let mut table = FdTable::default();
        let streams = [StreamName::Stdin, StreamName::Stdout, StreamName::Stderr];
        let directories = (0..).zip(&preopens).filter_map(|(index, preopen)| {
            Some(Descriptor::preopen(
                index,
                Arc::clone(preopen.dir.as_ref()?),
            ))
        });
        for (fd, descriptor) in (0..).zip(
            streams
                .map(Descriptor::stream)
                .into_iter()
                .chain(directories),
        ) {
            table.insert_at(fd, descriptor);
        }
        let clocks = Clocks::new();
        WasiCtx {
            args,
            env,
            stdio,
            preopens,
            table,
            clocks,
            suspended_poll: None,
            prepared: None,
            files,
        }
    }
}
