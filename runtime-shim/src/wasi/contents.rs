//! Contents of files that go along with a guest: packed as they are read, unpacked as they are written, so
//! that only the packed bytes are held in memory, and bounded on both sides.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::retry_on_intr;

use super::fd_table::Access;
use super::snapshot::{DescriptorFault, RestoreError, unreachable};
use super::types::FileStat;
use super::wire::SavedContent;

const BUFFER_BYTES: usize = 1 << 16;
/// zstd's fastest ordinary level.
const LEVEL: i32 = 1;

/// Collects contents for a snapshot, those of each file once.
pub(super) struct Packer {
    bytes_left: u64,
    bytes_max: u64,
    contents: Vec<SavedContent>,
    by_inode: BTreeMap<(u64, u64), u32>,
}

impl Packer {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_left: bytes_max,
            bytes_max,
            contents: Vec::new(),
            by_inode: BTreeMap::new(),
        }
    }

    /// Adds the contents of `file`, which `stat` describes; answers their index.
    pub(super) fn add(&mut self, file: impl AsFd, stat: &FileStat) -> Result<u32, DescriptorFault> {
        let inode = (stat.device, stat.inode);
        if let Some(&index) = self.by_inode.get(&inode) {
            return Ok(index);
        }
        let too_large = DescriptorFault::TooLarge {
            bytes_max: self.bytes_max,
        };
        if stat.size > self.bytes_left {
            return Err(too_large);
        }
        let mut reader = Reader::new(file).take(self.bytes_left.saturating_add(1));
        let mut hasher = blake3::Hasher::new();
        let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(unreachable)?;
        let mut tee = Tee(&mut hasher, &mut encoder);
        let size = io::copy(&mut reader, &mut tee).map_err(unreachable)?;
        self.bytes_left = self.bytes_left.checked_sub(size).ok_or(too_large)?;
        let index = u32::try_from(self.contents.len()).map_err(unreachable)?;
        self.contents.push(SavedContent {
            size,
            hash: *hasher.finalize().as_bytes(),
            packed: encoder.finish().map_err(unreachable)?,
        });
        self.by_inode.insert(inode, index);
        Ok(index)
    }

    pub(super) fn finish(self) -> Vec<SavedContent> {
        self.contents
    }
}

/// Contents that a snapshot brought, found whole.
pub(super) struct Contents(Vec<SavedContent>);

impl Contents {
    /// Unpacks all of them once, to nowhere.
    pub(super) fn check(contents: Vec<SavedContent>, bytes_max: u64) -> Result<Self, RestoreError> {
        let all = contents
            .iter()
            .fold(0_u64, |all, content| all.saturating_add(content.size));
        if all > bytes_max {
            return Err(RestoreError::TooMuchShipped {
                bytes: all,
                bytes_max,
            });
        }
        for (index, content) in contents.iter().enumerate() {
            unpack(content, &mut io::sink()).map_err(|error| {
                RestoreError::Malformed(format!("file contents {index}: {error}"))
            })?;
        }
        Ok(Self(contents))
    }

    pub(super) fn get(&self, index: u32) -> Result<&SavedContent, RestoreError> {
        self.0
            .get(index as usize)
            .ok_or_else(|| RestoreError::Malformed(format!("there are no file contents {index}")))
    }
}

/// Writes what `content` stands for to `sink`; never more than its size.
pub(super) fn unpack(content: &SavedContent, sink: &mut dyn Write) -> io::Result<()> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its size or digest is wrong");
    let decoder = zstd::Decoder::new(&content.packed[..])?;
    let mut hasher = blake3::Hasher::new();
    let mut tee = Tee(&mut hasher, sink);
    let size = io::copy(&mut decoder.take(content.size.saturating_add(1)), &mut tee)?;
    if size != content.size || *hasher.finalize().as_bytes() != content.hash {
        return Err(damaged());
    }
    Ok(())
}

/// The digest of a file's contents. Its offset stays where it is.
pub(super) fn hash_of(file: impl AsFd) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut Reader::new(file), &mut hasher)?;
    Ok(*hasher.finalize().as_bytes())
}

/// `file` as it can be read, even if it was opened only to be written.
pub(super) fn readable(file: &cap_std::fs::File, access: Access) -> io::Result<std::fs::File> {
    if access.read {
        Ok(file.try_clone()?.into_std())
    } else {
        std::fs::File::open(path_of(file))
    }
}

/// A path that opens again what is open, whether it has a name or not.
pub(super) fn path_of(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

/// Reads a file from its beginning without moving its offset.
struct Reader<F> {
    file: F,
    offset: u64,
}

impl<F: AsFd> Reader<F> {
    fn new(file: F) -> Self {
        Self { file, offset: 0 }
    }
}

impl<F: AsFd> Read for Reader<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = bytes.len().min(BUFFER_BYTES);
        let bytes = &mut bytes[..length];
        let read = retry_on_intr(|| rustix::io::pread(&self.file, &mut *bytes, self.offset))?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Hashes what goes through.
struct Tee<'a, W: ?Sized>(&'a mut blake3::Hasher, &'a mut W);

impl<W: Write + ?Sized> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.1.write(bytes)?;
        self.0.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}
