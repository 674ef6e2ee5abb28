//! Who may run a job: epochs, what journals say, and the durable compare-and-set that they are kept with.
//!
//! A node runs a job only while its journal says [`Holding::Owned`] or [`Holding::Arrived`], and a journal changes by
//! compare-and-set alone. Epochs grow with every change of hands, so of two nodes that both believe to own a job, the one with
//! the smaller epoch is wrong.
//!
//! ```text
//! source: Owned(e) --> Committing(e+1) --> Gone(e+1)           destination: - --> Arrived(e+1) --> Owned(e+1)
//!                             |                                              \         | crash
//!                             `--Fenced--> Owned(e+2)                         `--> Fenced(e+1)
//! ```
//!
//! Why there is never more than one executor: the source stops its guest before it writes `Committing`, sends `Commit` only
//! after that is on disk, and leaves `Committing` only for `Gone`, or for a newer epoch when the destination has answered
//! `Fenced`. The destination runs the guest only after `Commit`, and answers `Fenced` only when it has no guest in that epoch
//! any more and so never can run it. A crash of the destination before `Owned` is on disk loses its guest, so it is fenced when
//! it is back. Why no guest is lost: until `Owned` is on disk at the destination, the source keeps the stopped guest.
//!
//! [`SourceSide`] and [`DestinationSide`] are these rules and nothing else: the machines of [`crate::source`] and
//! [`crate::destination`] put their effects into practice, and a model checker goes through all their states.

mod destination;
pub mod journal;
mod source;
mod stray;

use serde::{Deserialize, Serialize};

pub use destination::{DestinationEffect, DestinationEvent, DestinationSide, DestinationStep};
pub use source::{SourceEffect, SourceEvent, SourceSide, SourceStep};
pub use stray::{answer_as_source, may_arrive};

use crate::ids::{Epoch, JobId, MigrationId, NodeName};

/// What a node's journal says of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The epoch that it is about.
    pub epoch: Epoch,
    /// What this node has to do with that epoch.
    pub holding: Holding,
}

/// What a node has to do with an epoch of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Holding {
    /// It runs the job, and goes on from its newest checkpoint after a crash.
    Owned {
        /// The migration by which it came, if it came by one in this epoch.
        arrival: Option<MigrationId>,
    },
    /// As a source: the other node may run it in this epoch. This one does not, unless the other answers that it never will. It
    /// keeps its stopped guest until the other says that a crash cannot lose it.
    Committing(Transfer),
    /// As a source: the other node owns it.
    Gone(Transfer),
    /// As a destination: it runs the job, but no checkpoint of it is on disk. After a crash it is fenced.
    Arrived(Transfer),
    /// As a destination: it does not run the job in this epoch, and never will.
    Fenced(Transfer),
}

/// A change of hands, seen from one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Transfer {
    /// The migration.
    pub migration: MigrationId,
    /// The other node.
    pub peer: NodeName,
}

/// Where records are kept: a local file now; a store that several nodes share could take its place.
pub trait Ownership {
    /// What the job's journal says, if there is one.
    ///
    /// # Errors
    /// The store cannot be read, or is damaged.
    fn load(&self, job: &JobId) -> Result<Option<Record>, OwnershipError>;

    /// Replaces what the journal says, if that is still `expected`, and returns when a crash cannot undo it.
    ///
    /// # Errors
    /// It says something else, or it cannot be written. After [`OwnershipError::Store`] it may say either: load it, and tell
    /// the machine ([`NotPersisted`]).
    fn compare_and_set(
        &mut self,
        job: &JobId,
        expected: Option<&Record>,
        new: &Record,
    ) -> Result<(), OwnershipError>;
}

/// Why a journal was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnershipError {
    /// Somebody else changed it.
    #[error(
        "the job's journal says {found:?} where {expected:?} was expected: another process works on the job; look with \
         `wasm-migrate ps`"
    )]
    Changed {
        /// What it says.
        found: Option<Record>,
        /// What it should say.
        expected: Option<Record>,
    },
    /// The store fails.
    #[error("the job's journal cannot be read or written")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a machine is told when its journal was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotPersisted {
    /// Why.
    pub reason: String,
    /// What the journal says now, loaded anew; what it said before if that fails as well.
    pub record: Option<Record>,
}

/// A person's decision on a job whose other node is gone for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resolution {
    /// It goes on here, in a new epoch.
    Here,
    /// It is the other node's.
    Gone,
}

impl Record {
    /// May the node run the job?
    #[must_use]
    pub fn is_executor(&self) -> bool {
        matches!(self.holding, Holding::Owned { .. } | Holding::Arrived(_))
    }
}
