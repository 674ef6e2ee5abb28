//! Rewrites WebAssembly modules, ahead of time and without their sources, so that they can save and
//! rebuild their own call stack with nothing but standard WebAssembly.
//!
//! ```
//! # fn main() -> Result<(), wasm_migratize::Error> {
//! let original = br#"(module (func (export "spin") (loop (br 0))))"#;
//! let output = wasm_migratize::Migratizer::new().rewrite(original)?;
//! assert!(output.wasm.starts_with(b"\0asm"));
//! # Ok(())
//! # }
//! ```
//!
//! [`pipeline`](Migratizer::rewrite) is where to start reading; the contract with hosts is the crate
//! `wasm-migrate-abi`.

mod analysis;
mod copy;
mod describe;
mod emit;
mod encode;
mod error;
mod features;
mod fingerprint;
mod instrument;
mod ir;
mod lift;
mod migratizer;
mod module;
mod names;
mod options;
mod parking;
mod pipeline;
mod plan;
mod report;

pub use error::{Error, FunctionName, Place};
pub use migratizer::Migratizer;
pub use options::Optimize;
pub use pipeline::Output;
pub use report::{FunctionReport, Report, SafePointReport};
pub use wasm_migrate_abi::{Profile, ProfileError};
