//! What can go wrong. Three kinds, never mixed: the input is not a valid module, the input is valid
//! but cannot be made migratable (yet), or this crate has a bug.

use std::fmt;

/// Why a module was not rewritten. In every case there is no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text format could not be parsed.
    #[error("not valid WebAssembly text: {0}")]
    Text(String),
    /// The input is neither a valid binary module nor text.
    #[error("not a valid WebAssembly module: {message} (at byte offset {offset:#x})")]
    Invalid {
        /// The validator's message.
        message: String,
        /// Where in the input.
        offset: usize,
    },
    /// The input is valid, but uses something that cannot be made migratable.
    #[error("cannot make this module migratable: {construct} is not supported{place}")]
    Unsupported {
        /// The construct, for instance `exceptions (try_table)`.
        construct: String,
        /// Where it stands.
        place: Place,
    },
    /// The input has been through this tool before.
    #[error("this module is already migratized (it has {0}): give the original module instead")]
    AlreadyMigratized(String),
    /// The profile is of no use for this module.
    #[error(transparent)]
    Profile(#[from] wasm_migrate_abi::ProfileError),
    /// The output would break a limit that all engines share.
    #[error(
        "{function} would have {size} bytes after rewriting, more than the {limit} bytes that \
         engines accept: split the function, or compile it with less inlining"
    )]
    TooLarge {
        /// The function.
        function: FunctionName,
        /// Its size in bytes after rewriting.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A bug: the rewritten module is not valid.
    #[error(
        "internal error: {message}; please report it with the input module, nothing was written"
    )]
    Internal {
        /// What is wrong with the output.
        message: String,
    },
}

/// A place in the input: a byte offset, within a function where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The function, if the construct stands in one.
    pub function: Option<FunctionName>,
    /// Byte offset in the binary input.
    pub offset: usize,
}

/// A function as people know it: by index, and by name where the name section has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// Index in the input's function index space.
    pub index: u32,
    /// Name from the name section.
    pub name: Option<String>,
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "function {} (`{name}`)", self.index),
            None => write!(f, "function {}", self.index),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(function) = &self.function {
            write!(f, " in {function}")?;
        }
        write!(f, " at byte offset {:#x}", self.offset)
    }
}

impl From<wasmparser::BinaryReaderError> for Error {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Invalid {
            message: error.message().to_owned(),
            offset: usize::try_from(error.offset()).unwrap_or(usize::MAX),
        }
    }
}
