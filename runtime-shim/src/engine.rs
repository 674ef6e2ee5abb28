//! What capture and restore need of a WebAssembly engine. Each engine is one adapter behind
//! [`Instance`]; nothing outside `engine/` and `wasi/` knows which engine runs the guest.

pub(crate) mod wasmtime;

use wasm_migrate_abi::ValueType;

use crate::error::{CaptureError, EngineError, ResumeError};
use crate::memory::MemorySize;
use crate::state::{TableContents, Value};

/// Size and limits of a memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryShape {
    pub(crate) size: MemorySize,
    pub(crate) pages_max: Option<u64>,
}

/// Type, size and limits of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableShape {
    pub(crate) element_type: Option<ValueType>,
    pub(crate) size: u64,
    pub(crate) size_max: Option<u64>,
}

/// A live instance of a migratized module that is not running. Indices are the original module's.
pub(crate) trait Instance {
    /// Has the module send its instance words.
    fn save_words(&mut self) -> Result<Vec<u64>, EngineError>;
    /// Has the module take its instance words.
    fn load_words(&mut self, words: Vec<u64>) -> Result<(), EngineError>;

    fn memory_shape(&mut self, memory: u32) -> Result<MemoryShape, EngineError>;
    fn memory_bytes(&mut self, memory: u32) -> Result<&mut [u8], EngineError>;
    fn grow_memory(&mut self, memory: u32, pages: u64) -> Result<(), EngineError>;

    fn table_shape(&mut self, table: u32) -> Result<TableShape, EngineError>;
    fn read_table(&mut self, table: u32) -> Result<TableContents, CaptureError>;
    /// Grows by null elements.
    fn grow_table(&mut self, table: u32, elements: u64) -> Result<(), EngineError>;
    fn write_table(&mut self, table: u32, contents: &TableContents) -> Result<(), ResumeError>;

    /// Reads a global of a reference type.
    fn read_global(&mut self, global: u32) -> Result<Value, CaptureError>;
    fn write_global(&mut self, global: u32, value: &Value) -> Result<(), ResumeError>;

    /// Functions in the scratch table of frames; empty if the module has none.
    fn read_references(&mut self) -> Result<Vec<Option<u32>>, CaptureError>;
    /// Puts functions into the scratch table, from its first element on.
    fn write_references(&mut self, functions: &[u32]) -> Result<(), ResumeError>;
    /// Can host references be restored?
    fn has_reference_codec(&self) -> bool;
}
