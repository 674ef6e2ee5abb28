//! What open descriptors are: their flags, rights, sizes and times, and what the host is told about
//! them.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Advice, FallocateFlags, OFlags, Timestamps};
use rustix::io::retry_on_intr;

use super::WasiCtx;
use super::fd_table::{Node, OpenFile, Rights};
use super::memory::GuestMemory;
use super::types::{Errno, FileStat, FileType, fdflags, fstflags, right};

impl WasiCtx {
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
        Ok(rustix::fs::fadvise(
            &file.file,
            offset,
            NonZeroU64::new(length),
            advice,
        )?)
    }

    pub(super) fn fd_allocate(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        length: u64,
    ) -> Result<(), Errno> {
        let file = &self
            .table
            .file(fd, right::FD_ALLOCATE, Errno::NotSeekable)?
            .file;
        let none = FallocateFlags::empty();
        Ok(retry_on_intr(|| {
            rustix::fs::fallocate(file, none, offset, length)
        })?)
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
        let file = &self
            .table
            .file(fd, right::FD_FILESTAT_SET_SIZE, Errno::Invalid)?
            .file;
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
