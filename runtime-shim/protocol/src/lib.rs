//! Live migration of a guest between two nodes, as state machines and pure functions.
//!
//! Nothing here does I/O: no sockets, clocks, threads, disks or engines. Time is an argument, messages go in and actions
//! come out, so that tests can drop, delay, reorder and crash at will.

pub mod codec;
pub mod config;
pub mod convergence;
pub mod destination;
mod ids;
pub mod link;
pub mod message;
pub mod offer;
pub mod ownership;
pub mod pages;
pub mod plan;
pub mod progress;
pub mod push_order;
pub mod received;
pub mod source;
mod timers;
mod version;
pub mod working_set;

pub use ids::{
    Digest, Epoch, JobId, MigrationId, NAME_MAX, NameError, NodeName, PAGE_BYTES, PageRun,
};
pub use version::{ProtocolVersion, VersionError};
