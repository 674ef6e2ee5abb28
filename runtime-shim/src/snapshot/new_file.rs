//! A file that appears under its name when it is whole: written under another name beside it, synchronised, renamed, and
//! the directory synchronised. Whatever happens before leaves what was there; after a kill, the temporary file stays,
//! whose name ends with `.tmp`.
//!
//! Contents begin their way to the disk while they are written, so that little is left to wait for at the end.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Bytes that are sent on their way together.
const STRIDE_BYTES: u64 = 8 << 20;

/// A file that is written from its beginning on. Dropped before it is finished, it leaves nothing.
pub(super) struct NewFile {
    path: PathBuf,
    directory: File,
    file: NamedTempFile,
    written: u64,
    /// Up to where the bytes are on their way.
    started: u64,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut prefix = OsString::from(name);
        prefix.push(".");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        if let Some(permissions) = ordinary_permissions() {
            builder.permissions(permissions);
        }
        Ok(Self {
            path: path.to_owned(),
            // Before anything is written: what cannot be opened cannot be synchronised.
            directory: File::open(parent)?,
            file: builder.tempfile_in(parent)?,
            written: 0,
            started: 0,
        })
    }

    /// Gives the file its name, in the place of what had it.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path)?;
        match self.directory.sync_all() {
            // Some file systems keep names in order by themselves, and know no such request.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            done => done,
        }
    }

    /// Linux begins to write out pages that are said to be needed no more. It keeps them until that is done.
    #[cfg(target_os = "linux")]
    fn start(&mut self) {
        use std::num::NonZeroU64;

        let length = NonZeroU64::new(self.written - self.started);
        // Only advice: nothing depends on it.
        let _ = rustix::fs::fadvise(
            self.file.as_file(),
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

/// Those of any new file, of which the user's mask takes away: temporary files have fewer.
#[cfg(unix)]
fn ordinary_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;

    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn ordinary_permissions() -> Option<Permissions> {
    None
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.as_file_mut().write(bytes)?;
        self.written += count as u64;
        if self.written - self.started >= STRIDE_BYTES {
            self.start();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.as_file_mut().seek(to)
    }
}
