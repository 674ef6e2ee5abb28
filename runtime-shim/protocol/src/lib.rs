//! Live migration of a guest between two nodes, as state machines and pure functions.
//!
//! Nothing here does I/O: no sockets, clocks, threads, disks or engines. Time is an argument, messages go in and actions
//! come out, so that tests can drop, delay, reorder and crash at will.

pub mod codec;
pub mod convergence;
pub mod destination;
mod ids;
pub mod message;
pub mod offer;
pub mod ownership;
pub mod progress;
pub mod received;
pub mod source;
mod version;

pub use ids::{
    Digest, Epoch, JobId, MigrationId, NAME_MAX, NameError, NodeName, PAGE_BYTES, PageRun,
};
pub use version::{ProtocolVersion, VersionError};
