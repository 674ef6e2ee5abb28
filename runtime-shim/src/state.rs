//! The whole state of a stopped guest as typed values, independent of any engine.

use wasm_migrate_abi::ValueType;

use crate::fit::Requirements;
use crate::memory::{MemoryContents, MemorySize};

/// The whole state of a stopped guest. Indices are those of the original module. `M` is what there is of a
/// memory: its contents, a view of them in the instance, or its size alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State<M = MemoryContents> {
    /// BLAKE3 digest of the original module.
    pub original_digest: [u8; 32],
    /// What a module must be like to go on with this state.
    pub requirements: Requirements,
    /// Export that the host called and that is on the stack.
    pub entry: String,
    /// The call stack, outermost frame first.
    pub frames: Vec<Frame>,
    /// Mutable globals, in the order of [`wasm_migrate_abi::Description::globals`].
    pub globals: Vec<Value>,
    /// Which of [`wasm_migrate_abi::Description::data_drops`] are dropped.
    pub data_drops: Vec<bool>,
    /// Which of [`wasm_migrate_abi::Description::element_drops`] are dropped.
    pub element_drops: Vec<bool>,
    /// Tables, in the order of [`wasm_migrate_abi::Description::tables`].
    pub tables: Vec<TableContents>,
    /// All memories, in index order.
    pub memories: Vec<M>,
}

/// A state without the contents of its memories: small, and all that must stand still while it is taken.
pub type Image = State<MemorySize>;

impl<M> State<M> {
    /// The same state with other memories.
    #[must_use]
    pub fn with_memories<N>(self, memories: Vec<N>) -> State<N> {
        // Destructured without `..`: a new field must be taken along.
        let Self {
            original_digest,
            requirements,
            entry,
            frames,
            globals,
            data_drops,
            element_drops,
            tables,
            memories: _,
        } = self;
        State {
            original_digest,
            requirements,
            entry,
            frames,
            globals,
            data_drops,
            element_drops,
            tables,
            memories,
        }
    }
}

/// One activation of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Function index.
    pub function: u32,
    /// Index into the function's safe points.
    pub safe_point: u32,
    /// The values live there, in the order of the safe point's live slots.
    pub values: Vec<Value>,
}

/// A typed value. Floats are held as their bits, so equality is equality of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// 32-bit integer.
    I32(i32),
    /// 64-bit integer.
    I64(i64),
    /// Bits of a 32-bit float.
    F32(u32),
    /// Bits of a 64-bit float.
    F64(u64),
    /// 128-bit vector.
    V128(u128),
    /// Index of the referenced function, or null.
    FuncRef(Option<u32>),
    /// A host reference as its embedder encodes it, or null.
    ExternRef(Option<Vec<u8>>),
}

impl Value {
    /// The value's type.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::I32(_) => ValueType::I32,
            Self::I64(_) => ValueType::I64,
            Self::F32(_) => ValueType::F32,
            Self::F64(_) => ValueType::F64,
            Self::V128(_) => ValueType::V128,
            Self::FuncRef(_) => ValueType::FuncRef,
            Self::ExternRef(_) => ValueType::ExternRef,
        }
    }
}

/// Elements of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableContents {
    /// Function indices, or null.
    Functions(Vec<Option<u32>>),
    /// Host references as their embedder encodes them, or null.
    Externals(Vec<Option<Vec<u8>>>),
}

impl TableContents {
    /// Type of the elements.
    #[must_use]
    pub fn element_type(&self) -> ValueType {
        match self {
            Self::Functions(_) => ValueType::FuncRef,
            Self::Externals(_) => ValueType::ExternRef,
        }
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Functions(elements) => elements.len() as u64,
            Self::Externals(elements) => elements.len() as u64,
        }
    }

    /// Has the table no elements?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
