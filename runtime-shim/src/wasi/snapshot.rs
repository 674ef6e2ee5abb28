//! Recording everything about a guest.
//!
//! The record names files by where they lie below the directories that the guest was given; the
//! resuming side maps those names to directories of its own. A file that has no name any more goes along
//! with its contents; one that someone renamed is looked for. What cannot move is an error that lists
//! everything that cannot.

use std::fmt;

use cap_std::fs::{Metadata, MetadataExt};

use super::clocks::Readings;
use super::contents::{Packer, hash_of, readable};
use super::dirs::Entry;
use super::fd_table::{Access, Node, OpenDirectory, OpenFile, Place};
use super::find::find;
use super::poll::SuspendedPoll;
use super::shipped;
use super::stdio::StreamName;
use super::types::{FileStat, FileType};
use super::wire::{
    SavedAccess, SavedClocks, SavedDescriptor, SavedEntry, SavedNode, SavedPlace, SavedPoll,
    SavedShipped, SavedWasi, ShippedKind,
};
use super::{CheckFiles, ShipFiles, WasiCtx};

/// Files of the guest that cannot move. The guest can go on where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the guest has files that cannot be moved:{}", List(problems))]
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
    /// The snapshot carries more than is accepted.
    #[error(
        "the snapshot carries files of {bytes} bytes, more than the {bytes_max} that are accepted: \
         raise the limit if you trust it"
    )]
    TooMuchShipped {
        /// Bytes that it carries.
        bytes: u64,
        /// Bytes that are accepted.
        bytes_max: u64,
    },
    /// A file that the snapshot carries could not be put into its directory.
    #[error("the shipped file {path:?} could not be written: {reason}")]
    Write {
        /// Its path below the mapped directory.
        path: String,
        /// What the host says.
        reason: String,
    },
    /// The guest's files are not as they were.
    #[error("the guest's files are not as they were:{}", List(problems))]
    Descriptors {
        /// One for each of them.
        problems: Vec<DescriptorProblem>,
    },
}

/// A descriptor or file that cannot move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorProblem {
    /// The guest's number for it; none for a file that is shipped and not open.
    pub fd: Option<u32>,
    /// The guest's path of it.
    pub path: String,
    /// What is wrong.
    pub fault: DescriptorFault,
}

/// What is wrong with a descriptor or file that cannot move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorFault {
    /// The file cannot be found under its path.
    #[error("it cannot be opened ({0}): put it there before resuming")]
    Unreachable(String),
    /// It is a directory that lies outside of the mapped directories by now.
    #[error("it was moved out of the mapped directories: it has no path by which to find it again")]
    MovedAway,
    /// It is a pipe with data in it.
    #[error("it is a pipe with {0} bytes that nobody has read, which cannot be moved")]
    InTransit(u64),
    /// It is a socket or something unknown.
    #[error("it is neither file, directory, device nor named pipe, and cannot be moved")]
    NotMovable,
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
    /// It was written to.
    #[error(
        "it was modified after the guest was stopped (time of modification {found} ns, recorded \
         {recorded} ns): put the unchanged file there before resuming"
    )]
    TimeChanged {
        /// Nanoseconds since 1970 when the guest was stopped.
        recorded: u64,
        /// Nanoseconds since 1970 now.
        found: u64,
    },
    /// It has other contents.
    #[error("its contents are not what they were: put the unchanged file there before resuming")]
    ContentsChanged,
    /// The snapshot does not say what its contents were.
    #[error(
        "the snapshot has no digest of its contents: take it under the same check, or use another"
    )]
    NotHashed,
    /// A file that the snapshot carries is there with other contents.
    #[error(
        "the snapshot carries it, but there is another file at its place: it is not overwritten"
    )]
    InTheWay,
    /// It makes the snapshot carry too much.
    #[error(
        "with it, the snapshot would carry more than {bytes_max} bytes of files: raise the limit"
    )]
    TooLarge {
        /// The limit.
        bytes_max: u64,
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
        match self.fd {
            Some(fd) => write!(f, "descriptor {fd} ({}): {}", self.path, self.fault),
            None => write!(f, "{}: {}", self.path, self.fault),
        }
    }
}

impl WasiCtx {
    /// Records everything about the guest.
    ///
    /// # Errors
    /// The guest has files open that could not be found again.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let mut recorder = Recorder {
            wasi: self,
            packer: Packer::new(self.files.ship_bytes_max),
            shipped: Vec::new(),
            problems: Vec::new(),
        };
        let descriptors = recorder.descriptors();
        if self.files.ship == ShipFiles::Dirs {
            shipped::collect(
                &self.preopens,
                &mut recorder.packer,
                &mut recorder.shipped,
                &mut recorder.problems,
            );
        }
        let Recorder {
            packer,
            mut shipped,
            problems,
            ..
        } = recorder;
        if !problems.is_empty() {
            return Err(SnapshotError { problems });
        }
        // A directory comes before what lies in it, and a file that is open twice goes along once.
        shipped
            .sort_by(|left, right| (left.preopen, &left.path).cmp(&(right.preopen, &right.path)));
        shipped.dedup_by(|left, right| (left.preopen, &left.path) == (right.preopen, &right.path));
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
            stdin: self.stdio.input_position(),
            preopens: self
                .preopens
                .iter()
                .map(|preopen| preopen.name.clone())
                .collect(),
            descriptors,
            shipped,
            contents: packer.finish(),
        };
        Ok(saved.encode())
    }
}

/// A record in the making.
struct Recorder<'w> {
    wasi: &'w WasiCtx,
    packer: Packer,
    shipped: Vec<SavedShipped>,
    problems: Vec<DescriptorProblem>,
}

impl<'w> Recorder<'w> {
    fn descriptors(&mut self) -> Vec<SavedDescriptor> {
        let mut descriptors = Vec::new();
        for (fd, descriptor) in self.wasi.table.iter() {
            match self.node(&descriptor.node) {
                Ok(node) => descriptors.push(SavedDescriptor {
                    fd,
                    rights_base: descriptor.rights.base,
                    rights_inheriting: descriptor.rights.inheriting,
                    flags: descriptor.flags,
                    node,
                }),
                Err((place, fault)) => {
                    let preopen = &self.wasi.preopens[place.preopen as usize];
                    self.problems.push(DescriptorProblem {
                        fd: Some(fd),
                        path: guest_path(&preopen.name, &place.path),
                        fault,
                    });
                }
            }
        }
        descriptors
    }

    fn node(&mut self, node: &'w Node) -> Result<SavedNode, (&'w Place, DescriptorFault)> {
        match node {
            Node::Stream(StreamName::Stdin) => Ok(SavedNode::Stdin),
            Node::Stream(StreamName::Stdout) => Ok(SavedNode::Stdout),
            Node::Stream(StreamName::Stderr) => Ok(SavedNode::Stderr),
            Node::File(file) => self.file(file).map_err(|fault| (&file.place, fault)),
            Node::Directory(directory) => self
                .directory(directory)
                .map_err(|fault| (&directory.place, fault)),
        }
    }

    fn file(&mut self, file: &OpenFile) -> Result<SavedNode, DescriptorFault> {
        let metadata = file.file.metadata().map_err(unreachable)?;
        let stat = FileStat::from(&metadata);
        let place = self.place_now(&file.place, &metadata)?;
        let access = save_access(file.access);
        match rustix::fs::FileType::from_raw_mode(metadata.mode()) {
            rustix::fs::FileType::RegularFile => self.regular_file(file, place, &metadata),
            rustix::fs::FileType::Fifo => {
                let waiting = rustix::io::ioctl_fionread(&file.file).map_err(unreachable)?;
                let place = place.ok_or(DescriptorFault::NotMovable)?;
                match waiting {
                    0 => Ok(SavedNode::Pipe { place, access }),
                    bytes => Err(DescriptorFault::InTransit(bytes)),
                }
            }
            _ => match stat.file_type {
                FileType::BlockDevice | FileType::CharacterDevice => Ok(SavedNode::Device {
                    place: place.ok_or(DescriptorFault::NotMovable)?,
                    access,
                    file_type: stat.file_type as u8,
                }),
                _ => Err(DescriptorFault::NotMovable),
            },
        }
    }

    fn regular_file(
        &mut self,
        file: &OpenFile,
        place: Option<SavedPlace>,
        metadata: &Metadata,
    ) -> Result<SavedNode, DescriptorFault> {
        let stat = FileStat::from(metadata);
        let policy = self.wasi.files;
        let read = || readable(&file.file, file.access).map_err(unreachable);
        let unnamed = match &place {
            None => Some(self.packer.add(read()?, &stat)?),
            Some(place) if policy.ship == ShipFiles::Open => {
                let content = self.packer.add(read()?, &stat)?;
                self.shipped.push(SavedShipped {
                    preopen: place.preopen,
                    path: place.path.clone(),
                    kind: ShippedKind::File {
                        content,
                        mode: metadata.mode() & 0o777,
                        modified: stat.modified(),
                    },
                });
                None
            }
            Some(_) => None,
        };
        let hash = match policy.check {
            CheckFiles::Hash if unnamed.is_none() => Some(hash_of(read()?).map_err(unreachable)?),
            CheckFiles::Hash | CheckFiles::Size | CheckFiles::Modified => None,
        };
        Ok(SavedNode::File {
            place: place.unwrap_or_else(|| save_place(&file.place)),
            access: save_access(file.access),
            offset: rustix::fs::tell(&file.file).map_err(unreachable)?,
            size: stat.size,
            modified: stat.modified(),
            hash,
            unnamed,
        })
    }

    fn directory(&self, directory: &OpenDirectory) -> Result<SavedNode, DescriptorFault> {
        let place = match directory.place.path.as_str() {
            "" => Some(save_place(&directory.place)),
            _ => {
                let metadata = directory.dir.dir_metadata().map_err(unreachable)?;
                let place = self.place_now(&directory.place, &metadata)?;
                if place.is_none() && metadata.nlink() != 0 {
                    return Err(DescriptorFault::MovedAway);
                }
                place
            }
        };
        let entries = directory.listing.as_ref().map(|listing| &listing.entries);
        let save = |entry: &Entry| SavedEntry {
            name: entry.name.clone(),
            inode: entry.inode,
            file_type: entry.file_type as u8,
        };
        Ok(SavedNode::Directory {
            is_removed: place.is_none(),
            place: place.unwrap_or_else(|| save_place(&directory.place)),
            is_preopen: directory.is_preopen,
            listing: entries.map(|entries| entries.iter().map(save).collect()),
        })
    }

    /// Where the file that was opened at `place` lies now; `None` if it has no name in the mapped
    /// directories any more.
    fn place_now(
        &self,
        place: &Place,
        metadata: &Metadata,
    ) -> Result<Option<SavedPlace>, DescriptorFault> {
        let preopens = &self.wasi.preopens;
        let preopen = &preopens[place.preopen as usize];
        let not_mapped = || DescriptorFault::NotMapped(preopen.name.clone());
        let dir = preopen.dir.as_ref().ok_or_else(not_mapped)?;
        let is_it =
            |there: &Metadata| (there.dev(), there.ino()) == (metadata.dev(), metadata.ino());
        if !dir.metadata(&place.path).is_ok_and(|there| is_it(&there)) {
            return Ok(match metadata.nlink() {
                0 => None,
                _ => find(preopens, &FileStat::from(metadata))
                    .as_ref()
                    .map(save_place),
            });
        }
        if self.wasi.files.ship == ShipFiles::Unnamed {
            return Ok(Some(save_place(place)));
        }
        // What is shipped is named without the links that may lead to it.
        let path = dir.canonicalize(&place.path).map_err(unreachable)?;
        let path = path.into_os_string().into_string();
        Ok(Some(SavedPlace {
            preopen: place.preopen,
            path: path.map_err(|_| DescriptorFault::NotMovable)?,
            follow: false,
        }))
    }
}

fn save_place(place: &Place) -> SavedPlace {
    SavedPlace {
        preopen: place.preopen,
        path: place.path.clone(),
        follow: place.follow,
    }
}

fn save_access(Access { read, write }: Access) -> SavedAccess {
    SavedAccess { read, write }
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
