//! Descriptors once they are open: reading, writing, seeking, closing.
//!
//! Data go straight between the guest's memory and the host's file; nothing is allocated on the way.
//! A file's offset is the host's, so host and guest cannot disagree about it.

use std::io::{IoSlice, SeekFrom};
use std::os::fd::AsFd;

use rustix::io::retry_on_intr;

use super::WasiCtx;
use super::fd_table::{Node, OpenFile};
use super::memory::{GATHER, GuestMemory};
use super::poll::{Progress, wait_readable, write_waiting};
use super::stdio::{self, StreamName};
use super::types::{Errno, FileType, fdflags, right};
use crate::controller::Controller;

impl WasiCtx {
    /// May reading from or writing to `fd` wait for someone else?
    pub(super) fn may_block(&self, fd: u32) -> bool {
        self.table
            .get(fd)
            .is_ok_and(|descriptor| match &descriptor.node {
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
        memory.check_buffers(list, count)?;
        let may_wait = descriptor.flags & fdflags::NONBLOCK == 0;
        let length = match &descriptor.node {
            Node::File(file) if file.file_type == FileType::RegularFile => {
                read_buffers(memory, list, count, |bytes, _| {
                    stdio::read(&file.file, bytes)
                })?
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
        if matches!(self.table.get(fd)?.node, Node::Directory(_)) {
            return Err(Errno::IsDirectory);
        }
        let needed = right::FD_READ | right::FD_SEEK;
        let file = &self.table.file(fd, needed, Errno::NotSeekable)?.file;
        memory.check_buffers(list, count)?;
        let length = read_buffers(memory, list, count, |bytes, done| {
            let offset = offset.checked_add(done).ok_or(Errno::Invalid)?;
            Ok(retry_on_intr(|| {
                rustix::io::pread(file, &mut *bytes, offset)
            })?)
        })?;
        memory.write_u32(result, length)
    }

    /// Writes; a wait for room ends early if `watch` asks for a stop, before anything is written.
    pub(super) fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        (fd, list, count, result): (u32, u32, u32, u32),
        watch: Option<&Controller>,
    ) -> Result<Progress, Errno> {
        memory.check(result, 4)?;
        let descriptor = self.table.get(fd)?;
        descriptor.require(right::FD_WRITE)?;
        memory.check_buffers(list, count)?;
        let mut slices = [IoSlice::new(&[]); GATHER];
        let filled = memory.gather(list, count, &mut slices)?;
        let slices = &slices[..filled];
        let may_wait = descriptor.flags & fdflags::NONBLOCK == 0;
        let waiting = |host| write_waiting(host, slices, may_wait, watch);
        let length = match &descriptor.node {
            _ if slices.is_empty() => Some(0),
            Node::File(OpenFile {
                file,
                file_type: FileType::RegularFile,
                ..
            }) => Some(stdio::write(file, slices)?),
            Node::File(OpenFile { file, .. }) => waiting(file.as_fd())?,
            Node::Stream(StreamName::Stdin) => return Err(Errno::BadFd),
            Node::Stream(name) => match self.stdio.host(*name) {
                Some(host) => waiting(host)?,
                None => Some(self.stdio.write(*name, slices)?),
            },
            Node::Directory(_) => return Err(Errno::BadFd),
        };
        match length {
            None => Ok(Progress::Stopped),
            Some(length) => {
                memory.write_u32(result, u32::try_from(length).map_err(|_| Errno::Overflow)?)?;
                Ok(Progress::Done)
            }
        }
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
        memory.check_buffers(list, count)?;
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
        if buffer.is_empty() {
            continue;
        }
        let bytes = memory.fill(buffer)?;
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
