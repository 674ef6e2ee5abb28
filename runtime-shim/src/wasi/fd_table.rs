//! The guest's descriptors: which number stands for what, and what may be done with it.
//!
//! The table is ours, not the host's: a guest's descriptor keeps its number when the guest moves, and
//! every open file remembers where below which preopened directory it lies, so that it can be opened
//! again elsewhere.

use std::sync::Arc;

use cap_std::fs::{Dir, File};

use super::dirs::Listing;
use super::stdio::StreamName;
use super::types::{Errno, FileType, right};

/// Largest descriptor number that the table hands out or restores.
pub(super) const LARGEST_FD: u32 = 65_535;

/// All open descriptors of a guest.
#[derive(Debug, Default)]
pub(super) struct FdTable {
    slots: Vec<Option<Descriptor>>,
}

/// One open descriptor.
#[derive(Debug)]
pub(super) struct Descriptor {
    pub(super) rights: Rights,
    /// The `fdflags` that the guest set.
    pub(super) flags: u16,
    pub(super) node: Node,
}

/// What may be done with a descriptor, and with those opened through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) base: u64,
    pub(super) inheriting: u64,
}

/// What a descriptor stands for.
#[derive(Debug)]
pub(super) enum Node {
    Stream(StreamName),
    File(OpenFile),
    Directory(OpenDirectory),
}

/// An open file, or anything else with a path that is no directory.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) file_type: FileType,
    pub(super) place: Place,
    pub(super) access: Access,
}

/// How the host opened a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: bool,
}

/// An open directory.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub(super) dir: Arc<Dir>,
    pub(super) place: Place,
    /// Is this the descriptor through which the guest got to know the preopened directory?
    pub(super) is_preopen: bool,
    /// The entries as they were when the guest began to read them.
    pub(super) listing: Option<Listing>,
}

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of the preopened directory.
    pub(super) preopen: u32,
    /// Path below it; empty for the directory itself.
    pub(super) path: String,
    /// Was a symbolic link at the end of the path followed?
    pub(super) follow: bool,
}

impl FdTable {
    pub(super) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.slots
            .get(fd as usize)
            .and_then(Option::as_ref)
            .ok_or(Errno::BadFd)
    }

    pub(super) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.slots
            .get_mut(fd as usize)
            .and_then(Option::as_mut)
            .ok_or(Errno::BadFd)
    }

    /// Gives `descriptor` the lowest number that is free.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let free = self
            .slots
            .iter()
            .position(Option::is_none)
            .unwrap_or(self.slots.len());
        let fd = u32::try_from(free).map_err(|_| Errno::TooManyFiles)?;
        if self.insert_at(fd, descriptor) {
            Ok(fd)
        } else {
            Err(Errno::TooManyFiles)
        }
    }

    /// Gives `descriptor` the number `fd`; answers whether that number exists and was free.
    pub(super) fn insert_at(&mut self, fd: u32, descriptor: Descriptor) -> bool {
        if fd > LARGEST_FD {
            return false;
        }
        let index = fd as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        let is_free = self.slots[index].is_none();
        if is_free {
            self.slots[index] = Some(descriptor);
        }
        is_free
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), Errno> {
        self.take(fd).map(drop)
    }

    /// Moves `from` to the number `to`, closing what `to` was. Both must be open.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            self.slots[to as usize] = Some(self.take(from)?);
        }
        Ok(())
    }

    /// All open descriptors, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(fd, slot)| Some((fd, slot.as_ref()?)))
    }

    /// All open descriptors.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Descriptor> {
        self.slots.iter_mut().flatten()
    }

    fn take(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.slots
            .get_mut(fd as usize)
            .and_then(Option::take)
            .ok_or(Errno::BadFd)
    }

    /// The directory `fd`, if it carries all of the rights `needed`.
    pub(super) fn directory(&self, fd: u32, needed: u64) -> Result<&OpenDirectory, Errno> {
        let descriptor = self.get(fd)?;
        match &descriptor.node {
            Node::Directory(directory) => {
                descriptor.require(needed)?;
                Ok(directory)
            }
            Node::File(_) | Node::Stream(_) => Err(Errno::NotDirectory),
        }
    }

    /// The file `fd`, if it carries all of the rights `needed`. `stream` is the error for a stream; a directory
    /// is a bad descriptor where a file is needed.
    pub(super) fn file(&self, fd: u32, needed: u64, stream: Errno) -> Result<&OpenFile, Errno> {
        let descriptor = self.get(fd)?;
        match &descriptor.node {
            Node::File(file) => {
                descriptor.require(needed)?;
                Ok(file)
            }
            Node::Directory(_) => Err(Errno::BadFd),
            Node::Stream(_) => Err(stream),
        }
    }
}

impl Descriptor {
    /// A standard stream.
    pub(super) fn stream(name: StreamName) -> Self {
        let base = match name {
            StreamName::Stdin => right::INPUT,
            StreamName::Stdout | StreamName::Stderr => right::OUTPUT,
        };
        Self {
            rights: Rights {
                base,
                inheriting: 0,
            },
            flags: 0,
            node: Node::Stream(name),
        }
    }

    /// A preopened directory.
    pub(super) fn preopen(index: u32, dir: Arc<Dir>) -> Self {
        let place = Place {
            preopen: index,
            path: String::new(),
            follow: true,
        };
        Self {
            rights: Rights {
                base: right::DIRECTORY,
                inheriting: right::ALL,
            },
            flags: 0,
            node: Node::Directory(OpenDirectory {
                dir,
                place,
                is_preopen: true,
                listing: None,
            }),
        }
    }

    /// Fails unless the descriptor carries all of the rights `needed`. One that cannot be read or written is a
    /// bad descriptor for that, as in POSIX, whose programs look for this error.
    pub(super) fn require(&self, needed: u64) -> Result<(), Errno> {
        let lacking = needed & !self.rights.base;
        if lacking == 0 {
            Ok(())
        } else if lacking & (right::FD_READ | right::FD_WRITE) != 0 {
            Err(Errno::BadFd)
        } else {
            Err(Errno::NotCapable)
        }
    }
}

impl Rights {
    /// Are these rights no more than `others`?
    pub(super) fn are_within(self, others: Self) -> bool {
        self.base & !others.base == 0 && self.inheriting & !others.inheriting == 0
    }
}

impl Place {
    /// The place of `path`, opened through the directory at this place. A symbolic link may stand
    /// before a `..`, so only what is certainly without effect is left out.
    pub(super) fn join(&self, path: &str, follow: bool) -> Self {
        let mut joined = self.path.clone();
        for component in path
            .split('/')
            .filter(|component| !matches!(*component, "" | "."))
        {
            if !joined.is_empty() {
                joined.push('/');
            }
            joined.push_str(component);
        }
        Self {
            preopen: self.preopen,
            path: joined,
            follow,
        }
    }

    /// Follows a rename: if this place is `old` or lies below it, it is now at or below `new`.
    pub(super) fn relocate(&mut self, old: &Self, new: &Self) {
        if self.preopen != old.preopen {
            return;
        }
        let Some(rest) = self.path.strip_prefix(&old.path) else {
            return;
        };
        if rest.is_empty() || rest.starts_with('/') {
            self.path = format!("{}{rest}", new.path);
            self.preopen = new.preopen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Descriptor, Errno, FdTable, Place, StreamName};

    fn place(path: &str) -> Place {
        Place {
            preopen: 0,
            path: path.to_owned(),
            follow: false,
        }
    }

    #[test]
    fn numbers_are_the_lowest_free_ones_and_bounded() {
        let mut table = FdTable::default();
        let stream = || Descriptor::stream(StreamName::Stdin);
        for fd in 0..4 {
            assert_eq!(table.insert(stream()), Ok(fd));
        }
        assert_eq!(table.close(1), Ok(()));
        assert_eq!(table.close(1), Err(Errno::BadFd));
        assert_eq!(table.insert(stream()), Ok(1));
        assert_eq!(table.renumber(3, 0), Ok(()));
        assert_eq!(table.renumber(0, 3), Err(Errno::BadFd));
        assert_eq!(table.renumber(0, 0), Ok(()));
        assert!(!table.insert_at(u32::MAX, stream()));
    }

    #[test]
    fn places_are_joined_and_follow_renames() {
        assert_eq!(
            place("a/b").join("./c//d/../e/", false),
            place("a/b/c/d/../e")
        );
        let mut moved = place("a/b/c");
        moved.relocate(&place("a/b"), &place("x"));
        assert_eq!(moved, place("x/c"));
        moved.relocate(&place("x/"), &place("y"));
        assert_eq!(moved, place("x/c"));
    }
}
