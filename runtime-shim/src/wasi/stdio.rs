//! The three standard streams: those of this process, or whatever an embedder or test puts there.
//!
//! Nothing is buffered here. What the guest writes is handed on before its call returns, and no more
//! is read than the guest asked for, so a guest that is stopped between two calls has lost no byte
//! and repeats none.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;

use super::types::{Errno, FileType};
use super::wire::SavedPosition;

/// Which of the standard streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamName {
    Stdin,
    Stdout,
    Stderr,
}

/// Where the guest's standard streams lead.
#[derive(Default)]
pub(super) struct Stdio {
    input: Input,
    output: Output,
    error: Output,
}

#[derive(Default)]
enum Input {
    #[default]
    Empty,
    Inherited,
    Descriptor(OwnedFd),
    Reader(Box<dyn Read + Send>),
}

#[derive(Default)]
enum Output {
    #[default]
    Discarded,
    Inherited,
    Writer(Box<dyn Write + Send>),
}

impl Stdio {
    /// The streams of this process.
    pub(super) fn inherited() -> Self {
        Self {
            input: Input::Inherited,
            output: Output::Inherited,
            error: Output::Inherited,
        }
    }

    pub(super) fn set_stdin(&mut self, reader: Box<dyn Read + Send>) {
        self.input = Input::Reader(reader);
    }

    pub(super) fn set_stdin_descriptor(&mut self, descriptor: OwnedFd) {
        self.input = Input::Descriptor(descriptor);
    }

    pub(super) fn set_stdout(&mut self, writer: Box<dyn Write + Send>) {
        self.output = Output::Writer(writer);
    }

    pub(super) fn set_stderr(&mut self, writer: Box<dyn Write + Send>) {
        self.error = Output::Writer(writer);
    }

    /// The stream's descriptor in this process, if it has one: then it can be waited for.
    pub(super) fn host(&self, name: StreamName) -> Option<BorrowedFd<'_>> {
        match (name, &self.input, &self.output, &self.error) {
            (StreamName::Stdin, Input::Descriptor(descriptor), ..) => Some(descriptor.as_fd()),
            (StreamName::Stdin, Input::Inherited, ..) => Some(rustix::stdio::stdin()),
            (StreamName::Stdout, _, Output::Inherited, _) => Some(rustix::stdio::stdout()),
            (StreamName::Stderr, _, _, Output::Inherited) => Some(rustix::stdio::stderr()),
            _ => None,
        }
    }

    /// What the guest is told about the stream. A guest's library takes every character device for a
    /// terminal, so only terminals are called that.
    pub(super) fn file_type(&self, name: StreamName) -> FileType {
        let Some(host) = self.host(name) else {
            return FileType::Unknown;
        };
        if rustix::termios::isatty(host) {
            return FileType::CharacterDevice;
        }
        match rustix::fs::fstat(host) {
            Ok(stat) => match rustix::fs::FileType::from_raw_mode(stat.st_mode).into() {
                FileType::CharacterDevice => FileType::Unknown,
                file_type => file_type,
            },
            Err(_) => FileType::Unknown,
        }
    }

    /// Where standard input stands, if it is a regular file of this host.
    pub(super) fn input_position(&self) -> Option<SavedPosition> {
        let host = self.host(StreamName::Stdin)?;
        let stat = rustix::fs::fstat(host).ok()?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return None;
        }
        Some(SavedPosition {
            offset: rustix::fs::tell(host).ok()?,
            size: u64::try_from(stat.st_size).ok()?,
        })
    }

    /// Has standard input go on at `offset`.
    pub(super) fn seek_input(&self, offset: u64) -> io::Result<()> {
        if let Some(host) = self.host(StreamName::Stdin) {
            rustix::fs::seek(host, rustix::fs::SeekFrom::Start(offset))?;
        }
        Ok(())
    }

    /// Reads once from standard input; 0 means its end.
    pub(super) fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Errno> {
        match &mut self.input {
            Input::Empty => Ok(0),
            Input::Inherited => read(rustix::stdio::stdin(), bytes),
            Input::Descriptor(descriptor) => read(descriptor, bytes),
            Input::Reader(reader) => Ok(reader.read(bytes)?),
        }
    }

    /// Writes to standard output or error.
    pub(super) fn write(
        &mut self,
        name: StreamName,
        slices: &[IoSlice<'_>],
    ) -> Result<usize, Errno> {
        let output = match name {
            StreamName::Stdin => return Err(Errno::BadFd),
            StreamName::Stdout => &mut self.output,
            StreamName::Stderr => &mut self.error,
        };
        match (output, name) {
            (Output::Discarded, _) => Ok(total(slices)),
            // The host's own streams may make the guest wait: see `write_waiting`.
            (Output::Inherited, StreamName::Stderr) => write(rustix::stdio::stderr(), slices),
            (Output::Inherited, _) => write(rustix::stdio::stdout(), slices),
            (Output::Writer(writer), _) => {
                for slice in slices {
                    writer.write_all(slice)?;
                }
                writer.flush()?;
                Ok(total(slices))
            }
        }
    }
}

impl fmt::Debug for Stdio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inherited = |name| self.host(name).is_some();
        f.debug_struct("Stdio")
            .field("inherits_stdin", &inherited(StreamName::Stdin))
            .field("inherits_stdout", &inherited(StreamName::Stdout))
            .field("inherits_stderr", &inherited(StreamName::Stderr))
            .finish()
    }
}

/// Reads once from a host descriptor.
pub(super) fn read(host: impl AsFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    let host = host.as_fd();
    Ok(retry_on_intr(|| rustix::io::read(host, &mut *bytes))?)
}

/// Writes once to a host descriptor.
pub(super) fn write(host: impl AsFd, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let host = host.as_fd();
    match slices {
        [slice] => Ok(retry_on_intr(|| rustix::io::write(host, slice))?),
        _ => Ok(retry_on_intr(|| rustix::io::writev(host, slices))?),
    }
}

fn total(slices: &[IoSlice<'_>]) -> usize {
    slices.iter().map(|slice| slice.len()).sum()
}
