//! How a frozen module opens the guest's files again.
//!
//! A fresh WASI host gives it three streams and the directories that it opens. The plan checks at the start that
//! these are the directories that the guest knows, opens its files below them, and brings everything to the
//! numbers that the guest knows; what cannot be done ends the program with a message that says what is missing.
//! [`code`](super::files_code) writes this plan as functions.
//!
//! WASI functions read and write memory, and all of it is the guest's. So at the start the plan's texts and
//! results lie over the first bytes of memory; the last thing it does is to put back what belongs there.

use super::FreezeError;
use super::layout::{Signature, count32};
use super::survey::Survey;
use crate::state::State;
use crate::wasi::{Opened, Origin, StandaloneDescriptor, StandaloneFiles};
use wasm_encoder::ValType;
use wasmparser::ExternalKind;

/// Descriptor of the first directory that a host opens to a program.
pub(super) const FIRST_PREOPEN: u32 = 3;
/// Results of WASI functions: the largest is a `filestat`.
const RESULT_BYTES: usize = 64;

/// WASI functions that the plan calls.
pub(super) const WASI_FUNCTIONS: [&str; 9] = [
    "fd_close",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_renumber",
    "fd_seek",
    "fd_write",
    "path_filestat_get",
    "path_open",
    "proc_exit",
];

/// Parameters and results of one of [`WASI_FUNCTIONS`].
pub(super) fn wasi_signature(name: &str) -> Signature {
    use ValType::{I32, I64};
    match name {
        "fd_close" => (&[I32], &[I32]),
        "fd_prestat_dir_name" => (&[I32; 3], &[I32]),
        "fd_seek" => (&[I32, I64, I32, I32], &[I32]),
        "fd_write" => (&[I32; 4], &[I32]),
        "path_filestat_get" => (&[I32; 5], &[I32]),
        "path_open" => (&[I32, I32, I32, I32, I32, I64, I64, I32, I32], &[I32]),
        "proc_exit" => (&[I32], &[]),
        _ => (&[I32, I32], &[I32]),
    }
}

/// What is to be opened, and the texts that are needed for it.
pub(super) struct FilePlan {
    /// The module's memory `memory`.
    pub(super) memory: u32,
    /// Directories that the host must open, in order.
    pub(super) directories: Vec<Directory>,
    /// Descriptors of the guest, in the order of their numbers.
    pub(super) descriptors: Vec<Descriptor>,
    /// The path `.`.
    pub(super) here: Text,
    /// What is said if a descriptor cannot be moved to its number.
    pub(super) cannot_move: Text,
    /// Where the name of a directory is read to.
    pub(super) name_buffer: u32,
    /// What the first bytes of memory are while the plan is carried out.
    pub(super) scratch: Vec<u8>,
    /// What they are for the guest.
    pub(super) contents: Vec<u8>,
}

/// A directory that the host must open.
pub(super) struct Directory {
    name: String,
    pub(super) shown: Text,
    /// What is said if it does not.
    pub(super) missing: Text,
}

/// A descriptor of the guest.
pub(super) struct Descriptor {
    pub(super) fd: u32,
    pub(super) origin: PlannedOrigin,
}

/// Where a descriptor comes from.
pub(super) enum PlannedOrigin {
    /// The host has it at this number.
    Host(u32),
    /// It is opened.
    Opened {
        opened: Opened,
        path: Text,
        /// What is said if it cannot be.
        unreachable: Text,
        /// What is said if it has another size.
        changed: Text,
    },
}

/// A text in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text {
    pub(super) at: u32,
    pub(super) bytes: u32,
}

impl FilePlan {
    /// `None` if the guest's descriptors are those that every program finds.
    pub(super) fn new(
        files: &StandaloneFiles,
        survey: &Survey<'_>,
        state: &State,
    ) -> Result<Option<Self>, FreezeError> {
        let StandaloneFiles {
            preopens,
            descriptors,
        } = files;
        let needed = descriptors.iter().filter_map(needed_preopen).max();
        let needed = needed.map_or(0, |last| last as usize + 1);
        let is_at_home = |descriptor: &StandaloneDescriptor| matches!(descriptor.origin, Origin::Stream(stream) if stream == descriptor.fd);
        if descriptors.len() == 3 && descriptors.iter().all(is_at_home) {
            return Ok(None);
        }
        let is_moved_stream = |descriptor: &&StandaloneDescriptor| matches!(descriptor.origin, Origin::Stream(stream) if stream != descriptor.fd);
        if let (0, Some(moved)) = (needed, descriptors.iter().find(is_moved_stream)) {
            return Err(FreezeError::Files(format!(
                "descriptor {} is a standard stream at another number than usual, and without an open directory \
                 it cannot be brought there",
                moved.fd
            )));
        }
        let mut texts = Texts::new(preopens);
        let directories: Vec<Directory> = (FIRST_PREOPEN..)
            .zip(&preopens[..needed])
            .map(|(fd, name)| Directory {
                name: name.clone(),
                shown: texts.add(name),
                missing: texts.add(&format!(
                    "wasm-migrate: descriptor {fd} must be the directory {name:?}: start this program with \
                     these directories, in this order: {}\n",
                    preopens[..needed].join(", ")
                )),
            })
            .collect();
        let descriptors = descriptors
            .iter()
            .map(|descriptor| plan(descriptor, preopens, &mut texts))
            .collect();
        let here = texts.add(".");
        let cannot_move =
            texts.add("wasm-migrate: the host cannot bring descriptors to other numbers\n");
        let (scratch, name_buffer) = texts.finish();
        let (memory, contents) = first_bytes(survey, state, scratch.len())?;
        Ok(Some(Self {
            memory,
            directories,
            descriptors,
            here,
            cannot_move,
            name_buffer,
            scratch,
            contents,
        }))
    }

    /// WASI functions that it needs.
    pub(super) fn wasi_functions(&self) -> &'static [&'static str] {
        &WASI_FUNCTIONS
    }

    /// Names of the directories that the host must open.
    pub(super) fn directories(&self) -> Vec<String> {
        self.directories
            .iter()
            .map(|directory| directory.name.clone())
            .collect()
    }

    /// Does the guest have a descriptor of this number?
    pub(super) fn has(&self, fd: u32) -> bool {
        self.descriptors
            .iter()
            .any(|descriptor| descriptor.fd == fd)
    }
}

fn needed_preopen(descriptor: &StandaloneDescriptor) -> Option<u32> {
    match &descriptor.origin {
        Origin::Stream(_) => None,
        Origin::Preopen(preopen) => Some(*preopen),
        Origin::Opened(opened) => Some(opened.preopen),
    }
}

fn plan(descriptor: &StandaloneDescriptor, preopens: &[String], texts: &mut Texts) -> Descriptor {
    let fd = descriptor.fd;
    let origin = match &descriptor.origin {
        Origin::Stream(stream) => PlannedOrigin::Host(*stream),
        Origin::Preopen(preopen) => PlannedOrigin::Host(FIRST_PREOPEN + preopen),
        Origin::Opened(opened) => {
            let directory = &preopens[opened.preopen as usize];
            let what = format!(
                "wasm-migrate: {:?} in the directory {directory:?}",
                opened.path
            );
            let (_, size) = opened.contents.unwrap_or_default();
            PlannedOrigin::Opened {
                path: texts.add(&opened.path),
                unreachable: texts.add(&format!(
                    "{what} cannot be opened, and the program has it open: put it there\n"
                )),
                changed: texts.add(&format!(
                    "{what} has not the {size} bytes that it had: put the unchanged file there\n"
                )),
                opened: opened.clone(),
            }
        }
    };
    Descriptor { fd, origin }
}

/// The first bytes of the memory that WASI functions see.
fn first_bytes(
    survey: &Survey<'_>,
    state: &State,
    length: usize,
) -> Result<(u32, Vec<u8>), FreezeError> {
    let index = survey
        .export(ExternalKind::Memory, "memory")
        .ok_or_else(|| FreezeError::Files("the module exports no memory `memory`".to_owned()))?;
    let is_64 = survey.memories[index as usize].memory64;
    let memory = &state.memories[index as usize];
    if is_64 || memory.size.bytes() < length as u64 {
        return Err(FreezeError::Files(format!(
            "that takes {length} bytes of 32-bit memory, more than the module has"
        )));
    }
    let contents = (0..length as u64).map(|at| memory.byte(at)).collect();
    Ok((index, contents))
}

/// Texts, behind the room for results.
struct Texts {
    bytes: Vec<u8>,
    name_buffer: u32,
}

impl Texts {
    fn new(preopens: &[String]) -> Self {
        let longest = preopens.iter().map(String::len).max().unwrap_or(0);
        Self {
            bytes: vec![0; RESULT_BYTES + longest],
            name_buffer: count32(RESULT_BYTES),
        }
    }

    fn add(&mut self, text: &str) -> Text {
        let at = count32(self.bytes.len());
        self.bytes.extend_from_slice(text.as_bytes());
        Text {
            at,
            bytes: count32(text.len()),
        }
    }

    /// All of it in whole words of 8 bytes, and where the buffer for names is.
    fn finish(mut self) -> (Vec<u8>, u32) {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        (self.bytes, self.name_buffer)
    }
}
