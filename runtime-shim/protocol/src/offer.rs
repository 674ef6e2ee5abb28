//! The capability exchange: what a source says of a guest before anything moves, and what a destination answers.
//!
//! ```text
//! Offer x Capabilities x Policy x modules in store --> Acceptance (what must be sent) | Refusal (why not, what to do)
//! ```
//!
//! All that can be refused is refused here, before the guest stops: [`decide`] is a pure function of what both sides know.
//! What shows only when the guest is rebuilt (a stack that does not fit, a file that is missing) is found later, and
//! leaves the guest at its source as well.

mod decide;
mod refusal;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use decide::{Capabilities, Policy, Situation, StoredModule, decide};
pub use refusal::Refusal;

use crate::ids::{Digest, JobId, NodeName, PAGE_BYTES};

/// How a guest moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It stops, all goes, it runs.
    Stop,
    /// Its memory goes while it runs, in rounds; it stops for the last pages.
    Pre,
    /// It stops, all but its memory goes, it runs; its memory follows.
    Post,
    /// One pass of its memory while it runs, then as post-copy.
    Hybrid,
    /// Whichever of these fits measurements best.
    Auto,
}

/// What a source says of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The job.
    pub job: JobId,
    /// The node that offers it, as its certificate names it.
    pub source: NodeName,
    /// How it is to move.
    pub mode: Mode,
    /// Its module.
    pub module: ModuleOffer,
    /// Its memories, in the order of their indices.
    pub memories: Vec<MemoryOffer>,
    /// States of the host that go along.
    pub sections: Vec<SectionVersion>,
    /// Directories that its files lie in, as it calls them.
    pub directories: Vec<DirectoryNeed>,
    /// Name and version of the engine that runs it.
    pub engine: String,
    /// What it was compiled for.
    pub processor: Processor,
    /// Frames on its stack now, and bytes in them: a hint at what its stack will need.
    pub stack: StackHint,
    /// Bytes of its state without memory, as they were when last measured; 0 if unknown.
    pub state_bytes: u64,
    /// Compressions that the source can write, best first.
    pub compressions: Vec<Compression>,
    /// Where the source listens, at the address that it came from; 0 if nowhere.
    pub port: u16,
}

/// The module of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleOffer {
    /// Of the module before it was migratized: the same for all variants.
    pub original: Digest,
    /// Version of the contract between module and host.
    pub contract: u32,
    /// What the source can send, the one that runs there first.
    pub variants: Vec<Variant>,
}

/// One way in which a module was migratized. All variants of a module read each other's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Of the migratized module.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Features beyond WebAssembly 1.0 that it needs, by the names of `wasm-tools validate --features`.
    pub features: Vec<String>,
    /// Has it operators that make NaNs?
    pub makes_nans: bool,
    /// Has it relaxed vector operators?
    pub is_relaxed: bool,
}

/// A memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryOffer {
    /// Its size now.
    pub bytes: u64,
    /// The size that it may grow to, if its type says one.
    pub maximum_bytes: Option<u64>,
}

/// A state of the host by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionVersion {
    /// Its name.
    pub name: String,
    /// Another one cannot be read.
    pub major: u16,
    /// A newer one cannot be read.
    pub minor: u16,
    /// Must the destination have it?
    pub is_required: bool,
}

/// A directory that a guest uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DirectoryNeed {
    /// As the guest calls it.
    pub guest: String,
    /// Does it write there?
    pub is_written: bool,
}

/// What a guest is compiled for, as far as the guest could notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processor {
    /// As `std::env::consts::ARCH` names it.
    pub architecture: String,
    /// Do relaxed operators multiply and add in one step?
    pub fused_multiply_add: bool,
    /// Are all NaNs made canonical?
    pub canonical_nans: bool,
    /// Do relaxed vector operators do the same everywhere?
    pub deterministic_relaxed_simd: bool,
}

/// How deep a stack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StackHint {
    /// Frames.
    pub frames: u64,
    /// Bytes of the values in them.
    pub bytes: u64,
}

/// How pages and state are packed. `None` can be read by everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: for fast links.
    Lz4,
    /// Zstandard: for slow ones.
    Zstd,
}

/// What a destination says of a guest that it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Which module it will run, and whether it needs it.
    pub module: ModuleNeed,
    /// Can pages follow a running guest here? If not, why.
    pub post_copy: Result<(), String>,
    /// Bytes of a page of its kernel. Pages that follow the guest are sent in whole ones of these.
    pub kernel_page_bytes: u32,
    /// How pages and state are to be packed: the choice for `auto`, and all that it reads.
    pub compressions: Vec<Compression>,
    /// Bytes that the guest's memories may have together.
    pub memory_limit_bytes: u64,
    /// Name and version of its engine.
    pub engine: String,
    /// Its processor.
    pub processor: Processor,
    /// What may differ there but does no harm to most programs, for people.
    pub warnings: Vec<String>,
}

/// What of the module must be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleNeed {
    /// Nothing: it has this variant.
    Nothing(Digest),
    /// This variant.
    Send(Digest),
}

impl MemoryOffer {
    /// Pages that it may ever have, if it is allowed no more than `limit_bytes`.
    #[must_use]
    pub fn most_pages(&self, limit_bytes: u64) -> u64 {
        let most = self.maximum_bytes.unwrap_or(u64::MAX).max(self.bytes);
        most.min(limit_bytes).div_ceil(PAGE_BYTES)
    }
}

impl ModuleNeed {
    /// The variant that will run.
    #[must_use]
    pub fn digest(self) -> Digest {
        match self {
            Self::Nothing(digest) | Self::Send(digest) => digest,
        }
    }
}
