//! The destination of a migration.

mod interface;

pub use interface::{DestinationAction, DestinationInput, DestinationOutcome};
