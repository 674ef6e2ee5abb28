//! Tests of `wasm-migratize` and `wasm-migrate` that take the original program as their oracle.
//!
//! Every program is executed in several [`Way`]s: as it is; rewritten; rewritten, stopped at its
//! polls, captured and resumed in a fresh instance. All must agree.

pub mod bench;
pub mod checker;
pub mod differential;
pub mod engine;
pub mod host;
pub mod pages;
mod random;
mod schedule;
pub mod snapshots;
pub mod spec;
pub mod subject;
pub mod wasi;
mod way;

pub use random::random_bytes;
pub use way::Way;
