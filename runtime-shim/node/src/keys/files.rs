//! Reading and writing of PEM files: keys are for their owner only, and nothing is overwritten.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::KeyError;

/// More than any chain has.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    Everybody,
    Owner,
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT_BYTES).read_to_end(&mut bytes))
        .map_err(|source| KeyError::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(bytes)
}

/// Leaves no copy behind: the buffer never grows.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let unread = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unread)?;
    let length = file.metadata().map_err(unread)?.len().min(FILE_LIMIT_BYTES);
    let room = usize::try_from(length).unwrap_or_default() + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(length).read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

pub(super) fn warn_if_readable_by_others(path: &Path) {
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        log::warn!(
            "{} can be read by others (mode {:o}): chmod 600 it",
            path.display(),
            mode & 0o777
        );
    }
}

/// Writes all files, or none if one is there already.
pub(super) fn write_new(dir: &Path, files: &[(&str, &[u8], Readers)]) -> Result<(), KeyError> {
    let unwritten = |path: PathBuf| move |source| KeyError::Write { path, source };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(unwritten(dir.to_owned()))?;
    for (name, ..) in files {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() {
            return Err(KeyError::Exists(path));
        }
    }
    // Each appears whole or not at all, and a temporary file has mode 0600.
    let mut written: Vec<PathBuf> = Vec::new();
    for (name, bytes, readers) in files {
        let path = dir.join(name);
        if let Err(error) = write_one(dir, &path, bytes, *readers) {
            for path in written {
                // Only what was made here just now.
                let _ = fs::remove_file(path);
            }
            return Err(error);
        }
        written.push(path);
    }
    Ok(())
}

fn write_one(dir: &Path, path: &Path, bytes: &[u8], readers: Readers) -> Result<(), KeyError> {
    let unwritten = |source| KeyError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(unwritten)?;
    let mode = match readers {
        Readers::Everybody => 0o644,
        Readers::Owner => 0o600,
    };
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))
        .map_err(unwritten)?;
    file.write_all(bytes).map_err(unwritten)?;
    file.as_file().sync_all().map_err(unwritten)?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            KeyError::Exists(path.to_owned())
        } else {
            unwritten(error.error)
        }
    })?;
    Ok(())
}

/// The PEM sections of one kind, as they stand in a text: a file of several kinds is taken apart, lest a key lands in a
/// file that everybody may read.
pub(super) fn sections(text: &[u8], kind: &str) -> Zeroizing<Vec<u8>> {
    let mut found = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    let mut is_inside = false;
    for line in text.split(|&byte| byte == b'\n') {
        let marker = line.trim_ascii();
        is_inside |= marker.starts_with(b"-----BEGIN ") && ends_with_kind(marker, kind);
        if is_inside {
            found.extend_from_slice(marker);
            found.push(b'\n');
        }
        if marker.starts_with(b"-----END ") {
            is_inside = false;
        }
    }
    found
}

fn ends_with_kind(marker: &[u8], kind: &str) -> bool {
    marker
        .strip_suffix(b"-----")
        .is_some_and(|marker| marker.ends_with(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_taken_apart() {
        let text = b"x\n-----BEGIN EC PRIVATE KEY-----\r\nAA\r\n-----END EC PRIVATE KEY-----\n\
            -----BEGIN CERTIFICATE-----\nBB\n-----END CERTIFICATE-----\ny";
        assert_eq!(
            **sections(text, "CERTIFICATE"),
            *b"-----BEGIN CERTIFICATE-----\nBB\n-----END CERTIFICATE-----\n"
        );
        assert_eq!(
            **sections(text, "PRIVATE KEY"),
            *b"-----BEGIN EC PRIVATE KEY-----\nAA\n-----END EC PRIVATE KEY-----\n"
        );
    }
}
