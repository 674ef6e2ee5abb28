//! Directories: reading their entries, creating and removing them, and what a guest is told about the
//! preopened ones.
//!
//! A guest reads a directory in pieces and names the next piece by a cookie. Here a cookie is an index
//! into the directory's entries as they were, in the order of their names, when the guest began to
//! read; that list travels with the guest, so a guest that moves in the middle of a directory misses
//! no entry and sees none twice, even though another file system has another order.

use std::os::unix::fs::DirEntryExt;

use cap_std::fs::{Dir, MetadataExt};

use super::WasiCtx;
use super::fd_table::Node;
use super::memory::GuestMemory;
use super::types::{Errno, FileType, right};

/// Bytes of an entry's record before its name.
const RECORD_BYTES: usize = 24;

/// The entries of a directory, `.` and `..` first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) inode: u64,
    pub(super) file_type: FileType,
}

impl Listing {
    /// Reads all entries of `dir`. One whose name is not UTF-8 is left out: a guest cannot name it.
    fn read(dir: &Dir) -> Result<Self, Errno> {
        // The parent may lie outside what the guest may see, so its number stays hidden.
        let inode = dir.dir_metadata()?.ino();
        let own = |name: &str| Entry {
            name: name.to_owned(),
            inode,
            file_type: FileType::Directory,
        };
        let mut entries = vec![own("."), own("..")];
        for entry in dir.entries()? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let file_type = file_type(entry.file_type()?);
            entries.push(Entry {
                name,
                inode: entry.ino(),
                file_type,
            });
        }
        entries[2..].sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(Self { entries })
    }

    /// Fills `bytes` with the records from `cookie` on; the last may be cut off. Answers how many
    /// bytes were used: fewer than there are means that the end is reached.
    fn fill(&self, cookie: u64, bytes: &mut [u8]) -> usize {
        let start = usize::try_from(cookie)
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        let mut used = 0;
        for (next, entry) in (cookie.saturating_add(1)..).zip(&self.entries[start..]) {
            let mut record = [0; RECORD_BYTES];
            record[0..8].copy_from_slice(&next.to_le_bytes());
            record[8..16].copy_from_slice(&entry.inode.to_le_bytes());
            let length = u32::try_from(entry.name.len()).unwrap_or(u32::MAX);
            record[16..20].copy_from_slice(&length.to_le_bytes());
            record[20] = entry.file_type as u8;
            for part in [&record[..], entry.name.as_bytes()] {
                let room = &mut bytes[used..];
                let length = part.len().min(room.len());
                room[..length].copy_from_slice(&part[..length]);
                used += length;
            }
            if used == bytes.len() {
                break;
            }
        }
        used
    }
}

fn file_type(file_type: cap_std::fs::FileType) -> FileType {
    use cap_fs_ext::FileTypeExt;
    if file_type.is_dir() {
        FileType::Directory
    } else if file_type.is_file() {
        FileType::RegularFile
    } else if file_type.is_symlink() {
        FileType::SymbolicLink
    } else if file_type.is_char_device() {
        FileType::CharacterDevice
    } else if file_type.is_block_device() {
        FileType::BlockDevice
    } else if file_type.is_socket() {
        FileType::SocketStream
    } else {
        FileType::Unknown
    }
}

/// A directory may be named with slashes at the end, which the sandbox does not take everywhere.
fn trim_slashes(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        trimmed => trimmed,
    }
}

impl WasiCtx {
    pub(super) fn fd_prestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let length = u32::try_from(self.preopen_name(fd)?.len()).map_err(|_| Errno::Overflow)?;
        memory.write(result, &[0; 4])?;
        memory.write_u32(result.checked_add(4).ok_or(Errno::Fault)?, length)
    }

    pub(super) fn fd_prestat_dir_name(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        pointer: u32,
        length: u32,
    ) -> Result<(), Errno> {
        let name = self.preopen_name(fd)?;
        if (length as usize) < name.len() {
            return Err(Errno::NameTooLong);
        }
        memory.write(pointer, name.as_bytes())
    }

    /// The guest's name of the preopened directory `fd`. Anything else is a bad descriptor: that
    /// answer ends a guest's search for preopened directories.
    fn preopen_name(&self, fd: u32) -> Result<&str, Errno> {
        match &self.table.get(fd)?.node {
            Node::Directory(directory) if directory.is_preopen => {
                let preopen = self.preopens.get(directory.place.preopen as usize);
                Ok(&preopen.ok_or(Errno::BadFd)?.name)
            }
            _ => Err(Errno::BadFd),
        }
    }

    pub(super) fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        pointer: u32,
        length: u32,
        cookie: u64,
        result: u32,
    ) -> Result<(), Errno> {
        memory.check(result, 4)?;
        let descriptor = self.table.get_mut(fd)?;
        if matches!(descriptor.node, Node::Directory(_)) {
            descriptor.require(right::FD_READDIR)?;
        }
        let Node::Directory(directory) = &mut descriptor.node else {
            return Err(Errno::NotDirectory);
        };
        let bytes = memory.bytes_mut(pointer, length)?;
        let listing = match &mut directory.listing {
            Some(listing) if cookie != 0 => listing,
            stale => stale.insert(Listing::read(&directory.dir)?),
        };
        let used = listing.fill(cookie, bytes);
        memory.write_u32(result, u32::try_from(used).map_err(|_| Errno::Overflow)?)
    }

    pub(super) fn path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_length: u32,
    ) -> Result<(), Errno> {
        let directory = self.table.directory(fd, right::PATH_CREATE_DIRECTORY)?;
        Ok(directory
            .dir
            .create_dir(trim_slashes(memory.text(path, path_length)?))?)
    }

    pub(super) fn path_remove_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_length: u32,
    ) -> Result<(), Errno> {
        let directory = self.table.directory(fd, right::PATH_REMOVE_DIRECTORY)?;
        Ok(directory
            .dir
            .remove_dir(trim_slashes(memory.text(path, path_length)?))?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, FileType, Listing, RECORD_BYTES};

    #[test]
    fn cookies_lead_through_pieces_of_any_size() {
        let names = [".", "..", "a", "file with a long name"];
        let entries = names.map(|name| Entry {
            name: name.to_owned(),
            inode: 1,
            file_type: FileType::Unknown,
        });
        let listing = Listing {
            entries: entries.to_vec(),
        };
        let mut seen = Vec::new();
        let mut cookie = 0;
        let mut bytes = [0; RECORD_BYTES + 21];
        loop {
            let used = listing.fill(cookie, &mut bytes);
            if used == 0 {
                break;
            }
            let length = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]) as usize;
            seen.push(String::from_utf8_lossy(&bytes[RECORD_BYTES..][..length]).into_owned());
            cookie += 1;
            assert_eq!(bytes[0..8], cookie.to_le_bytes());
        }
        assert_eq!(seen, names);
        assert_eq!(listing.fill(u64::MAX, &mut bytes), 0);
    }
}
