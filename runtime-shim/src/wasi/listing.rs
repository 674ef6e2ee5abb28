//! A recorded guest as people and programs read it.

use serde::Serialize;

use super::WasiCtx;
use super::snapshot::{RestoreError, guest_path};
use super::types::{FileType, fdflags, right};
use super::wire::{SavedAccess, SavedDescriptor, SavedNode, SavedPlace, SavedWasi, ShippedKind};

/// What a record of a [`WasiCtx`] holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedWasi {
    /// The guest's arguments.
    pub args: Vec<String>,
    /// Its environment, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// The guest's monotonic clock when it was stopped, in nanoseconds.
    pub monotonic_clock_ns: u64,
    /// The source's wall clock when it was stopped, in nanoseconds since 1970.
    pub wall_clock_ns: u64,
    /// Was the guest waiting in `poll_oneoff`?
    pub is_waiting: bool,
    /// Where standard input stood, if it was a file.
    pub stdin_offset: Option<u64>,
    /// The guest's names of its preopened directories.
    pub preopens: Vec<String>,
    /// Open descriptors, in the order of their numbers.
    pub descriptors: Vec<ListedDescriptor>,
    /// How many files, directories and links go into the mapped directories.
    pub shipped_files: usize,
    /// Bytes of all contents that go along.
    pub shipped_bytes: u64,
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedDescriptor {
    /// Its number.
    pub fd: u32,
    /// `stdin`, `stdout`, `stderr`, `file`, `removed file`, `device`, `pipe`, `preopen`, `directory` or
    /// `removed directory`.
    pub kind: &'static str,
    /// The guest's path of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How the host opened it: `r`, `w` or `rw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<&'static str>,
    /// Its offset, if it is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Its size, if it is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How many entries of the directory the guest was given to choose from, if it was reading it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// Do its contents go along?
    pub is_shipped: bool,
    /// Flags that are set.
    pub flags: Vec<&'static str>,
    /// Names of its rights.
    pub rights: Vec<&'static str>,
    /// Names of the rights of what is opened through it.
    pub inheriting: Vec<&'static str>,
}

impl WasiCtx {
    /// What a record made by [`WasiCtx::snapshot`] holds. Needs no files and changes nothing.
    ///
    /// # Errors
    /// The bytes make no record of this version.
    pub fn list(bytes: &[u8]) -> Result<ListedWasi, RestoreError> {
        let saved = SavedWasi::decode(bytes)?;
        let describe = |descriptor| list_descriptor(descriptor, &saved);
        Ok(ListedWasi {
            args: saved.args.clone(),
            env: saved
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            monotonic_clock_ns: saved.clocks.monotonic,
            wall_clock_ns: saved.clocks.realtime,
            is_waiting: saved.suspended_poll.is_some(),
            stdin_offset: saved.stdin.map(|position| position.offset),
            preopens: saved.preopens.clone(),
            descriptors: saved.descriptors.iter().map(describe).collect(),
            shipped_files: saved.shipped.len(),
            shipped_bytes: saved
                .contents
                .iter()
                .fold(0, |all, content| all.saturating_add(content.size)),
        })
    }
}

fn list_descriptor(descriptor: &SavedDescriptor, saved: &SavedWasi) -> ListedDescriptor {
    let mut listed = ListedDescriptor {
        fd: descriptor.fd,
        kind: "",
        path: None,
        access: None,
        offset: None,
        size: None,
        entries: None,
        is_shipped: false,
        flags: names(descriptor.flags.into(), &FLAGS),
        rights: names(descriptor.rights_base, &RIGHTS),
        inheriting: names(descriptor.rights_inheriting, &RIGHTS),
    };
    let place = match &descriptor.node {
        SavedNode::Stdin => {
            return ListedDescriptor {
                kind: "stdin",
                ..listed
            };
        }
        SavedNode::Stdout => {
            return ListedDescriptor {
                kind: "stdout",
                ..listed
            };
        }
        SavedNode::Stderr => {
            return ListedDescriptor {
                kind: "stderr",
                ..listed
            };
        }
        SavedNode::File {
            place,
            access,
            offset,
            size,
            unnamed,
            ..
        } => {
            listed.kind = match unnamed {
                Some(_) => "removed file",
                None => "file",
            };
            listed.access = Some(access_name(*access));
            listed.offset = Some(*offset);
            listed.size = Some(*size);
            listed.is_shipped = unnamed.is_some() || is_shipped(place, saved);
            place
        }
        SavedNode::Device {
            place,
            access,
            file_type,
        } => {
            listed.kind = match FileType::from_raw(*file_type) {
                FileType::BlockDevice => "block device",
                _ => "device",
            };
            listed.access = Some(access_name(*access));
            place
        }
        SavedNode::Pipe { place, access } => {
            listed.kind = "pipe";
            listed.access = Some(access_name(*access));
            place
        }
        SavedNode::Directory {
            place,
            is_preopen,
            is_removed,
            listing,
        } => {
            listed.kind = match (is_preopen, is_removed) {
                (true, _) => "preopen",
                (false, true) => "removed directory",
                (false, false) => "directory",
            };
            listed.entries = listing.as_ref().map(Vec::len);
            place
        }
    };
    let preopen = saved.preopens.get(place.preopen as usize);
    let directory = preopen.map_or("?", String::as_str);
    listed.path = Some(guest_path(directory, &place.path));
    listed
}

fn is_shipped(place: &SavedPlace, saved: &SavedWasi) -> bool {
    saved.shipped.iter().any(|shipped| {
        (shipped.preopen, &shipped.path) == (place.preopen, &place.path)
            && matches!(shipped.kind, ShippedKind::File { .. })
    })
}

fn access_name(access: SavedAccess) -> &'static str {
    match (access.read, access.write) {
        (true, true) => "rw",
        (false, true) => "w",
        _ => "r",
    }
}

fn names(bits: u64, known: &[(u64, &'static str)]) -> Vec<&'static str> {
    known
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

const FLAGS: [(u64, &str); 5] = [
    (fdflags::APPEND as u64, "append"),
    (fdflags::DSYNC as u64, "dsync"),
    (fdflags::NONBLOCK as u64, "nonblock"),
    (fdflags::RSYNC as u64, "rsync"),
    (fdflags::SYNC as u64, "sync"),
];

const RIGHTS: [(u64, &str); 30] = [
    (right::FD_DATASYNC, "fd_datasync"),
    (right::FD_READ, "fd_read"),
    (right::FD_SEEK, "fd_seek"),
    (right::FD_FDSTAT_SET_FLAGS, "fd_fdstat_set_flags"),
    (right::FD_SYNC, "fd_sync"),
    (right::FD_TELL, "fd_tell"),
    (right::FD_WRITE, "fd_write"),
    (right::FD_ADVISE, "fd_advise"),
    (right::FD_ALLOCATE, "fd_allocate"),
    (right::PATH_CREATE_DIRECTORY, "path_create_directory"),
    (right::PATH_CREATE_FILE, "path_create_file"),
    (right::PATH_LINK_SOURCE, "path_link_source"),
    (right::PATH_LINK_TARGET, "path_link_target"),
    (right::PATH_OPEN, "path_open"),
    (right::FD_READDIR, "fd_readdir"),
    (right::PATH_READLINK, "path_readlink"),
    (right::PATH_RENAME_SOURCE, "path_rename_source"),
    (right::PATH_RENAME_TARGET, "path_rename_target"),
    (right::PATH_FILESTAT_GET, "path_filestat_get"),
    (right::PATH_FILESTAT_SET_SIZE, "path_filestat_set_size"),
    (right::PATH_FILESTAT_SET_TIMES, "path_filestat_set_times"),
    (right::FD_FILESTAT_GET, "fd_filestat_get"),
    (right::FD_FILESTAT_SET_SIZE, "fd_filestat_set_size"),
    (right::FD_FILESTAT_SET_TIMES, "fd_filestat_set_times"),
    (right::PATH_SYMLINK, "path_symlink"),
    (right::PATH_REMOVE_DIRECTORY, "path_remove_directory"),
    (right::PATH_UNLINK_FILE, "path_unlink_file"),
    (right::POLL_FD_READWRITE, "poll_fd_readwrite"),
    (1 << 28, "sock_shutdown"),
    (1 << 29, "sock_accept"),
];
