//! Descriptors once they are open: reading, writing, seeking, and asking or changing what they are.
//!
//! Data go straight between the guest's memory and the host's file; nothing is allocated on the way.
//! A file's offset is the host's, so host and guest cannot disagree about it.

use std::io::{IoSlice, SeekFrom};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Advice, FallocateFlags, OFlags, Timestamps};
use rustix::io::retry_on_intr;

use super::WasiCtx;
use super::fd_table::{Node, OpenFile, Rights};
use super::memory::{GATHER, GuestMemory};
use super::poll::{Progress, wait_readable};
use super::stdio;
use super::types::{Errno, FileStat, FileType, fdflags, fstflags, right};
use crate::controller::Controller;

impl WasiCtx {
    /// May reading from `fd` wait for someone else?
    pub(super) fn may_block(&self, fd: u32) -> bool {
        self.table.get(fd).is_ok_and(|descriptor| match &descriptor.node {
            Node::Stream(name) => self.stdio.host(*name).is_some(),
            Node::File(file) => file.file_type != FileType::RegularFile,
            Node::Directory(_) => false,
        })
    }

    /// Reads; a wait for data ends early if `watch` asks for a stop, before anything is read.
    pub(super) fn fd_read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        (fd, list, count, result): (u32, u32, u32, u32),
        watch: Option<&Controller>,
    ) -> Result<Progress, Errno> {
        memory.check(result, 4)?;
        let descriptor = self.table.get(fd)?;
        if matches!(descriptor.node, Node::Directory(_)) {
            return Err(Errno::IsDirectory);
        }
        descriptor.require(right::FD_READ)?;
        let may_wait = descriptor.flags & fdflags::NONBLOCK == 0;
        let length = match &descriptor.node {
            Node::File(file) if file.file_type == FileType::RegularFile => {
                read_buffers(memory, list, count, |bytes, _| stdio::read(&file.file, bytes))?
            }
            Node::File(OpenFile { file, .. }) => {
                if wait_readable(file.as_fd(), may_wait, watch)? == Progress::Stopped {
                    return Ok(Progress::Stopped);
                }
                read_first_buffer(memory, list, count, |bytes| stdio::read(file, bytes))?
            }
            Node::Stream(name) => {
                if let Some(host) = self.stdio.host(*name)
                    && wait_readable(host, may_wait, watch)? == Progress::Stopped
                {
                    return Ok(Progress::Stopped);
                }
                read_first_buffer(memory, list, count, |bytes| self.stdio.read(bytes))?
            }
            Node::Directory(_) => return Err(Errno::IsDirectory),
        };
        memory.write_u32(result, length)?;
        Ok(Progress::Done)
    }

    pub(super) fn fd_pread(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        result: u32,
    ) -> Result<(), Errno> {
        memory.check(result, 4)?;
        let needed = right::FD_READ | right::FD_SEEK;
        let file = &self.table.file(fd, needed, Errno::NotSeekable)?.file;
        let length = read_buffers(memory, list, count, |bytes, done| {
            let offset = offset.checked_add(done).ok_or(Errno::Invalid)?;
            Ok(retry_on_intr(|| rustix::io::pread(file, &mut *bytes, offset))?)
        })?;
        memory.write_u32(result, length)
    }

    pub(super) fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        list: u32,
        count: u32,
        result: u32,
    ) -> Result<(), Errno> {
        memory.check(result, 4)?;
        let descriptor = self.table.get(fd)?;
        if matches!(descriptor.node, Node::Directory(_)) {
            return Err(Errno::IsDirectory);
        }
        descriptor.require(right::FD_WRITE)?;
        let mut slices = [IoSlice::new(&[]); GATHER];
        let filled = memory.gather(list, count, &mut slices)?;
        let slices = &slices[..filled];
        let length = match &descriptor.node {
            _ if slices.is_empty() => 0,
            Node::File(file) => stdio::write(&file.file, slices)?,
            Node::Stream(name) => self.stdio.write(*name, slices)?,
            Node::Directory(_) => return Err(Errno::IsDirectory),
        };
        memory.write_u32(result, u32::try_from(length).map_err(|_| Errno::Overflow)?)
    }

    pub(super) fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        list: u32,
        count: u32,
        offset: u64,
        result: u32,
    ) -> Result<(), Errno> {
        memory.check(result, 4)?;
        let needed = right::FD_WRITE | right::FD_SEEK;
        let file = &self.table.file(fd, needed, Errno::NotSeekable)?.file;
        let mut slices = [IoSlice::new(&[]); GATHER];
        let length = match memory.gather(list, count, &mut slices)? {
            0 => 0,
            filled => retry_on_intr(|| rustix::io::pwritev(file, &slices[..filled], offset))?,
        };
        memory.write_u32(result, u32::try_from(length).map_err(|_| Errno::Overflow)?)
    }

    pub(super) fn fd_seek(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: i64,
        whence: u32,
        result: u32,
    ) -> Result<(), Errno> {
        memory.check(result, 8)?;
        let file = self.table.file(fd, 0, Errno::NotSeekable)?;
        let position = match whence {
            0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Invalid)?),
            1 => SeekFrom::Current(offset),
            2 => SeekFrom::End(offset),
            _ => return Err(Errno::Invalid),
        };
        // Asking where the offset is takes less than moving it.
        if position != SeekFrom::Current(0) {
            self.table.get(fd)?.require(right::FD_SEEK)?;
        } else if self.table.get(fd)?.rights.base & (right::FD_SEEK | right::FD_TELL) == 0 {
            return Err(Errno::NotCapable);
        }
        let position = match position {
            SeekFrom::Start(offset) => rustix::fs::SeekFrom::Start(offset),
            SeekFrom::Current(offset) => rustix::fs::SeekFrom::Current(offset),
            SeekFrom::End(offset) => rustix::fs::SeekFrom::End(offset),
        };
        memory.write_u64(result, rustix::fs::seek(&file.file, position)?)
    }

    pub(super) fn fd_tell(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        self.fd_seek(memory, fd, 0, 1, result)
    }

    pub(super) fn fd_advise(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        length: u64,
        advice: u32,
    ) -> Result<(), Errno> {
        let advice = match advice {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            5 => Advice::NoReuse,
            _ => return Err(Errno::Invalid),
        };
        let file = self.table.file(fd, right::FD_ADVISE, Errno::NotSeekable)?;
        Ok(rustix::fs::fadvise(&file.file, offset, NonZeroU64::new(length), advice)?)
    }

    pub(super) fn fd_allocate(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        length: u64,
    ) -> Result<(), Errno> {
        let file = &self.table.file(fd, right::FD_ALLOCATE, Errno::NotSeekable)?.file;
        let none = FallocateFlags::empty();
        Ok(retry_on_intr(|| rustix::fs::fallocate(file, none, offset, length))?)
    }

    pub(super) fn fd_close(&mut self, _memory: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
        self.table.close(fd)
    }

    pub(super) fn fd_renumber(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        from: u32,
        to: u32,
    ) -> Result<(), Errno> {
        self.table.renumber(from, to)
    }

    pub(super) fn fd_datasync(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
    ) -> Result<(), Errno> {
        self.synchronise(fd, right::FD_DATASYNC, |host| rustix::fs::fdatasync(host))
    }

    pub(super) fn fd_sync(&mut self, _memory: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
        self.synchronise(fd, right::FD_SYNC, |host| rustix::fs::fsync(host))
    }

    fn synchronise(
        &self,
        fd: u32,
        needed: u64,
        sync: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<()>,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.require(needed)?;
        match &descriptor.node {
            Node::File(file) => Ok(sync(file.file.as_fd())?),
            Node::Directory(directory) => Ok(sync(directory.dir.as_fd())?),
            // Streams hold nothing back.
            Node::Stream(_) => Ok(()),
        }
    }

    pub(super) fn fd_fdstat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        let mut record = [0; 24];
        record[0] = match &descriptor.node {
            Node::Stream(name) => self.stdio.file_type(*name),
            Node::File(file) => file.file_type,
            Node::Directory(_) => FileType::Directory,
        } as u8;
        record[2..4].copy_from_slice(&descriptor.flags.to_le_bytes());
        record[8..16].copy_from_slice(&descriptor.rights.base.to_le_bytes());
        record[16..24].copy_from_slice(&descriptor.rights.inheriting.to_le_bytes());
        memory.write(result, &record)
    }

    pub(super) fn fd_fdstat_set_flags(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
    ) -> Result<(), Errno> {
        let flags = checked_flags(flags, fdflags::ALL)?;
        let descriptor = self.table.get_mut(fd)?;
        descriptor.require(right::FD_FDSTAT_SET_FLAGS)?;
        let changed = descriptor.flags ^ flags;
        if changed & (fdflags::DSYNC | fdflags::SYNC | fdflags::RSYNC) != 0 {
            // The host cannot change these on an open file.
            return Err(Errno::NotSupported);
        }
        if let Node::File(OpenFile { file, .. }) = &descriptor.node {
            let mut host = rustix::fs::fcntl_getfl(file)?;
            host.set(OFlags::APPEND, flags & fdflags::APPEND != 0);
            host.set(OFlags::NONBLOCK, flags & fdflags::NONBLOCK != 0);
            rustix::fs::fcntl_setfl(file, host)?;
        }
        // The host's standard streams are shared with others and stay as they are.
        descriptor.flags = flags;
        Ok(())
    }

    pub(super) fn fd_fdstat_set_rights(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        base: u64,
        inheriting: u64,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get_mut(fd)?;
        let rights = Rights { base, inheriting };
        if !rights.are_within(descriptor.rights) {
            return Err(Errno::NotCapable);
        }
        descriptor.rights = rights;
        Ok(())
    }

    pub(super) fn fd_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.table.get(fd)?;
        descriptor.require(right::FD_FILESTAT_GET)?;
        let stat = match &descriptor.node {
            Node::Stream(name) => FileStat::of_stream(self.stdio.file_type(*name)),
            Node::File(file) => FileStat::from(&file.file.metadata()?),
            Node::Directory(directory) => FileStat::from(&directory.dir.dir_metadata()?),
        };
        stat.write(memory, result)
    }

    pub(super) fn fd_filestat_set_size(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        size: u64,
    ) -> Result<(), Errno> {
        let file = &self.table.file(fd, right::FD_FILESTAT_SET_SIZE, Errno::Invalid)?.file;
        Ok(retry_on_intr(|| rustix::fs::ftruncate(file, size))?)
    }

    pub(super) fn fd_filestat_set_times(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let [accessed, modified] = new_times(accessed, modified, flags)?;
        let times = Timestamps {
            last_access: accessed.as_timespec(),
            last_modification: modified.as_timespec(),
        };
        let descriptor = self.table.get(fd)?;
        descriptor.require(right::FD_FILESTAT_SET_TIMES)?;
        match &descriptor.node {
            Node::File(file) => Ok(rustix::fs::futimens(&file.file, &times)?),
            Node::Directory(directory) => Ok(rustix::fs::futimens(&directory.dir, &times)?),
            Node::Stream(_) => Err(Errno::Invalid),
        }
    }
}

/// What to do with one of a file's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewTime {
    Keep,
    Now,
    /// Nanoseconds since 1970.
    At(u64),
}

impl NewTime {
    fn as_timespec(self) -> rustix::fs::Timespec {
        let special = |tv_nsec| rustix::fs::Timespec { tv_sec: 0, tv_nsec };
        match self {
            Self::Keep => special(rustix::fs::UTIME_OMIT),
            Self::Now => special(rustix::fs::UTIME_NOW),
            Self::At(time) => rustix::fs::Timespec {
                tv_sec: i64::try_from(time / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: (time % 1_000_000_000).try_into().unwrap_or(0),
            },
        }
    }
}

/// The new access and modification time that a call asks for.
pub(super) fn new_times(accessed: u64, modified: u64, flags: u32) -> Result<[NewTime; 2], Errno> {
    let flags = checked_flags(flags, fstflags::ALL)?;
    let choose = |time, set: u16, now: u16| match (flags & set != 0, flags & now != 0) {
        (false, false) => Ok(NewTime::Keep),
        (true, false) => Ok(NewTime::At(time)),
        (false, true) => Ok(NewTime::Now),
        (true, true) => Err(Errno::Invalid),
    };
    Ok([
        choose(accessed, fstflags::ATIM, fstflags::ATIM_NOW)?,
        choose(modified, fstflags::MTIM, fstflags::MTIM_NOW)?,
    ])
}

/// `raw` as flags, of which only those in `known` exist.
pub(super) fn checked_flags(raw: u32, known: u16) -> Result<u16, Errno> {
    match u16::try_from(raw) {
        Ok(flags) if flags & !known == 0 => Ok(flags),
        _ => Err(Errno::Invalid),
    }
}

/// Fills the buffers of a list one after the other until `read` comes back with less than it could
/// take. `read` also learns how many bytes were read before.
fn read_buffers(
    memory: &mut GuestMemory<'_>,
    list: u32,
    count: u32,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Result<u32, Errno> {
    let mut done = 0;
    for index in 0..count {
        let buffer = memory.buffer(list, index)?;
        let bytes = memory.fill(buffer)?;
        if bytes.is_empty() {
            continue;
        }
        match read(bytes, done) {
            Ok(length) => {
                let full = length == bytes.len();
                done += length as u64;
                if !full {
                    break;
                }
            }
            // What was read counts; the error comes again with the next call.
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    u32::try_from(done).map_err(|_| Errno::Overflow)
}

/// Fills the first buffer of a list that is not empty: a second read might wait.
fn read_first_buffer(
    memory: &mut GuestMemory<'_>,
    list: u32,
    count: u32,
    read: impl FnOnce(&mut [u8]) -> Result<usize, Errno>,
) -> Result<u32, Errno> {
    for index in 0..count {
        let buffer = memory.buffer(list, index)?;
        if !buffer.is_empty() {
            let length = read(memory.fill(buffer)?)?;
            return u32::try_from(length).map_err(|_| Errno::Overflow);
        }
    }
    Ok(0)
}
