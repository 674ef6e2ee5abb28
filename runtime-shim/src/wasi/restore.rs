//! Rebuilding a guest from its record.
//!
//! All or nothing: every descriptor is looked at first, and those that cannot be opened as they were
//! are an error that lists them all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::clocks::{Clocks, Readings};
use super::dirs::{Entry, Listing};
use super::fd_table::{
    Access, Descriptor, FdTable, LARGEST_FD, Node, OpenDirectory, Place, Rights,
};
use super::paths::Opening;
use super::poll::SuspendedPoll;
use super::snapshot::{DescriptorFault, DescriptorProblem, RestoreError, guest_path, unreachable};
use super::stdio::StreamName;
use super::types::{FileType, fdflags, right};
use super::wire::{
    SavedClocks, SavedDescriptor, SavedEntry, SavedNode, SavedPlace, SavedPoll, SavedWasi,
};
use super::{Preopen, WasiBuilder, WasiCtx};

impl WasiCtx {
    /// Rebuilds a guest from its record. Streams and directories are those of `builder`, which must
    /// map every directory that the guest still uses; arguments and environment are the guest's own.
    ///
    /// # Errors
    /// The bytes make no record of this version, or the guest's files are not as they were.
    pub fn restore(builder: WasiBuilder, bytes: &[u8]) -> Result<Self, RestoreError> {
        let SavedWasi {
            args,
            env,
            clocks,
            suspended_poll,
            preopens,
            descriptors,
        } = SavedWasi::decode(bytes)?;
        let mapped: BTreeMap<_, _> = builder
            .preopens
            .into_iter()
            .map(|preopen| (preopen.name, preopen.dir))
            .collect();
        let preopens: Vec<Preopen> = preopens
            .into_iter()
            .map(|name| Preopen {
                dir: mapped.get(&name).cloned().flatten(),
                name,
            })
            .collect();
        let table = load_table(&preopens, descriptors)?;
        let SavedClocks {
            realtime,
            monotonic,
            process_cpu,
            thread_cpu,
        } = clocks;
        Ok(Self {
            args,
            env,
            stdio: builder.stdio,
            preopens,
            table,
            clocks: Clocks::resumed_from(Readings {
                realtime,
                monotonic,
                process_cpu,
                thread_cpu,
            }),
            suspended_poll: suspended_poll
                .map(|SavedPoll { digest, began }| SuspendedPoll { digest, began }),
            prepared: None,
        })
    }
}

fn load_table(
    preopens: &[Preopen],
    descriptors: Vec<SavedDescriptor>,
) -> Result<FdTable, RestoreError> {
    let mut table = FdTable::default();
    let mut problems = Vec::new();
    for SavedDescriptor {
        fd,
        rights_base,
        rights_inheriting,
        flags,
        node,
    } in descriptors
    {
        let malformed = |what: &str| RestoreError::Malformed(format!("descriptor {fd} {what}"));
        if fd > LARGEST_FD {
            return Err(malformed("has too large a number"));
        }
        if flags & !fdflags::ALL != 0 {
            return Err(malformed("has flags that do not exist"));
        }
        let place = match &node {
            SavedNode::Stdin | SavedNode::Stdout | SavedNode::Stderr => None,
            SavedNode::File { place, .. } | SavedNode::Directory { place, .. } => Some(place),
        };
        let preopen = match place {
            Some(place) => {
                let preopen = preopens.get(place.preopen as usize);
                Some(preopen.ok_or_else(|| malformed("lies in a directory that is not there"))?)
            }
            None => None,
        };
        let path = place
            .zip(preopen)
            .map(|(place, in_dir)| guest_path(&in_dir.name, &place.path));
        let rights = Rights {
            base: rights_base & right::ALL,
            inheriting: rights_inheriting & right::ALL,
        };
        match load_node(preopen, flags, node) {
            Ok(node) => {
                if !table.insert_at(
                    fd,
                    Descriptor {
                        rights,
                        flags,
                        node,
                    },
                ) {
                    return Err(malformed("is there twice"));
                }
            }
            Err(fault) => {
                problems.push(DescriptorProblem {
                    fd,
                    path: path.unwrap_or_default(),
                    fault,
                });
            }
        }
    }
    if problems.is_empty() {
        Ok(table)
    } else {
        Err(RestoreError::Descriptors { problems })
    }
}

fn load_node(
    preopen: Option<&Preopen>,
    flags: u16,
    node: SavedNode,
) -> Result<Node, DescriptorFault> {
    match node {
        SavedNode::Stdin => Ok(Node::Stream(StreamName::Stdin)),
        SavedNode::Stdout => Ok(Node::Stream(StreamName::Stdout)),
        SavedNode::Stderr => Ok(Node::Stream(StreamName::Stderr)),
        SavedNode::File {
            place,
            file_type,
            read,
            write,
            offset,
            size,
        } => {
            let access = Access {
                read: read || !write,
                write,
            };
            let Node::File(file) = reopen(preopen, &place, access, flags)? else {
                return Err(DescriptorFault::OtherKind);
            };
            if file.file_type != FileType::from_raw(file_type) {
                return Err(DescriptorFault::OtherKind);
            }
            if file.file_type == FileType::RegularFile {
                let found = file.file.metadata().map_err(unreachable)?.len();
                if found != size {
                    return Err(DescriptorFault::SizeChanged {
                        recorded: size,
                        found,
                    });
                }
                rustix::fs::seek(&file.file, rustix::fs::SeekFrom::Start(offset))
                    .map_err(unreachable)?;
            }
            Ok(Node::File(file))
        }
        SavedNode::Directory {
            place,
            is_preopen,
            listing,
        } => {
            let access = Access {
                read: true,
                write: false,
            };
            let Node::Directory(directory) = reopen(preopen, &place, access, flags)? else {
                return Err(DescriptorFault::OtherKind);
            };
            let load = |entry: SavedEntry| Entry {
                name: entry.name,
                inode: entry.inode,
                file_type: FileType::from_raw(entry.file_type),
            };
            let listing = listing.map(|entries| Listing {
                entries: entries.into_iter().map(load).collect(),
            });
            Ok(Node::Directory(OpenDirectory {
                is_preopen,
                listing,
                ..directory
            }))
        }
    }
}

/// Opens again what lay at `place`.
fn reopen(
    preopen: Option<&Preopen>,
    place: &SavedPlace,
    access: Access,
    flags: u16,
) -> Result<Node, DescriptorFault> {
    let preopen = preopen.expect("whatever has a place lies in a directory");
    let dir = preopen.dir.as_ref();
    let dir = dir.ok_or_else(|| DescriptorFault::NotMapped(preopen.name.clone()))?;
    let top = Place {
        preopen: place.preopen,
        path: String::new(),
        follow: true,
    };
    if place.path.is_empty() {
        let dir = Arc::clone(dir);
        let directory = OpenDirectory {
            dir,
            place: top,
            is_preopen: false,
            listing: None,
        };
        return Ok(Node::Directory(directory));
    }
    let opening = Opening {
        access,
        create: 0,
        flags,
        follow: place.follow,
    };
    opening
        .open(dir, &top, &place.path)
        .map_err(|errno| DescriptorFault::Unreachable(format!("{errno:?}")))
}
