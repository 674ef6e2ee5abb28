//! The contract between a migratized module and its host.
//!
//! A migratized module imports eight functions from [`MODULE`], all over `i32` and `i64`, and
//! exports three `i32` globals, its memories and a few helpers. That is all a host needs to stop
//! it, take its call stack as typed values and rebuild that stack in another instance. The
//! [`Description`], a custom section, says what the words that travel through the imports mean.
//!
//! # Imports
//!
//! | import | signature | when the module calls it |
//! |---|---|---|
//! | [`POLL`] | `(depth: i32) -> i32` | the budget is used up at a safe point; the answer is the next budget (> 0), or <= 0: unwind now. `depth` is how many calls to imports of this instance lie below on the stack; the host must not ask to unwind unless it is 0 |
//! | [`SAVE_I32`] | `(i32)` | unwinding: one word of the frame, the last one first |
//! | [`SAVE_I64`] | `(i64)` | unwinding: one word of the frame, the last one first |
//! | [`SAVE_FRAME`] | `(function: i32, safe_point: i32)` | unwinding: closes the frame, innermost frame first |
//! | [`LOAD_FRAME`] | `(function: i32) -> i32` | rewinding: opens the next frame, outermost first; the answer is its safe point, or [`OTHER_FUNCTION`] if that frame belongs to another function |
//! | [`LOAD_I32`] | `() -> i32` | rewinding: the next word of the open frame |
//! | [`LOAD_I64`] | `() -> i64` | rewinding: the next word of the open frame |
//! | [`LOAD_CALLEE`] | `() -> i32` | rewinding: the resume slot of the function that the *next* frame (not opened yet) belongs to |
//!
//! # Exports
//!
//! | export | kind | meaning |
//! |---|---|---|
//! | [`STATE`] | `global (mut i32)` | [`RUNNING`], [`UNWINDING`] or [`REWINDING`] |
//! | [`BUDGET`] | `global (mut i32)` | work left until the next poll; the host may set it to 0 to be polled at the next safe point |
//! | [`DEPTH`] | `global (mut i32)` | calls to imports now on the stack; the host sets it to 0 before an outermost call, since a trap leaves it as it was |
//! | [`START`] | `func ()` | only if the original has a start function: the host calls it after instantiation, but not before a resume |
//! | [`SAVE`] / [`LOAD`] | `func ()` | save and load the *instance words* (see below) |
//! | `MEMORY` + index | memory | every memory, imported ones too |
//! | `TABLE` + index | table | every table whose contents may change |
//! | `GLOBAL` + index | global | every mutable global of a reference type |
//! | [`FUNCTIONS`] | table of funcref | only if functions can be referenced and references must be identified: slot `i` holds the function with original index `function_refs[i]` |
//! | [`REFERENCES`] | table of funcref | only if a funcref is live at a safe point: scratch space for frames; emptied when the module runs again |
//!
//! # Unwinding
//!
//! [`POLL`] answers <= 0, or a suspending import sets [`STATE`] to [`UNWINDING`] and returns any
//! value (allowed only while [`DEPTH`] is 1, the import's own call). Every function then saves its
//! frame and returns zeros. When the outermost call returns to the host with the state
//! [`UNWINDING`], the frames are complete; the host sets the state back to [`RUNNING`], calls
//! [`SAVE`] and reads memories, tables and reference globals.
//!
//! # Rewinding
//!
//! In a fresh instance (its start function not run) the host fills memories, tables and reference
//! globals, calls [`LOAD`], sets [`BUDGET`] to 0 and [`STATE`] to [`REWINDING`] and calls the same
//! entry with zeros for its parameters. The innermost function sets the state to [`RUNNING`] and
//! goes on: at a loop header or a function entry with a call to [`POLL`], at an import that may
//! block by calling that import again.
//!
//! # Words of a frame
//!
//! A function has a list of [`Slot`]s. The words of a frame are those of the slots that the safe point's live set
//! names, in the order in which it names them. Rewinding, the function loads them in this order; unwinding, it saves
//! them from the last word to the first.
//!
//! Words by type: `i32` and `f32` (its bits) one [`SAVE_I32`]; `i64` and `f64` (its bits) one
//! [`SAVE_I64`]; `v128` two [`SAVE_I64`], low half first; `funcref` one [`SAVE_I32`]: the index of
//! an element of [`REFERENCES`] that holds it, or -1 for null.
//!
//! # Instance words
//!
//! They are, with the same encoding by type: every mutable global of a number or vector type
//! ([`Description::globals`], those without a reference type), then one `i32` per entry of
//! [`Description::data_drops`], then one per entry of [`Description::element_drops`] (1 dropped, 0 not). [`SAVE`]
//! sends them from the last to the first, without [`SAVE_FRAME`] at the end. [`LOAD`] asks for them in order and
//! drops the segments that were dropped.

mod description;
mod fingerprint;
mod profile;
pub use description::{
    DecodeError, Description, Function, GlobalState, SafePoint, SafePointKind, Slot, SlotOrigin,
    TableState, ValueType,
};
pub use fingerprint::{FINGERPRINT_BYTES, Fingerprint, Parts};
pub use profile::{Profile, ProfileError, Sample};

/// Version of this contract. A host refuses modules and snapshots of another version.
///
/// * 1: the first.
/// * 2: the description holds fingerprints, so that a state can be resumed in a patched module.
/// * 3: words are saved from the last to the first, so that frames that begin alike can share the code that saves
///   them; their order follows from how often a slot is live.
pub const ABI_VERSION: u32 = 3;

/// Name of the custom section that holds the encoded [`Description`].
pub const DESCRIPTION_SECTION: &str = "wasm_migrate";

/// Module name of all imports that migratizing adds.
pub const MODULE: &str = "wasm_migrate";
/// Import `poll (depth) -> budget`.
pub const POLL: &str = "poll";
/// Import `save_i32 (word)`.
pub const SAVE_I32: &str = "save_i32";
/// Import `save_i64 (word)`.
pub const SAVE_I64: &str = "save_i64";
/// Import `save_frame (function, safe_point)`.
pub const SAVE_FRAME: &str = "save_frame";
/// Import `load_frame (function) -> safe_point`.
pub const LOAD_FRAME: &str = "load_frame";
/// Import `load_i32 () -> word`.
pub const LOAD_I32: &str = "load_i32";
/// Import `load_i64 () -> word`.
pub const LOAD_I64: &str = "load_i64";
/// Import `load_callee () -> resume slot`.
pub const LOAD_CALLEE: &str = "load_callee";

/// Exported global: what the module is doing.
pub const STATE: &str = "wasm_migrate.state";
/// Exported global: work left until the next poll.
pub const BUDGET: &str = "wasm_migrate.budget";
/// Exported global: calls to imports on the stack.
pub const DEPTH: &str = "wasm_migrate.depth";
/// Exported function: the original start function.
pub const START: &str = "wasm_migrate.start";
/// Exported function: saves the instance words.
pub const SAVE: &str = "wasm_migrate.save";
/// Exported function: loads the instance words.
pub const LOAD: &str = "wasm_migrate.load";
/// Exported table: every function that can be referenced.
pub const FUNCTIONS: &str = "wasm_migrate.functions";
/// Exported table: function references of the frames being saved or loaded.
pub const REFERENCES: &str = "wasm_migrate.references";
/// Prefix of exported memories; the memory's index in decimal follows.
pub const MEMORY: &str = "wasm_migrate.memory.";
/// Prefix of exported tables; the table's index in decimal follows.
pub const TABLE: &str = "wasm_migrate.table.";
/// Prefix of exported reference globals; the global's index in decimal follows.
pub const GLOBAL: &str = "wasm_migrate.global.";

/// [`STATE`]: normal execution.
pub const RUNNING: i32 = 0;
/// [`STATE`]: frames are being saved.
pub const UNWINDING: i32 = 1;
/// [`STATE`]: frames are being rebuilt.
pub const REWINDING: i32 = 2;

/// Answer of [`LOAD_FRAME`]: the next frame belongs to another function (reached by a tail call).
pub const OTHER_FUNCTION: i32 = -1;
