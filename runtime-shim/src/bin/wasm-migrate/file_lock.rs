//! A file that says that something is in use: only one process can hold it, and a process that is killed lets go of it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A file that this process holds.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    path: PathBuf,
}

impl FileLock {
    /// Takes the file, which is made if it is not there; `None` if another process holds it.
    pub(crate) fn take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // It may have been removed between the two calls; then another process can make and hold its successor.
            if is_at(&file, path)? {
                return Ok(Some(Self {
                    file,
                    path: path.to_owned(),
                }));
            }
        }
    }

    /// Removes the file: nobody needs it any more. It is held until this is dropped.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match is_at(&self.file, &self.path)? {
            true => fs::remove_file(&self.path),
            false => Ok(()),
        }
    }
}

/// Is this the file that has this name now?
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A file that is open keeps its name elsewhere.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::FileLock;

    #[test]
    fn one_at_a_time_holds_the_file() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("lock");
        let take = || FileLock::take(&path).expect("it can be made");
        let held = take().expect("nobody holds it");
        assert!(take().is_none());
        drop(held);
        // A process that another test is just starting holds it, too, until it runs its program.
        let soon = std::iter::repeat_with(|| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            take()
        });
        let held = soon.take(500).flatten().next().expect("it was let go of");
        held.remove().expect("it is there");
        let next = take().expect("its successor is another file");
        held.remove().expect("it has no name");
        assert!(path.exists(), "the successor is not removed");
        drop(next);
    }
}
