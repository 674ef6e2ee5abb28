//! Files by path: opening them, asking and changing what they are, linking, renaming, removing.
//!
//! Paths are resolved by `cap-std`, so that neither `..` nor a symbolic link leads out of the directory
//! through which the guest named them. A path that tries is `EPERM`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cap_fs_ext::{
    DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsMaybeDirExt, OpenOptionsSyncExt,
    SystemTimeSpec,
};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;

use super::WasiCtx;
use super::attributes::{NewTime, checked_flags, new_times};
use super::fd_table::{Access, Descriptor, Node, OpenDirectory, OpenFile, Place, Rights};
use super::memory::GuestMemory;
use super::types::{Errno, FileStat, FileType, SYMLINK_FOLLOW, fdflags, oflags, right};

/// How a path is to be opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) access: Access,
    /// Bits of `oflags`.
    pub(super) create: u16,
    /// Bits of `fdflags`.
    pub(super) flags: u16,
    pub(super) follow: bool,
}

impl Opening {
    /// Opens `path` below `dir`, which lies at `parent`.
    pub(super) fn open(self, dir: &Dir, parent: &Place, path: &str) -> Result<Node, Errno> {
        let has = |bit| self.create & bit != 0;
        let flag = |bit| self.flags & bit != 0;
        let mut options = OpenOptions::new();
        options
            .read(self.access.read)
            // The host creates and truncates only what it opens for writing.
            .write(self.access.write || has(oflags::CREATE | oflags::TRUNCATE))
            .create(has(oflags::CREATE) && !has(oflags::EXCLUSIVE))
            .create_new(has(oflags::CREATE) && has(oflags::EXCLUSIVE))
            .truncate(has(oflags::TRUNCATE))
            .follow(if self.follow {
                FollowSymlinks::Yes
            } else {
                FollowSymlinks::No
            })
            .maybe_dir(true)
            .sync(flag(fdflags::SYNC))
            .dsync(flag(fdflags::DSYNC))
            .rsync(flag(fdflags::RSYNC))
            // To open a named pipe for reading does not wait for its writer; reading does.
            .nonblock(flag(fdflags::NONBLOCK) || !self.access.write);
        let mut more = OFlags::empty();
        // `append` would refuse to truncate as well.
        more.set(OFlags::APPEND, self.access.write && flag(fdflags::APPEND));
        // The host must know: it would truncate a file before we see that it is no directory.
        more.set(OFlags::DIRECTORY, has(oflags::DIRECTORY));
        options.custom_flags(more.bits().cast_signed());
        let file = dir.open_with(path, &options)?;
        let file_type = FileStat::from(&file.metadata()?).file_type;
        if !self.access.write && !flag(fdflags::NONBLOCK) {
            let host = rustix::fs::fcntl_getfl(&file)?;
            rustix::fs::fcntl_setfl(&file, host - OFlags::NONBLOCK)?;
        }
        let place = parent.join(path, self.follow);
        if file_type == FileType::Directory {
            let dir = Arc::new(Dir::from_std_file(file.into_std()));
            let directory = OpenDirectory {
                dir,
                place,
                is_preopen: false,
                listing: None,
            };
            return Ok(Node::Directory(directory));
        }
        if has(oflags::DIRECTORY) {
            return Err(Errno::NotDirectory);
        }
        Ok(Node::File(OpenFile {
            file,
            file_type,
            place,
            access: self.access,
        }))
    }
}

/// How the host must open a file for these rights.
fn access_for(rights: u64) -> Access {
    let write = rights & (right::FD_WRITE | right::FD_ALLOCATE | right::FD_FILESTAT_SET_SIZE) != 0;
    Access {
        read: !write || rights & (right::FD_READ | right::FD_READDIR) != 0,
        write,
    }
}

/// Fails if `path` ends with a slash and leads to something that is no directory. The sandbox takes slashes off
/// in some places, without asking.
fn check_slash(dir: &Dir, path: &str) -> Result<(), Errno> {
    if path.ends_with('/') && !dir.metadata(path)?.is_dir() {
        return Err(Errno::NotDirectory);
    }
    Ok(())
}

fn follows(lookup: u32) -> Result<bool, Errno> {
    match lookup {
        0 => Ok(false),
        SYMLINK_FOLLOW => Ok(true),
        _ => Err(Errno::Invalid),
    }
}

impl WasiCtx {
    #[expect(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        lookup: u32,
        path: u32,
        path_length: u32,
        create: u32,
        base: u64,
        inheriting: u64,
        flags: u32,
        result: u32,
    ) -> Result<(), Errno> {
        memory.check(result, 4)?;
        let create = checked_flags(create, oflags::ALL)?;
        let flags = checked_flags(flags, fdflags::ALL)?;
        let mut needed = right::PATH_OPEN;
        if create & oflags::CREATE != 0 {
            if create & oflags::DIRECTORY != 0 {
                return Err(Errno::Invalid);
            }
            needed |= right::PATH_CREATE_FILE;
        }
        let parent = self.table.directory(fd, needed)?;
        let parent_rights = self.table.get(fd)?.rights;
        let may_truncate = parent_rights.base & right::PATH_FILESTAT_SET_SIZE != 0;
        if create & oflags::TRUNCATE != 0 && !may_truncate {
            return Err(Errno::NotPermitted);
        }
        let rights = Rights {
            base: base & right::ALL,
            inheriting: inheriting & right::ALL,
        };
        if !rights.are_within(Rights {
            base: parent_rights.inheriting,
            inheriting: parent_rights.inheriting,
        }) {
            return Err(Errno::NotCapable);
        }
        let access = access_for(rights.base);
        let opening = Opening {
            access,
            create,
            flags,
            follow: follows(lookup)?,
        };
        let node = opening.open(&parent.dir, &parent.place, memory.text(path, path_length)?)?;
        let applicable = match &node {
            Node::Directory(_) => right::DIRECTORY,
            Node::File(_) | Node::Stream(_) => right::FILE,
        };
        let rights = Rights {
            base: rights.base & applicable,
            ..rights
        };
        let opened = self.table.insert(Descriptor {
            rights,
            flags,
            node,
        })?;
        memory.write_u32(result, opened)
    }

    pub(super) fn path_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        lookup: u32,
        path: u32,
        path_length: u32,
        result: u32,
    ) -> Result<(), Errno> {
        let dir = &self.table.directory(fd, right::PATH_FILESTAT_GET)?.dir;
        let path = memory.text(path, path_length)?;
        let metadata = if follows(lookup)? || path.ends_with('/') {
            dir.metadata(path)?
        } else {
            dir.symlink_metadata(path)?
        };
        if path.ends_with('/') && !metadata.is_dir() {
            return Err(Errno::NotDirectory);
        }
        FileStat::from(&metadata).write(memory, result)
    }

    #[expect(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        lookup: u32,
        path: u32,
        path_length: u32,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let dir = &self
            .table
            .directory(fd, right::PATH_FILESTAT_SET_TIMES)?
            .dir;
        let [accessed, modified] = new_times(accessed, modified, flags)?.map(time_spec);
        let path = memory.text(path, path_length)?;
        check_slash(dir, path)?;
        if follows(lookup)? {
            Ok(dir.set_times(path, accessed, modified)?)
        } else {
            Ok(dir.set_symlink_times(path, accessed, modified)?)
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_fd: u32,
        lookup: u32,
        old_path: u32,
        old_length: u32,
        new_fd: u32,
        new_path: u32,
        new_length: u32,
    ) -> Result<(), Errno> {
        let old = self.table.directory(old_fd, right::PATH_LINK_SOURCE)?;
        let new = self.table.directory(new_fd, right::PATH_LINK_TARGET)?;
        if follows(lookup)? {
            return Err(Errno::Invalid);
        }
        let old_path = memory.text(old_path, old_length)?;
        Ok(old
            .dir
            .hard_link(old_path, &new.dir, memory.text(new_path, new_length)?)?)
    }

    #[expect(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_fd: u32,
        old_path: u32,
        old_length: u32,
        new_fd: u32,
        new_path: u32,
        new_length: u32,
    ) -> Result<(), Errno> {
        let old = self.table.directory(old_fd, right::PATH_RENAME_SOURCE)?;
        let new = self.table.directory(new_fd, right::PATH_RENAME_TARGET)?;
        let old_path = memory.text(old_path, old_length)?;
        let new_path = memory.text(new_path, new_length)?;
        check_slash(&old.dir, old_path)?;
        if new_path.ends_with('/') && !old.dir.symlink_metadata(old_path)?.is_dir() {
            return Err(Errno::NotDirectory);
        }
        old.dir.rename(old_path, &new.dir, new_path)?;
        let (old, new) = (
            old.place.join(old_path, false),
            new.place.join(new_path, false),
        );
        for descriptor in self.table.iter_mut() {
            match &mut descriptor.node {
                Node::File(file) => file.place.relocate(&old, &new),
                Node::Directory(directory) => directory.place.relocate(&old, &new),
                Node::Stream(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        old_path: u32,
        old_length: u32,
        fd: u32,
        new_path: u32,
        new_length: u32,
    ) -> Result<(), Errno> {
        let directory = self.table.directory(fd, right::PATH_SYMLINK)?;
        let old_path = memory.text(old_path, old_length)?;
        Ok(DirExt::symlink(
            &*directory.dir,
            old_path,
            memory.text(new_path, new_length)?,
        )?)
    }

    #[expect(clippy::too_many_arguments, reason = "the interface has them")]
    pub(super) fn path_readlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_length: u32,
        pointer: u32,
        length: u32,
        result: u32,
    ) -> Result<(), Errno> {
        memory.check(result, 4)?;
        let directory = self.table.directory(fd, right::PATH_READLINK)?;
        let target = directory.dir.read_link(memory.text(path, path_length)?)?;
        let target = target.into_os_string().into_encoded_bytes();
        let length = target.len().min(length as usize);
        memory.write(pointer, &target[..length])?;
        memory.write_u32(result, u32::try_from(length).map_err(|_| Errno::Overflow)?)
    }

    pub(super) fn path_unlink_file(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        path_length: u32,
    ) -> Result<(), Errno> {
        let directory = self.table.directory(fd, right::PATH_UNLINK_FILE)?;
        Ok(directory
            .dir
            .remove_file_or_symlink(memory.text(path, path_length)?)?)
    }
}

fn time_spec(time: NewTime) -> Option<SystemTimeSpec> {
    match time {
        NewTime::Keep => None,
        NewTime::Now => Some(SystemTimeSpec::SymbolicNow),
        NewTime::At(nanoseconds) => {
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
            Some(SystemTimeSpec::Absolute(
                cap_std::time::SystemTime::from_std(time),
            ))
        }
    }
}
