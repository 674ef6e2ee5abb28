//! Recording everything about a guest.
//!
//! The record names files by where they lie below the directories that the guest was given; the
//! resuming side maps those names to directories of its own. A file that could not be found again by
//! its name is an error; all of them are listed.

use std::fmt;

use super::WasiCtx;
use super::clocks::Readings;
use super::dirs::Entry;
use super::fd_table::{Node, OpenDirectory, OpenFile, Place};
use super::poll::SuspendedPoll;
use super::stdio::StreamName;
use super::types::{FileStat, FileType};
use super::wire::{
    SavedClocks, SavedDescriptor, SavedEntry, SavedNode, SavedPlace, SavedPoll, SavedWasi,
};

/// Descriptors of the guest that cannot move. The guest can go on where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the guest has files open that cannot be moved:{}", List(problems))]
pub struct SnapshotError {
    /// One for each of them.
    pub problems: Vec<DescriptorProblem>,
}

/// Why a recorded guest could not be rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The record is of another version.
    #[error(
        "the recorded WASI state has version {found}, this program reads version {}: resume it with \
         the version that wrote it",
        super::wire::VERSION
    )]
    Version {
        /// The record's version.
        found: u8,
    },
    /// The bytes make no record.
    #[error("the recorded WASI state is damaged: {0}")]
    Malformed(String),
    /// The guest's files are not as they were.
    #[error("the guest's open files cannot be opened again:{}", List(problems))]
    Descriptors {
        /// One for each of them.
        problems: Vec<DescriptorProblem>,
    },
}

/// A descriptor that cannot move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorProblem {
    /// The guest's number for it.
    pub fd: u32,
    /// The guest's path of it.
    pub path: String,
    /// What is wrong.
    pub fault: DescriptorFault,
}

/// What is wrong with a descriptor that cannot move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorFault {
    /// The file cannot be found under its path.
    #[error("it cannot be opened ({0}): put it there before resuming")]
    Unreachable(String),
    /// Another file has taken its place.
    #[error("it was removed or replaced while open: it has no path by which to find it again")]
    Replaced,
    /// It is a pipe or socket.
    #[error("it is a pipe or a socket, whose contents cannot be moved")]
    InTransit,
    /// The directory is not mapped.
    #[error("its directory {0:?} is not mapped: map a directory to that name")]
    NotMapped(String),
    /// It is something else.
    #[error("it is of another kind than it was: put the original file there before resuming")]
    OtherKind,
    /// It has another size.
    #[error(
        "it has {found} bytes and had {recorded} when the guest was stopped: put the unchanged file \
         there before resuming"
    )]
    SizeChanged {
        /// Bytes when the guest was stopped.
        recorded: u64,
        /// Bytes now.
        found: u64,
    },
}

/// Problems, one a line.
struct List<'a>(&'a [DescriptorProblem]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl fmt::Display for DescriptorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {} ({}): {}", self.fd, self.path, self.fault)
    }
}

impl WasiCtx {
    /// Records everything about the guest.
    ///
    /// # Errors
    /// The guest has files open that could not be found again.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let mut problems = Vec::new();
        let mut descriptors = Vec::new();
        for (fd, descriptor) in self.table.iter() {
            match self.save_node(&descriptor.node) {
                Ok(node) => descriptors.push(SavedDescriptor {
                    fd,
                    rights_base: descriptor.rights.base,
                    rights_inheriting: descriptor.rights.inheriting,
                    flags: descriptor.flags,
                    node,
                }),
                Err((place, fault)) => {
                    let path = guest_path(&self.preopens[place.preopen as usize].name, &place.path);
                    problems.push(DescriptorProblem { fd, path, fault });
                }
            }
        }
        if !problems.is_empty() {
            return Err(SnapshotError { problems });
        }
        let Readings {
            realtime,
            monotonic,
            process_cpu,
            thread_cpu,
        } = self.clocks.readings();
        let saved = SavedWasi {
            args: self.args.clone(),
            env: self.env.clone(),
            clocks: SavedClocks {
                realtime,
                monotonic,
                process_cpu,
                thread_cpu,
            },
            suspended_poll: self
                .suspended_poll
                .map(|SuspendedPoll { digest, began }| SavedPoll { digest, began }),
            preopens: self
                .preopens
                .iter()
                .map(|preopen| preopen.name.clone())
                .collect(),
            descriptors,
        };
        Ok(saved.encode())
    }

    fn save_node<'n>(&self, node: &'n Node) -> Result<SavedNode, (&'n Place, DescriptorFault)> {
        match node {
            Node::Stream(StreamName::Stdin) => Ok(SavedNode::Stdin),
            Node::Stream(StreamName::Stdout) => Ok(SavedNode::Stdout),
            Node::Stream(StreamName::Stderr) => Ok(SavedNode::Stderr),
            Node::File(file) => self.save_file(file).map_err(|fault| (&file.place, fault)),
            Node::Directory(directory) => self
                .save_directory(directory)
                .map_err(|fault| (&directory.place, fault)),
        }
    }

    fn save_file(&self, file: &OpenFile) -> Result<SavedNode, DescriptorFault> {
        let stat = FileStat::from(&file.file.metadata().map_err(unreachable)?);
        self.check_place(&file.place, stat)?;
        let (offset, size) = match file.file_type {
            FileType::RegularFile => (
                rustix::fs::tell(&file.file).map_err(unreachable)?,
                stat.size,
            ),
            FileType::BlockDevice | FileType::CharacterDevice => (0, 0),
            _ => return Err(DescriptorFault::InTransit),
        };
        Ok(SavedNode::File {
            place: save_place(&file.place),
            file_type: file.file_type as u8,
            read: file.access.read,
            write: file.access.write,
            offset,
            size,
        })
    }

    fn save_directory(&self, directory: &OpenDirectory) -> Result<SavedNode, DescriptorFault> {
        if !directory.place.path.is_empty() {
            let stat = FileStat::from(&directory.dir.dir_metadata().map_err(unreachable)?);
            self.check_place(&directory.place, stat)?;
        }
        let entries = directory.listing.as_ref().map(|listing| &listing.entries);
        let save = |entry: &Entry| SavedEntry {
            name: entry.name.clone(),
            inode: entry.inode,
            file_type: entry.file_type as u8,
        };
        Ok(SavedNode::Directory {
            place: save_place(&directory.place),
            is_preopen: directory.is_preopen,
            listing: entries.map(|entries| entries.iter().map(save).collect()),
        })
    }

    /// Is what `stat` describes still what lies at `place`?
    fn check_place(&self, place: &Place, stat: FileStat) -> Result<(), DescriptorFault> {
        let preopen = &self.preopens[place.preopen as usize];
        let not_mapped = || DescriptorFault::NotMapped(preopen.name.clone());
        let dir = preopen.dir.as_ref().ok_or_else(not_mapped)?;
        let there = FileStat::from(
            &dir.metadata(&place.path)
                .map_err(|_| DescriptorFault::Replaced)?,
        );
        if (there.device, there.inode) == (stat.device, stat.inode) {
            Ok(())
        } else {
            Err(DescriptorFault::Replaced)
        }
    }
}

fn save_place(place: &Place) -> SavedPlace {
    SavedPlace {
        preopen: place.preopen,
        path: place.path.clone(),
        follow: place.follow,
    }
}

pub(super) fn unreachable(error: impl std::error::Error) -> DescriptorFault {
    DescriptorFault::Unreachable(error.to_string())
}

/// The path by which the guest knows a file.
pub(super) fn guest_path(directory: &str, path: &str) -> String {
    match (directory.trim_end_matches('/'), path) {
        (_, "") => directory.to_owned(),
        (directory, path) => format!("{directory}/{path}"),
    }
}
