//! The numbers of WASI preview 1 that the tests use.

pub(crate) const AGAIN: u32 = 6;
pub(crate) const BADF: u32 = 8;
pub(crate) const EXIST: u32 = 20;
pub(crate) const FAULT: u32 = 21;
pub(crate) const ILSEQ: u32 = 25;
pub(crate) const INVAL: u32 = 28;
pub(crate) const ISDIR: u32 = 31;
pub(crate) const LOOP: u32 = 32;
pub(crate) const NAMETOOLONG: u32 = 37;
pub(crate) const NOENT: u32 = 44;
pub(crate) const NOTDIR: u32 = 54;
pub(crate) const NOTEMPTY: u32 = 55;
pub(crate) const NOTSOCK: u32 = 57;
pub(crate) const NOTSUP: u32 = 58;
pub(crate) const PERM: u32 = 63;
pub(crate) const SPIPE: u32 = 70;
pub(crate) const NOTCAPABLE: u32 = 76;

pub(crate) const FD_READ: u64 = 1 << 1;
pub(crate) const FD_SEEK: u64 = 1 << 2;
pub(crate) const FD_WRITE: u64 = 1 << 6;
pub(crate) const FILESTAT_SET_SIZE: u64 = 1 << 22;
pub(crate) const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
/// Every right.
pub(crate) const ALL: u64 = (1 << 30) - 1;
/// What a directory can carry.
pub(crate) const DIRECTORY: u64 = ALL & !(0b11 << 28) & !0x4001e6;

pub(crate) const CREATE: u32 = 1;
pub(crate) const O_DIRECTORY: u32 = 2;
pub(crate) const EXCLUSIVE: u32 = 4;
pub(crate) const TRUNCATE: u32 = 8;
pub(crate) const APPEND: u32 = 1;
pub(crate) const NONBLOCK: u32 = 4;
pub(crate) const SYNC: u32 = 16;

/// The preopened directory.
pub(crate) const ROOT: u32 = 3;
/// Where results go.
pub(crate) const RESULT: u32 = 8;
