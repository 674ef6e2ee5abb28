//! The vocabulary of WASI preview 1: error numbers, flags, rights and the layouts of its records.
//!
//! Everything here is fixed by the interface; nothing depends on this implementation's state.

use std::io;

use cap_std::fs::{Metadata, MetadataExt};

use super::memory::GuestMemory;

/// Declares [`Errno`] together with its mapping from the host's error numbers.
macro_rules! errnos {
    ($($name:ident = $value:literal $(from $($host:ident)|+)?,)*) => {
        /// An error number of WASI preview 1.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub(super) enum Errno {
            $($name = $value,)*
        }

        impl From<rustix::io::Errno> for Errno {
            fn from(errno: rustix::io::Errno) -> Self {
                match errno {
                    $($($(rustix::io::Errno::$host)|+ => Self::$name,)?)*
                    _ => Self::Io,
                }
            }
        }
    };
}

errnos! {
    TooBig = 1 from TOOBIG,
    Access = 2 from ACCESS,
    Again = 6 from AGAIN,
    BadFd = 8 from BADF,
    Busy = 10 from BUSY,
    Deadlock = 16 from DEADLK,
    Quota = 19 from DQUOT,
    Exist = 20 from EXIST,
    Fault = 21 from FAULT,
    FileTooBig = 22 from FBIG,
    IllegalSequence = 25 from ILSEQ,
    Interrupted = 27 from INTR,
    Invalid = 28 from INVAL,
    Io = 29,
    IsDirectory = 31 from ISDIR,
    Loop = 32 from LOOP,
    TooManyFiles = 33 from MFILE,
    TooManyLinks = 34 from MLINK,
    NameTooLong = 37 from NAMETOOLONG,
    TooManyFilesInSystem = 41 from NFILE,
    NoDevice = 43 from NODEV,
    NotFound = 44 from NOENT,
    NoLock = 46 from NOLCK,
    NoMemory = 48 from NOMEM,
    NoSpace = 51 from NOSPC,
    NotImplemented = 52 from NOSYS,
    NotDirectory = 54 from NOTDIR,
    NotEmpty = 55 from NOTEMPTY,
    NotSocket = 57 from NOTSOCK,
    NotSupported = 58 from OPNOTSUPP,
    NotTerminal = 59 from NOTTY,
    NoSuchDevice = 60 from NXIO,
    Overflow = 61 from OVERFLOW,
    NotPermitted = 63 from PERM,
    Pipe = 64 from PIPE,
    Range = 68 from RANGE,
    ReadOnly = 69 from ROFS,
    NotSeekable = 70 from SPIPE,
    Stale = 72 from STALE,
    TextBusy = 74 from TXTBSY,
    CrossDevice = 75 from XDEV,
    NotCapable = 76,
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WASI error {}: {self:?}", *self as u16)
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        if let Some(errno) = rustix::io::Errno::from_io_error(&error) {
            return errno.into();
        }
        match error.kind() {
            // The sandbox reports a path that leads out of its directory without an OS error.
            io::ErrorKind::PermissionDenied => Self::NotPermitted,
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::Exist,
            io::ErrorKind::InvalidInput => Self::Invalid,
            io::ErrorKind::WouldBlock => Self::Again,
            io::ErrorKind::Interrupted => Self::Interrupted,
            io::ErrorKind::BrokenPipe => Self::Pipe,
            io::ErrorKind::Unsupported => Self::NotSupported,
            _ => Self::Io,
        }
    }
}

/// What a descriptor or a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    Unknown = 0,
    BlockDevice = 1,
    CharacterDevice = 2,
    Directory = 3,
    RegularFile = 4,
    SocketStream = 6,
    SymbolicLink = 7,
}

impl From<rustix::fs::FileType> for FileType {
    fn from(file_type: rustix::fs::FileType) -> Self {
        match file_type {
            rustix::fs::FileType::RegularFile => Self::RegularFile,
            rustix::fs::FileType::Directory => Self::Directory,
            rustix::fs::FileType::Symlink => Self::SymbolicLink,
            rustix::fs::FileType::BlockDevice => Self::BlockDevice,
            rustix::fs::FileType::CharacterDevice => Self::CharacterDevice,
            rustix::fs::FileType::Socket => Self::SocketStream,
            // Preview 1 has no number for a pipe.
            rustix::fs::FileType::Fifo | rustix::fs::FileType::Unknown => Self::Unknown,
        }
    }
}

impl FileType {
    /// The type with number `raw`, [`FileType::Unknown`] if there is none.
    pub(super) fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::BlockDevice,
            2 => Self::CharacterDevice,
            3 => Self::Directory,
            4 => Self::RegularFile,
            6 => Self::SocketStream,
            7 => Self::SymbolicLink,
            _ => Self::Unknown,
        }
    }
}

/// What a `filestat` record says.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileStat {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) file_type: FileType,
    links: u64,
    pub(super) size: u64,
    /// Last access, modification and status change, in nanoseconds since 1970.
    times: [u64; 3],
}

impl FileStat {
    /// Time of the last modification, in nanoseconds since 1970.
    pub(super) fn modified(&self) -> u64 {
        self.times[1]
    }

    /// All that is known of a stream.
    pub(super) fn of_stream(file_type: FileType) -> Self {
        Self {
            device: 0,
            inode: 0,
            file_type,
            links: 0,
            size: 0,
            times: [0; 3],
        }
    }

    /// Writes the record (64 bytes) at `pointer`.
    pub(super) fn write(self, memory: &mut GuestMemory<'_>, pointer: u32) -> Result<(), Errno> {
        let mut record = [0; 64];
        record[16] = self.file_type as u8;
        let [accessed, modified, changed] = self.times;
        let numbers = [
            (0, self.device),
            (8, self.inode),
            (24, self.links),
            (32, self.size),
            (40, accessed),
            (48, modified),
            (56, changed),
        ];
        for (offset, number) in numbers {
            record[offset..offset + 8].copy_from_slice(&number.to_le_bytes());
        }
        memory.write(pointer, &record)
    }
}

impl From<&Metadata> for FileStat {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            file_type: rustix::fs::FileType::from_raw_mode(metadata.mode()).into(),
            links: metadata.nlink(),
            size: metadata.len(),
            times: [
                nanoseconds(metadata.atime(), metadata.atime_nsec()),
                nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
                nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            ],
        }
    }
}

/// A time before 1970 has no representation and becomes 0.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> u64 {
    let time = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    u64::try_from(time.max(0)).unwrap_or(u64::MAX)
}

/// Bits of `fdflags`.
pub(super) mod fdflags {
    pub(in super::super) const APPEND: u16 = 1;
    pub(in super::super) const DSYNC: u16 = 2;
    pub(in super::super) const NONBLOCK: u16 = 4;
    pub(in super::super) const RSYNC: u16 = 8;
    pub(in super::super) const SYNC: u16 = 16;
    pub(in super::super) const ALL: u16 = 31;
}

/// Bits of `oflags`.
pub(super) mod oflags {
    pub(in super::super) const CREATE: u16 = 1;
    pub(in super::super) const DIRECTORY: u16 = 2;
    pub(in super::super) const EXCLUSIVE: u16 = 4;
    pub(in super::super) const TRUNCATE: u16 = 8;
    pub(in super::super) const ALL: u16 = 15;
}

/// Bit of `lookupflags`: symbolic links at the end of the path are followed.
pub(super) const SYMLINK_FOLLOW: u32 = 1;

/// Bits of `fstflags`.
pub(super) mod fstflags {
    pub(in super::super) const ATIM: u16 = 1;
    pub(in super::super) const ATIM_NOW: u16 = 2;
    pub(in super::super) const MTIM: u16 = 4;
    pub(in super::super) const MTIM_NOW: u16 = 8;
    pub(in super::super) const ALL: u16 = 15;
}

/// Bits of `rights`.
pub(super) mod right {
    pub(in super::super) const FD_DATASYNC: u64 = 1;
    pub(in super::super) const FD_READ: u64 = 1 << 1;
    pub(in super::super) const FD_SEEK: u64 = 1 << 2;
    pub(in super::super) const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    pub(in super::super) const FD_SYNC: u64 = 1 << 4;
    pub(in super::super) const FD_TELL: u64 = 1 << 5;
    pub(in super::super) const FD_WRITE: u64 = 1 << 6;
    pub(in super::super) const FD_ADVISE: u64 = 1 << 7;
    pub(in super::super) const FD_ALLOCATE: u64 = 1 << 8;
    pub(in super::super) const PATH_CREATE_DIRECTORY: u64 = 1 << 9;
    pub(in super::super) const PATH_CREATE_FILE: u64 = 1 << 10;
    pub(in super::super) const PATH_LINK_SOURCE: u64 = 1 << 11;
    pub(in super::super) const PATH_LINK_TARGET: u64 = 1 << 12;
    pub(in super::super) const PATH_OPEN: u64 = 1 << 13;
    pub(in super::super) const FD_READDIR: u64 = 1 << 14;
    pub(in super::super) const PATH_READLINK: u64 = 1 << 15;
    pub(in super::super) const PATH_RENAME_SOURCE: u64 = 1 << 16;
    pub(in super::super) const PATH_RENAME_TARGET: u64 = 1 << 17;
    pub(in super::super) const PATH_FILESTAT_GET: u64 = 1 << 18;
    pub(in super::super) const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
    pub(in super::super) const PATH_FILESTAT_SET_TIMES: u64 = 1 << 20;
    pub(in super::super) const FD_FILESTAT_GET: u64 = 1 << 21;
    pub(in super::super) const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;
    pub(in super::super) const FD_FILESTAT_SET_TIMES: u64 = 1 << 23;
    pub(in super::super) const PATH_SYMLINK: u64 = 1 << 24;
    pub(in super::super) const PATH_REMOVE_DIRECTORY: u64 = 1 << 25;
    pub(in super::super) const PATH_UNLINK_FILE: u64 = 1 << 26;
    pub(in super::super) const POLL_FD_READWRITE: u64 = 1 << 27;

    /// Every right there is, those of sockets too.
    pub(in super::super) const ALL: u64 = (1 << 30) - 1;
    /// What can be done with a stream that is read.
    pub(in super::super) const INPUT: u64 =
        FD_READ | FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;
    /// What can be done with a stream that is written.
    pub(in super::super) const OUTPUT: u64 = FD_WRITE
        | FD_DATASYNC
        | FD_SYNC
        | FD_FDSTAT_SET_FLAGS
        | FD_FILESTAT_GET
        | POLL_FD_READWRITE;
    /// What can be done with a file.
    pub(in super::super) const FILE: u64 = INPUT
        | OUTPUT
        | FD_SEEK
        | FD_TELL
        | FD_ADVISE
        | FD_ALLOCATE
        | FD_FILESTAT_SET_SIZE
        | FD_FILESTAT_SET_TIMES;
    /// What can be done with a directory.
    pub(in super::super) const DIRECTORY: u64 = FD_DATASYNC
        | FD_SYNC
        | FD_FDSTAT_SET_FLAGS
        | FD_FILESTAT_GET
        | FD_FILESTAT_SET_TIMES
        | FD_READDIR
        | PATH_CREATE_DIRECTORY
        | PATH_CREATE_FILE
        | PATH_LINK_SOURCE
        | PATH_LINK_TARGET
        | PATH_OPEN
        | PATH_READLINK
        | PATH_RENAME_SOURCE
        | PATH_RENAME_TARGET
        | PATH_FILESTAT_GET
        | PATH_FILESTAT_SET_SIZE
        | PATH_FILESTAT_SET_TIMES
        | PATH_SYMLINK
        | PATH_REMOVE_DIRECTORY
        | PATH_UNLINK_FILE
        | POLL_FD_READWRITE;
}
