//! Why a stopped guest cannot become a module.

use wasm_encoder::reencode;

use crate::error::ResumeError;

/// Why a stopped guest cannot become a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FreezeError {
    /// The module cannot be read.
    #[error(transparent)]
    Module(#[from] crate::Error),
    /// The module is not valid.
    #[error("this is not a valid WebAssembly module")]
    NotWasm(#[from] wasmparser::BinaryReaderError),
    /// The state is not one of this module.
    #[error(transparent)]
    State(#[from] ResumeError),
    /// The module needs something of its host that a frozen module cannot bring along.
    #[error(
        "the module imports {kind} `{module}.{name}`: its contents belong to the host, and only a module \
         that imports nothing but functions can be frozen"
    )]
    Import {
        /// Kind of import.
        kind: &'static str,
        /// Module name of the import.
        module: String,
        /// Name of the import.
        name: String,
    },
    /// A host reference.
    #[error("{0} holds a host reference, which means nothing to another host")]
    HostReference(String),
    /// The contract's imports or exports are not there.
    #[error(
        "the module has no {0}: it was altered after wasm-migratize wrote it; migratize the original again"
    )]
    Altered(String),
    /// An export has no such function, or one that cannot be called.
    #[error("`{name}` {reason}")]
    Entry {
        /// Name of the export.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There are more words on the stack than a module can hold.
    #[error(
        "the guest's stack has {found} words, and a frozen module can hold {allowed}: stop it where its stack is not as deep"
    )]
    TooDeep {
        /// Words on the stack.
        found: usize,
        /// The limit.
        allowed: usize,
    },
    /// There is more in memory than a module can hold.
    #[error("the guest's memories hold {found} bytes, and a frozen module can hold {allowed}")]
    TooLarge {
        /// Bytes that are not zero, and gaps too small to be left out.
        found: u64,
        /// The limit.
        allowed: u64,
    },
    /// The files cannot be opened from within the module.
    #[error("the guest's files cannot be opened again by the frozen module: {0}")]
    Files(String),
    /// A section could not be written again.
    #[error("a section of the module cannot be written again: {0}")]
    Section(String),
}

impl From<reencode::Error> for FreezeError {
    fn from(error: reencode::Error) -> Self {
        Self::Section(error.to_string())
    }
}
