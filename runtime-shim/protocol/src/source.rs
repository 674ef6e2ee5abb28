//! The source of a migration.

mod interface;

pub use interface::{LinkId, SourceAction, SourceInput, SourceOutcome};

use crate::message::Failure;
use crate::offer::Refusal;

/// Why a guest stays at its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stay {
    /// The destination does not take it.
    #[error("the destination does not take the guest: {0}")]
    Refused(Refusal),
    /// It could not run it.
    #[error("the destination could not run the guest")]
    Failed(Failure),
    /// Somebody cancelled.
    #[error("the migration was cancelled")]
    Cancelled,
    /// The destination could not be reached, or said nothing for too long.
    #[error("the destination {0}")]
    Silent(String),
    /// Something failed here.
    #[error("the guest could not be sent: {0}")]
    Local(String),
    /// The destination does not keep to the protocol.
    #[error("the destination does not keep to the protocol: {0}")]
    Protocol(String),
    /// A person decided.
    #[error("a person decided that the guest goes on here")]
    Resolved,
}
