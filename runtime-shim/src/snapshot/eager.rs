//! A file whose contents begin their way to the disk while they are written, so that little is left to wait for
//! at the end.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes that are sent on their way together.
const STRIDE_BYTES: u64 = 8 << 20;

/// A file that is written from its beginning on.
pub(super) struct EagerFile {
    file: File,
    written: u64,
    /// Up to where the bytes are on their way.
    started: u64,
}

impl EagerFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self {
            file,
            written: 0,
            started: 0,
        })
    }

    /// Waits until all of it is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Linux begins to write out pages that are said to be needed no more. It keeps them until that is done.
    #[cfg(target_os = "linux")]
    fn start(&mut self) {
        use std::num::NonZeroU64;

        let length = NonZeroU64::new(self.written - self.started);
        // Only advice: nothing depends on it.
        let _ = rustix::fs::fadvise(
            &self.file,
            self.started,
            length,
            rustix::fs::Advice::DontNeed,
        );
        self.started = self.written;
    }

    #[cfg(not(target_os = "linux"))]
    fn start(&mut self) {
        self.started = self.written;
    }
}

impl Write for EagerFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.written - self.started >= STRIDE_BYTES {
            self.start();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for EagerFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}
