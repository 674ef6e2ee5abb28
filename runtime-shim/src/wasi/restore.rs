//! Rebuilding a guest from its record.
//!
//! All or nothing: every descriptor and every shipped file is looked at first, and those that cannot be had
//! as they were are an error that lists them all. Only then are shipped files written, and the descriptors
//! that need them opened.

use std::collections::BTreeMap;

use super::clocks::{Clocks, Readings};
use super::contents::Contents;
use super::fd_table::{Descriptor, FdTable, Rights};
use super::poll::SuspendedPoll;
use super::reopen::Opener;
use super::shipped;
use super::snapshot::{DescriptorFault, DescriptorProblem, RestoreError, guest_path};
use super::stdio::Stdio;
use super::types::{fdflags, right};
use super::wire::{
    SavedClocks, SavedDescriptor, SavedNode, SavedPlace, SavedPoll, SavedPosition, SavedWasi,
};
use super::{ChangedFiles, FilePolicy, Preopen, WasiBuilder, WasiCtx};

/// A rebuilt guest that does not run yet: the host's streams are untouched.
#[derive(Debug)]
pub(super) struct Prepared {
    guest: WasiCtx,
    /// Where standard input goes on, if it is a file.
    input_offset: Option<u64>,
}

impl Prepared {
    /// Has the guest begin, with these streams.
    pub(super) fn begin(self, stdio: Stdio) -> WasiCtx {
        if let Some(offset) = self.input_offset
            && let Err(error) = stdio.seek_input(offset)
        {
            log::error!("standard input does not go on at byte {offset}: {error}");
        }
        WasiCtx {
            stdio,
            ..self.guest
        }
    }
}

impl WasiCtx {
    /// Rebuilds a guest from its record. Streams and directories are those of `builder`, which must
    /// map every directory that the guest still uses; arguments and environment are the guest's own.
    ///
    /// # Errors
    /// The bytes make no record of this version, or the guest's files are not as they were.
    pub fn restore(builder: WasiBuilder, bytes: &[u8]) -> Result<Self, RestoreError> {
        let WasiBuilder {
            stdio,
            preopens,
            files,
            ..
        } = builder;
        Ok(Self::prepare(&stdio, preopens, files, bytes)?.begin(stdio))
    }

    /// Does everything for [`WasiCtx::restore`] that can fail.
    pub(super) fn prepare(
        stdio: &Stdio,
        mapped: Vec<Preopen>,
        files: FilePolicy,
        bytes: &[u8],
    ) -> Result<Prepared, RestoreError> {
        let SavedWasi {
            args,
            env,
            clocks,
            suspended_poll,
            stdin,
            preopens,
            descriptors,
            shipped,
            contents,
        } = SavedWasi::decode(bytes)?;
        let preopens = map_preopens(preopens, mapped);
        let contents = Contents::check(contents, files.ship_bytes_max)?;
        let mut problems = Vec::new();
        let plan = shipped::plan(&preopens, &shipped, &contents, files.changed, &mut problems)?;
        let mut opener = Opener::new(&preopens, &contents, files);
        let mut table = FdTable::default();
        let (later, now): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(|descriptor| {
            place_of(&descriptor.node).is_some_and(|place| plan.carries(place))
        });
        load(now, &mut opener, &preopens, &mut table, &mut problems)?;
        let input_offset = check_input(stdio, stdin, files.changed, &mut problems);
        if !problems.is_empty() {
            return Err(RestoreError::Descriptors { problems });
        }
        plan.write()?;
        opener.trust_files();
        load(later, &mut opener, &preopens, &mut table, &mut problems)?;
        if !problems.is_empty() {
            return Err(RestoreError::Descriptors { problems });
        }
        let SavedClocks {
            realtime,
            monotonic,
            process_cpu,
            thread_cpu,
        } = clocks;
        let guest = Self {
            args,
            env,
            stdio: Stdio::default(),
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
            files,
        };
        Ok(Prepared {
            guest,
            input_offset,
        })
    }
}

/// The guest's directories, each as the user has mapped it.
fn map_preopens(names: Vec<String>, mapped: Vec<Preopen>) -> Vec<Preopen> {
    let mapped: BTreeMap<_, _> = mapped
        .into_iter()
        .map(|preopen| (preopen.name, preopen.dir))
        .collect();
    names
        .into_iter()
        .map(|name| Preopen {
            dir: mapped.get(&name).cloned().flatten(),
            name,
        })
        .collect()
}

fn place_of(node: &SavedNode) -> Option<&SavedPlace> {
    match node {
        SavedNode::Stdin | SavedNode::Stdout | SavedNode::Stderr => None,
        SavedNode::File { place, .. }
        | SavedNode::Device { place, .. }
        | SavedNode::Pipe { place, .. }
        | SavedNode::Directory { place, .. } => Some(place),
    }
}

/// Opens descriptors again and puts them into the table.
fn load(
    descriptors: Vec<SavedDescriptor>,
    opener: &mut Opener<'_>,
    preopens: &[Preopen],
    table: &mut FdTable,
    problems: &mut Vec<DescriptorProblem>,
) -> Result<(), RestoreError> {
    for SavedDescriptor {
        fd,
        rights_base,
        rights_inheriting,
        flags,
        node,
    } in descriptors
    {
        let malformed = |what: &str| RestoreError::Malformed(format!("descriptor {fd} {what}"));
        if flags & !fdflags::ALL != 0 {
            return Err(malformed("has flags that do not exist"));
        }
        let path = match place_of(&node) {
            None => String::new(),
            Some(place) => match preopens.get(place.preopen as usize) {
                Some(preopen) => guest_path(&preopen.name, &place.path),
                None => return Err(malformed("lies in a directory that is not there")),
            },
        };
        let rights = Rights {
            base: rights_base & right::ALL,
            inheriting: rights_inheriting & right::ALL,
        };
        match opener.open(flags, node)? {
            Ok(node) => {
                let descriptor = Descriptor {
                    rights,
                    flags,
                    node,
                };
                let is_free = table.insert_at(fd, descriptor);
                debug_assert!(is_free, "the record was checked when it was decoded");
            }
            Err(fault) => problems.push(DescriptorProblem {
                fd: Some(fd),
                path,
                fault,
            }),
        }
    }
    Ok(())
}

/// A guest that read a file reads on in a file of the same size, or in whatever is no file at all. Answers
/// where it goes on in a file.
fn check_input(
    stdio: &Stdio,
    recorded: Option<SavedPosition>,
    changed: ChangedFiles,
    problems: &mut Vec<DescriptorProblem>,
) -> Option<u64> {
    let (recorded, found) = (recorded?, stdio.input_position()?);
    if recorded.size != found.size && changed != ChangedFiles::Keep {
        problems.push(DescriptorProblem {
            fd: Some(0),
            path: "standard input".to_owned(),
            fault: DescriptorFault::SizeChanged {
                recorded: recorded.size,
                found: found.size,
            },
        });
    }
    Some(recorded.offset)
}
