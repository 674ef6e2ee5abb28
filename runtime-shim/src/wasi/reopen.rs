//! Opening again what a guest had open: by its name below a mapped directory, or, if it has none any more,
//! from the contents that went along.
//!
//! Names come from outside: they are resolved by `cap-std` like a guest's own, so that none leads out of the
//! directory that the user mapped. Whatever lies there is opened without waiting for it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, MetadataExt as _};
use rustix::fs::OFlags;

use super::contents::{Contents, hash_of, path_of, readable, unpack};
use super::dirs::{self, Listing};
use super::fd_table::{Access, Node, OpenDirectory, OpenFile, Place};
use super::paths::Opening;
use super::snapshot::{DescriptorFault, RestoreError, unreachable};
use super::stdio::StreamName;
use super::types::{FileStat, FileType, fdflags};
use super::wire::{SavedAccess, SavedContent, SavedEntry, SavedNode, SavedPlace};
use super::{ChangedFiles, CheckFiles, FilePolicy, Preopen};

/// Opens what descriptors stood for.
pub(super) struct Opener<'c> {
    preopens: &'c [Preopen],
    contents: &'c Contents,
    policy: FilePolicy,
    /// Files without a name that are open already, by the index of their contents.
    unnamed: BTreeMap<u32, std::fs::File>,
}

/// What is known of a regular file.
struct Known {
    size: u64,
    modified: u64,
    hash: Option<[u8; 32]>,
}

/// An answer, or a fault of the descriptor; the outer error is one of the record.
type Opened = Result<Result<Node, DescriptorFault>, RestoreError>;

impl<'c> Opener<'c> {
    pub(super) fn new(preopens: &'c [Preopen], contents: &'c Contents, policy: FilePolicy) -> Self {
        Self {
            preopens,
            contents,
            policy,
            unnamed: BTreeMap::new(),
        }
    }

    /// From now on, files are those that the snapshot carried, and were compared by their contents.
    pub(super) fn trust_files(&mut self) {
        self.policy.changed = ChangedFiles::Keep;
    }

    pub(super) fn open(&mut self, flags: u16, node: SavedNode) -> Opened {
        Ok(match node {
            SavedNode::Stdin => Ok(Node::Stream(StreamName::Stdin)),
            SavedNode::Stdout => Ok(Node::Stream(StreamName::Stdout)),
            SavedNode::Stderr => Ok(Node::Stream(StreamName::Stderr)),
            SavedNode::File {
                place,
                access,
                offset,
                modified,
                unnamed: Some(content),
                ..
            } => {
                let content = (content, self.contents.get(content)?);
                let file = self.unnamed(content, modified);
                file.and_then(|file| unnamed_file(file, &place, load_access(access), flags, offset))
            }
            SavedNode::File {
                place,
                access,
                offset,
                size,
                modified,
                hash,
                unnamed: None,
            } => {
                let known = Known {
                    size,
                    modified,
                    hash,
                };
                self.file(&place, load_access(access), flags, offset, &known)
            }
            SavedNode::Device {
                place,
                access,
                file_type,
            } => self
                .reopen(&place, load_access(access), flags)
                .and_then(|node| expect_type(node, FileType::from_raw(file_type))),
            SavedNode::Pipe { place, access } => self
                .reopen(&place, load_access(access), flags)
                .and_then(expect_pipe),
            SavedNode::Directory {
                place,
                is_preopen,
                is_removed,
                listing,
            } => self.directory(&place, is_removed, flags).map(|directory| {
                let listing = listing.map(|entries| Listing {
                    entries: entries.into_iter().map(load_entry).collect(),
                });
                Node::Directory(OpenDirectory {
                    is_preopen,
                    listing,
                    ..directory
                })
            }),
        })
    }

    fn file(
        &self,
        place: &SavedPlace,
        access: Access,
        flags: u16,
        offset: u64,
        known: &Known,
    ) -> Result<Node, DescriptorFault> {
        let node = expect_type(self.reopen(place, access, flags)?, FileType::RegularFile)?;
        let Node::File(open) = &node else {
            return Err(DescriptorFault::OtherKind);
        };
        if self.policy.changed != ChangedFiles::Keep {
            check_unchanged(open, known, self.policy.check)?;
        }
        seek(&open.file, offset)?;
        Ok(node)
    }

    /// A file without a name, as it was left.
    fn unnamed(
        &mut self,
        (index, content): (u32, &SavedContent),
        modified: u64,
    ) -> Result<&std::fs::File, DescriptorFault> {
        match self.unnamed.entry(index) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(slot) => {
                let mut file = tempfile::tempfile().map_err(unreachable)?;
                unpack(content, &mut file).map_err(unreachable)?;
                file.flush().map_err(unreachable)?;
                let modified = SystemTime::UNIX_EPOCH + Duration::from_nanos(modified);
                file.set_modified(modified).map_err(unreachable)?;
                Ok(slot.insert(file))
            }
        }
    }

    fn directory(
        &self,
        place: &SavedPlace,
        is_removed: bool,
        flags: u16,
    ) -> Result<OpenDirectory, DescriptorFault> {
        if is_removed {
            let directory = tempfile::tempdir().map_err(unreachable)?;
            let dir = Dir::open_ambient_dir(directory.path(), ambient_authority());
            // The directory goes as its name goes, and stays open.
            return Ok(OpenDirectory {
                dir: Arc::new(dir.map_err(unreachable)?),
                place: load_place(place),
                is_preopen: false,
                listing: None,
            });
        }
        let access = Access {
            read: true,
            write: false,
        };
        match self.reopen(place, access, flags)? {
            Node::Directory(directory) => Ok(directory),
            Node::File(_) | Node::Stream(_) => Err(DescriptorFault::OtherKind),
        }
    }

    /// Opens again what lies at `place`, without waiting for it.
    fn reopen(
        &self,
        place: &SavedPlace,
        access: Access,
        flags: u16,
    ) -> Result<Node, DescriptorFault> {
        let preopen = &self.preopens[place.preopen as usize];
        let dir = preopen.dir.as_ref();
        let dir = dir.ok_or_else(|| DescriptorFault::NotMapped(preopen.name.clone()))?;
        let top = Place {
            preopen: place.preopen,
            path: String::new(),
            follow: true,
        };
        if place.path.is_empty() {
            return Ok(Node::Directory(OpenDirectory {
                dir: Arc::clone(dir),
                place: top,
                is_preopen: false,
                listing: None,
            }));
        }
        let opening = Opening {
            access,
            create: 0,
            flags: flags | fdflags::NONBLOCK,
            follow: place.follow,
        };
        let node = opening
            .open(dir, &top, &place.path)
            .map_err(|errno| DescriptorFault::Unreachable(errno.to_string()))?;
        if let Node::File(open) = &node
            && flags & fdflags::NONBLOCK == 0
        {
            let host = rustix::fs::fcntl_getfl(&open.file).map_err(unreachable)?;
            rustix::fs::fcntl_setfl(&open.file, host - OFlags::NONBLOCK).map_err(unreachable)?;
        }
        Ok(node)
    }
}

/// A descriptor of a file without a name. Descriptors share the file, but each has an offset of its own.
fn unnamed_file(
    file: &std::fs::File,
    place: &SavedPlace,
    access: Access,
    flags: u16,
    offset: u64,
) -> Result<Node, DescriptorFault> {
    let file = open_again(file, access, flags).map_err(unreachable)?;
    seek(&file, offset)?;
    Ok(Node::File(OpenFile {
        file: File::from_std(file),
        file_type: FileType::RegularFile,
        place: load_place(place),
        access,
    }))
}

fn check_unchanged(
    open: &OpenFile,
    known: &Known,
    check: CheckFiles,
) -> Result<(), DescriptorFault> {
    let stat = FileStat::from(&open.file.metadata().map_err(unreachable)?);
    if stat.size != known.size {
        return Err(DescriptorFault::SizeChanged {
            recorded: known.size,
            found: stat.size,
        });
    }
    match check {
        CheckFiles::Size => Ok(()),
        CheckFiles::Modified if stat.modified() == known.modified => Ok(()),
        CheckFiles::Modified => Err(DescriptorFault::TimeChanged {
            recorded: known.modified,
            found: stat.modified(),
        }),
        CheckFiles::Hash => {
            let recorded = known.hash.ok_or(DescriptorFault::NotHashed)?;
            let file = readable(&open.file, open.access).map_err(unreachable)?;
            if hash_of(file).map_err(unreachable)? == recorded {
                Ok(())
            } else {
                Err(DescriptorFault::ContentsChanged)
            }
        }
    }
}

fn expect_type(node: Node, wanted: FileType) -> Result<Node, DescriptorFault> {
    match &node {
        Node::File(open) if open.file_type == wanted => Ok(node),
        _ => Err(DescriptorFault::OtherKind),
    }
}

fn expect_pipe(node: Node) -> Result<Node, DescriptorFault> {
    if let Node::File(open) = &node {
        let mode = open.file.metadata().map_err(unreachable)?.mode();
        if rustix::fs::FileType::from_raw_mode(mode) == rustix::fs::FileType::Fifo {
            return Ok(node);
        }
    }
    Err(DescriptorFault::OtherKind)
}

/// Opens once more what `file` is, with an offset of its own.
fn open_again(file: impl AsFd, access: Access, flags: u16) -> io::Result<std::fs::File> {
    let has = |flag| flags & flag != 0;
    let mut more = OFlags::empty();
    more.set(OFlags::NONBLOCK, has(fdflags::NONBLOCK));
    more.set(OFlags::DSYNC, has(fdflags::DSYNC));
    more.set(OFlags::SYNC, has(fdflags::SYNC));
    more.set(OFlags::RSYNC, has(fdflags::RSYNC));
    OpenOptions::new()
        .read(access.read)
        .write(access.write)
        .append(access.write && has(fdflags::APPEND))
        .custom_flags(more.bits().cast_signed())
        .open(path_of(file))
}

fn seek(file: impl AsFd, offset: u64) -> Result<(), DescriptorFault> {
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(offset)).map_err(unreachable)?;
    Ok(())
}

/// What is neither read nor written is opened to be read, as when the guest opened it.
fn load_access(SavedAccess { read, write }: SavedAccess) -> Access {
    Access {
        read: read || !write,
        write,
    }
}

fn load_place(place: &SavedPlace) -> Place {
    Place {
        preopen: place.preopen,
        path: place.path.clone(),
        follow: place.follow,
    }
}

fn load_entry(entry: SavedEntry) -> dirs::Entry {
    dirs::Entry {
        name: entry.name,
        inode: entry.inode,
        file_type: FileType::from_raw(entry.file_type),
    }
}
