//! Runs migratized WebAssembly modules, stops them at safe points, and lets them go on elsewhere.
//!
//! A module that `wasm-migratize` has rewritten is compiled as a [`Guest`] and instantiated as a
//! [`GuestInstance`]. Anyone who holds its [`Controller`] can ask it to stop; the call that runs it
//! then ends as [`Outcome::Suspended`]. [`GuestInstance::capture`] takes the whole state as typed
//! values, a [`State`], and [`GuestInstance::resume`] lets another instance of the module go on with
//! it: in this process or, by way of a [`Snapshot`] file, in another.
//!
//! ```text
//! Controller --request--> Migration <--8 imports--> guest
//!                            |                        ^
//!                            | raw stack              | memories, tables, globals
//!                            v                        |
//!                          driver <--engine trait--> adapter (wasmtime)
//!                            |
//!                            v
//!                          State <--> Snapshot file
//! ```

mod controller;
mod coredump;
mod dirty;
mod driver;
mod engine;
mod error;
mod fit;
mod freeze;
mod host;
pub mod live;
mod memory;
mod migration;
mod names;
mod pacing;
pub mod shipment;
mod snapshot;
mod stack;
mod state;
#[cfg(target_os = "linux")]
mod userfaultfd;
pub mod wasi;

pub use controller::{Controller, Interruption, WakeGuard};
pub use coredump::coredump;
pub use dirty::{DirtyTracker, KernelSupport, LiveMemory, Tracking};
#[cfg(feature = "compile")]
pub use engine::wasmtime::CodeOptions;
pub use engine::wasmtime::{
    CodeOrigin, Error, ExternRefCodec, Guest, GuestInstance, Machine, Outcome, Precompiled,
    PrecompiledError, SuspendPoint, suspend_point,
};
pub use error::{CaptureError, EngineError, Place, ProtocolError, ResumeError};
pub use fit::{Change, RequiredFunction, Requirements};
pub use freeze::{FreezeError, FreezeOptions, Frozen, freeze};
pub use host::{
    HostError, HostState, HostStateError, Section, SectionVersion, Sections, abort_host,
    activate_host, restore_host, snapshot_host,
};
pub use memory::{
    BLOCK_BYTES, Block, ChangedPages, Measured, Memory, MemoryContents, MemorySize, MemoryView,
    PAGE_BYTES, PageRef,
};
pub use migration::Migration;
pub use names::{Names, read_description};
pub use pacing::Pacing;
pub use snapshot::{
    Compression, HEADER_BYTES, Header, Identities, ModuleReference, Page, PageKind, PageRun,
    ParentReference, Progress, ReadOptions, Recipients, Signer, Snapshot, SnapshotChain,
    SnapshotError, SnapshotReader, TrustedKeys, WriteOptions, Written,
};
pub use state::{Frame, Image, State, TableContents, Value};
pub use wasm_migrate_abi as abi;
