//! Why a destination does not take a guest: what was found, what was expected, what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Epoch};

/// Why a destination does not take a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The destination already knows a newer epoch of the job, or this one.
    StaleEpoch {
        /// The epoch that was offered.
        offered: Epoch,
        /// The epoch that the destination's journal has.
        known: Epoch,
    },
    /// The destination's journal says that the job is its own.
    OwnedHere {
        /// In this epoch.
        known: Epoch,
    },
    /// The job is being moved here or away already.
    Busy,
    /// No more jobs are taken.
    TooManyJobs {
        /// How many run.
        running: u32,
        /// How many may.
        limit: u32,
    },
    /// Memories are too large.
    TooMuchMemory {
        /// Bytes that the guest has.
        bytes: u64,
        /// Bytes that a guest may have.
        limit: u64,
    },
    /// State without memory is too large.
    TooMuchState {
        /// Bytes that it has.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// The module is too large.
    TooLargeModule {
        /// Bytes that it has.
        bytes: u64,
        /// Bytes that it may have.
        limit: u64,
    },
    /// Only some modules are allowed.
    ModuleNotAllowed {
        /// The original module's digest.
        original: Digest,
    },
    /// Contract between module and host.
    Contract {
        /// Its version.
        offered: u32,
        /// The version that the destination speaks.
        supported: u32,
    },
    /// The engine lacks features, whichever variant of the module is taken.
    Features {
        /// Its name.
        engine: String,
        /// What the variant that comes nearest needs and the engine lacks.
        missing: Vec<String>,
    },
    /// A state of the host is unknown, or of another version.
    Section {
        /// Its name.
        name: String,
        /// The version that was offered.
        offered: (u16, u16),
        /// The newest version that the destination reads, if any.
        supported: Option<(u16, u16)>,
    },
    /// A directory is not there, or not to be written to.
    Directory {
        /// As the guest calls it.
        guest: String,
        /// Is it there, but only to be read?
        is_read_only: bool,
    },
    /// Relaxed vector operators would do something else.
    RelaxedSimd {
        /// The source's processor.
        source: String,
        /// The destination's.
        destination: String,
    },
    /// The stack would not fit.
    Stack {
        /// Bytes in its frames.
        bytes: u64,
        /// Bytes that they may have.
        limit: u64,
    },
    /// Pages cannot follow a running guest there.
    PostCopy {
        /// Why.
        reason: String,
    },
    /// The offer contradicts itself.
    Malformed(String),
    /// The source may not bring it.
    Denied {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleEpoch { offered, known } => write!(
                f,
                "it knows epoch {known} of the job, the offer is for epoch {offered}: the job has been elsewhere since; \
                 move it from the node that owns it now"
            ),
            Self::OwnedHere { known } => write!(
                f,
                "its journal says that the job is its own (epoch {known}): stop the job on the node where it should not be"
            ),
            Self::Busy => f.write_str(
                "the job is being moved to or from there already: wait until that is over, or cancel it",
            ),
            Self::TooManyJobs { running, limit } => write!(
                f,
                "{running} jobs run there, and no more than {limit} may: raise its limit of jobs, or choose another node"
            ),
            Self::TooMuchMemory { bytes, limit } => write!(
                f,
                "the guest has {bytes} bytes of memory, and a guest may have {limit} there: raise its limit of \
                 memory, or choose another node"
            ),
            Self::TooMuchState { bytes, limit } => write!(
                f,
                "the guest's state without memory has {bytes} bytes, and may have {limit} there: ship fewer files along, \
                 or raise its limit of state"
            ),
            Self::TooLargeModule { bytes, limit } => write!(
                f,
                "the module has {bytes} bytes, and may have {limit} there: raise its limit of modules"
            ),
            Self::ModuleNotAllowed { original } => write!(
                f,
                "the original module {original} is not on its list of allowed modules: add it there"
            ),
            Self::Contract { offered, supported } => write!(
                f,
                "the module has version {offered} of the contract between module and host, it speaks version \
                 {supported}: use the same version of wasm-migrate on both nodes, or migratize the module anew"
            ),
            Self::Features { engine, missing } => write!(
                f,
                "its engine ({engine}) lacks {}, which every variant of the module needs: give the source a variant \
                 that does without, or choose a node with another engine",
                missing.join(", ")
            ),
            Self::Section {
                name,
                offered: (major, minor),
                supported: None,
            } => write!(
                f,
                "the guest needs the host state `{name}` (version {major}.{minor}), which it does not have: \
                 choose a node whose host has it"
            ),
            Self::Section {
                name,
                offered: (major, minor),
                supported: Some((known_major, known_minor)),
            } => write!(
                f,
                "the host state `{name}` has version {major}.{minor}, it reads {known_major}.0 to \
                 {known_major}.{known_minor}: use the same version of the host on both nodes"
            ),
            Self::Directory {
                guest,
                is_read_only: false,
            } => write!(
                f,
                "the guest uses the directory `{guest}`, which it does not have: map one to that name there"
            ),
            Self::Directory {
                guest,
                is_read_only: true,
            } => write!(
                f,
                "the guest writes to the directory `{guest}`, which is mapped read-only there: map it for writing"
            ),
            Self::RelaxedSimd {
                source,
                destination,
            } => write!(
                f,
                "the guest uses relaxed SIMD operators, which do not do the same on {destination} as on {source}: start \
                 it with `--deterministic-relaxed-simd` to be able to move it there"
            ),
            Self::Stack { bytes, limit } => write!(
                f,
                "the guest's stack holds {bytes} bytes, and about {limit} fit there: raise its stack size, or move \
                 the guest when its stack is less deep"
            ),
            Self::PostCopy { reason } => write!(
                f,
                "pages cannot follow a running guest there ({reason}): use mode pre, stop or auto"
            ),
            Self::Malformed(what) => write!(
                f,
                "the offer makes no sense ({what}): use the same version of wasm-migrate on both nodes"
            ),
            Self::Denied { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for Refusal {}
