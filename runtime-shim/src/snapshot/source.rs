//! What a snapshot is read from: bytes at any place, by any number of threads at once.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

/// Bytes that can be read at any place.
pub(super) trait Source: Send + Sync {
    /// How many there are.
    fn bytes(&self) -> u64;

    /// Fills `buffer` from `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A stream, at one place at a time.
pub(super) struct Stream<R> {
    bytes: u64,
    stream: Mutex<R>,
}

impl<R: Read + Seek> Stream<R> {
    pub(super) fn new(mut stream: R) -> io::Result<Self> {
        let bytes = stream.seek(SeekFrom::End(0))?;
        let stream = Mutex::new(stream);
        Ok(Self { bytes, stream })
    }
}

impl<R: Read + Seek + Send> Source for Stream<R> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.seek(SeekFrom::Start(offset))?;
        stream.read_exact(buffer)
    }
}

/// A file that threads read side by side.
#[cfg(unix)]
pub(super) struct SharedFile {
    bytes: u64,
    file: File,
}

#[cfg(unix)]
impl SharedFile {
    pub(super) fn new(file: File) -> io::Result<Self> {
        // Not from its metadata: a device has a size there that is none.
        let bytes = (&file).seek(SeekFrom::End(0))?;
        Ok(Self { bytes, file })
    }
}

#[cfg(unix)]
impl Source for SharedFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }
}

/// A file that threads read one after the other.
#[cfg(not(unix))]
pub(super) type SharedFile = Stream<File>;
