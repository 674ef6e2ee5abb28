//! A guest's descriptors for a module that opens them again by itself, through WASI: what a plain WASI
//! host cannot open as it was is refused.

use super::snapshot::{RestoreError, guest_path};
use super::types::{fdflags, oflags, right};
use super::wire::{SavedDescriptor, SavedNode, SavedPlace, SavedWasi};

/// The descriptors of a guest, and the directories that it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandaloneFiles {
    /// The guest's names of the directories that its host opened to it, in order; the first is descriptor 3.
    pub(crate) preopens: Vec<String>,
    pub(crate) descriptors: Vec<StandaloneDescriptor>,
}

/// A descriptor and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandaloneDescriptor {
    pub(crate) fd: u32,
    pub(crate) origin: Origin,
}

/// Where a descriptor comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A stream of the host, by its number there.
    Stream(u32),
    /// A directory that the host opens, by its place among them.
    Preopen(u32),
    /// A call of `path_open`.
    Opened(Opened),
}

/// What `path_open` is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Place of the directory among those that the host opens.
    pub(crate) preopen: u32,
    /// Path below it.
    pub(crate) path: String,
    pub(crate) follow: bool,
    pub(crate) oflags: u16,
    pub(crate) rights: u64,
    pub(crate) inheriting: u64,
    pub(crate) flags: u16,
    /// Of a regular file: offset and size.
    pub(crate) contents: Option<(u64, u64)>,
}

/// Why a guest's descriptors cannot be opened again by a module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StandaloneError {
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] RestoreError),
    /// There are descriptors that a plain WASI host cannot open as they were.
    #[error("the guest has descriptors open that a WASI host cannot open again:{}", lines(.0))]
    Descriptors(Vec<String>),
}

fn lines(problems: &[String]) -> String {
    problems
        .iter()
        .map(|problem| format!("\n  {problem}"))
        .collect()
}

impl StandaloneFiles {
    /// Reads the descriptors from a guest's record.
    ///
    /// # Errors
    /// It is no record, or it has descriptors that cannot be opened again; all of them are listed.
    pub fn read(record: &[u8]) -> Result<Self, StandaloneError> {
        let saved = SavedWasi::decode(record)?;
        let mut problems = Vec::new();
        let mut descriptors = Vec::new();
        for descriptor in saved.descriptors {
            let fd = descriptor.fd;
            match origin(descriptor, &saved.preopens) {
                Ok(origin) => descriptors.push(StandaloneDescriptor { fd, origin }),
                Err(problem) => problems.push(format!("descriptor {fd} {problem}")),
            }
        }
        if !problems.is_empty() {
            return Err(StandaloneError::Descriptors(problems));
        }
        Ok(Self {
            preopens: saved.preopens,
            descriptors,
        })
    }
}

fn origin(descriptor: SavedDescriptor, preopens: &[String]) -> Result<Origin, String> {
    let SavedDescriptor {
        rights_base,
        rights_inheriting,
        flags,
        node,
        ..
    } = descriptor;
    let shown = |place: &SavedPlace| {
        let preopen = preopens.get(place.preopen as usize);
        preopen
            .map(|preopen| guest_path(preopen, &place.path))
            .ok_or_else(|| "lies in a directory that is not there".to_owned())
    };
    match node {
        SavedNode::Stdin => Ok(Origin::Stream(0)),
        SavedNode::Stdout => Ok(Origin::Stream(1)),
        SavedNode::Stderr => Ok(Origin::Stream(2)),
        SavedNode::File {
            place,
            offset,
            size,
            unnamed,
            ..
        } => {
            let path = shown(&place)?;
            if unnamed.is_some() {
                return Err(format!(
                    "({path}) is a file that was removed while open: no other host can find it"
                ));
            }
            // To bring it to its offset, it must be opened with the right to do so.
            let seek = if offset > 0 { right::FD_SEEK } else { 0 };
            let rights = rights_base | seek;
            Ok(opened_file(place, rights, flags, Some((offset, size))))
        }
        SavedNode::Device { place, .. } => {
            shown(&place)?;
            Ok(opened_file(place, rights_base, flags, None))
        }
        SavedNode::Pipe { place, .. } => Err(format!(
            "({}) is a named pipe: whoever is at its other end is not at another host",
            shown(&place)?
        )),
        SavedNode::Directory {
            place,
            is_preopen,
            is_removed,
            listing,
        } => {
            let path = shown(&place)?;
            if is_removed {
                return Err(format!(
                    "({path}) is a directory that was removed while open: no other host can find it"
                ));
            }
            if listing.is_some() {
                return Err(format!(
                    "({path}) is a directory that is being listed: its position means nothing to another host"
                ));
            }
            if is_preopen {
                return Ok(Origin::Preopen(place.preopen));
            }
            Ok(Origin::Opened(Opened {
                preopen: place.preopen,
                path: match place.path.is_empty() {
                    true => ".".to_owned(),
                    false => place.path,
                },
                follow: place.follow,
                oflags: oflags::DIRECTORY,
                rights: rights_base & right::DIRECTORY,
                inheriting: rights_inheriting & (right::DIRECTORY | right::FILE),
                flags: 0,
                contents: None,
            }))
        }
    }
}

fn opened_file(place: SavedPlace, rights: u64, flags: u16, contents: Option<(u64, u64)>) -> Origin {
    Origin::Opened(Opened {
        preopen: place.preopen,
        path: place.path,
        follow: place.follow,
        oflags: 0,
        rights: rights & right::FILE,
        inheriting: 0,
        flags: flags & fdflags::ALL,
        contents,
    })
}
