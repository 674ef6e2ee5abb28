//! What can go wrong between a guest and its host, whatever the engine.

use std::error::Error as StdError;
use std::fmt;

use crate::fit::{Change, List};

/// The guest's calls to its migration imports make no sense together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the module broke its migration contract: {what}; it is damaged or from an incompatible \
     wasm-migratize: migratize the original again"
)]
pub struct ProtocolError {
    pub(crate) what: String,
}

impl ProtocolError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

/// What an engine says when it cannot do its part of a capture or a restore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub(crate) String);

/// Where a reference is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// An element of a table.
    Table {
        /// Index of the table.
        table: u32,
        /// Index of the element.
        element: u64,
    },
    /// A global, by index.
    Global(u32),
    /// A live value of a frame, by its place in the scratch table.
    Frame(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { table, element } => write!(f, "element {element} of table {table}"),
            Self::Global(index) => write!(f, "global {index}"),
            Self::Frame(place) => write!(f, "a value on the stack (reference {place})"),
        }
    }
}

/// Why the state of a stopped guest could not be taken. The guest can go on where it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The guest is not stopped.
    #[error(
        "the guest is not stopped: only a guest whose last call was suspended has a state to take"
    )]
    NotSuspended,
    /// A reference to a function that this module does not own.
    #[error(
        "{0} holds a function that is not one of this module's: a snapshot can name only the \
         module's own functions and imports"
    )]
    ForeignFunction(Place),
    /// A host reference that cannot be encoded.
    #[error("{place} holds a host reference that cannot be saved: {reason}")]
    HostReference {
        /// Where it is held.
        place: Place,
        /// The codec's reason, or that there is no codec.
        reason: String,
    },
    /// The module misbehaved.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The engine failed.
    #[error("the engine could not read the guest's state: {0}")]
    Engine(#[from] EngineError),
}

/// Why a state could not be restored. Unless it is [`ResumeError::Engine`] or [`ResumeError::Memory`], nothing
/// was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The state belongs to another module, and what it relies on is not the same in this one.
    #[error(
        "the snapshot was taken from {}, and what it relies on is not the same in this module:{}",
        predecessor(expected, found),
        List(changes)
    )]
    OtherModule {
        /// This module's original, in hex.
        expected: String,
        /// The snapshot's original, in hex; if it is the same, the module was made with other options.
        found: String,
        /// What is not the same.
        changes: Vec<Change>,
    },
    /// The state does not fit the module's description.
    #[error(
        "the snapshot does not fit the module: {0}; it is damaged or of another variant's making"
    )]
    Mismatch(String),
    /// The instance is not as the state needs it.
    #[error("the snapshot does not fit this instance: {0}")]
    Unfit(String),
    /// A host reference that cannot be decoded.
    #[error("{place} holds a host reference that cannot be restored: {reason}")]
    HostReference {
        /// Where it is held.
        place: Place,
        /// The codec's reason, or that there is no codec.
        reason: String,
    },
    /// The guest is in the middle of a call.
    #[error("the guest is running: only a fresh or a stopped instance can be resumed")]
    Running,
    /// Memory contents could not be read while the state was written; the instance must be thrown away.
    #[error("the guest's memory could not be read")]
    Memory(#[source] Box<dyn StdError + Send + Sync>),
    /// The module misbehaved.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The engine failed while the state was written; the instance must be thrown away.
    #[error("the engine could not write the guest's state: {0}")]
    Engine(#[from] EngineError),
}

fn predecessor(expected: &str, found: &str) -> String {
    if expected == found {
        "a module that was made with other options".to_owned()
    } else {
        format!(
            "another program or another version of it (its original has digest {found}, this module's \
             {expected})"
        )
    }
}
