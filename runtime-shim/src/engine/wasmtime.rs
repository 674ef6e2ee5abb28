//! The adapter for wasmtime.
//!
//! [`Guest`] is a compiled module, [`GuestInstance`] a live instance. Methods that run the guest
//! return [`wasmtime::Result`], so that a trap or the error of a host function arrives as it would
//! from wasmtime itself; errors of this crate can be downcast from it.

mod adapter;
#[cfg(feature = "compile")]
mod compile;
mod hosted;
mod instance;
mod machine;
mod precompiled;
mod references;
mod suspend;

#[cfg(feature = "compile")]
pub use compile::CodeOptions;
pub use instance::{GuestInstance, Outcome};
pub use machine::Machine;
pub use precompiled::{CodeOrigin, Precompiled, PrecompiledError};
pub use references::ExternRefCodec;
pub use suspend::{SuspendPoint, suspend_point};

use std::sync::Arc;

use wasm_migrate_abi::{
    self as abi, ABI_VERSION, DecodeError, Description, LOAD_CALLEE, LOAD_FRAME, LOAD_I32,
    LOAD_I64, MEMORY, MODULE, OTHER_FUNCTION, POLL, SAVE_FRAME, SAVE_I32, SAVE_I64,
};
use wasmtime::{Caller, Extern, Linker, Memory, Module, StoreContext};

use crate::controller::Interruption;
use crate::dirty::LiveMemory;
use crate::error::EngineError;
use crate::live::Oversight;
use crate::memory::MemoryView;
use crate::migration::Migration;
use crate::names::Names;

/// Why a guest cannot be made or cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin like a WebAssembly binary.
    #[error("this is not a WebAssembly binary: it does not begin with `\\0asm`")]
    NotBinary,
    /// The bytes are no WebAssembly module.
    #[error("this is not a valid WebAssembly module")]
    NotWasm(#[source] wasmparser::BinaryReaderError),
    /// The module has no description.
    #[error(
        "the module is not migratized (it has no `{}` section): run `wasm-migratize in.wasm -o out.wasm` \
         on it and use the result",
        abi::DESCRIPTION_SECTION
    )]
    NotMigratized,
    /// The description cannot be used.
    #[error(transparent)]
    Description(DecodeError),
    /// The engine refuses the module or the imports.
    #[error("the engine refuses the module: {0}")]
    Engine(#[from] EngineError),
    /// Code that was compiled before is not for here.
    #[error(transparent)]
    Precompiled(#[from] PrecompiledError),
    /// The engine refuses code that was compiled before.
    #[error(
        "the code was made by another wasm-migrate, or with other settings ({0}): compile the module again, with \
         the wasm-migrate that fits this one"
    )]
    Code(EngineError),
    /// The engine cannot compile for a machine.
    #[error(
        "this wasm-migrate was built without a compiler for {machine} ({reason}): build it with \
         `--features all-architectures`"
    )]
    NoCompiler {
        /// The machine that was asked for.
        machine: Machine,
        /// What the engine says.
        reason: EngineError,
    },
    /// Something that the contract demands is missing.
    #[error(
        "the module does not export {what} `{name}`, which contract version {ABI_VERSION} demands: \
         migratize the original again"
    )]
    MissingExport {
        /// Kind of export.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such function to call.
    #[error("the module exports no function `{0}`")]
    NoEntry(String),
    /// The function takes a parameter that has no null value, so it cannot be called to resume.
    #[error(
        "the export `{0}` has a parameter without a default value: a stop inside it cannot be resumed"
    )]
    NoDefaultArguments(String),
    /// A stopped guest was called.
    #[error("the guest is stopped: resume it before calling it again")]
    Stopped,
    /// An instance was called into which a state was only partly put.
    #[error("a state could only partly be restored into this instance: make a new one")]
    Broken,
    /// A guest was called that is just being stopped.
    #[error("the guest is being stopped: a host function that suspends must return at once")]
    Unwinding,
    /// The engine's native stack cannot hold the snapshot's frames.
    #[error(
        "the snapshot has {frames} frames, and this engine's stack holds fewer: raise --stack-size \
         (in wasmtime, `Config::max_wasm_stack`)"
    )]
    StackTooSmall {
        /// Number of frames to be rebuilt.
        frames: usize,
    },
}

impl From<wasmtime::Error> for EngineError {
    fn from(error: wasmtime::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// A migratized module compiled for wasmtime, with its description. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Guest {
    module: Module,
    about: Arc<About>,
}

#[derive(Debug)]
struct About {
    digest: [u8; 32],
    description: Description,
    names: Names,
}

impl Guest {
    /// A compiled module with what it says about itself.
    fn from_parts(module: Module, wasm: &[u8], (description, names): (Description, Names)) -> Self {
        Self {
            module,
            about: Arc::new(About {
                digest: *blake3::hash(wasm).as_bytes(),
                description,
                names,
            }),
        }
    }

    /// The compiled module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// BLAKE3 digest of the module's bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.about.digest
    }

    /// What the module says about its functions and their frames.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.about.description
    }

    /// Names of the functions.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.about.names
    }

    /// Defines the imports that migratizing adds. `get` finds the guest's migration in the store's
    /// data; each instance needs one of its own.
    ///
    /// # Errors
    /// The linker has these names already and does not allow shadowing.
    pub fn add_to_linker<T: 'static>(
        linker: &mut Linker<T>,
        get: impl Fn(&mut T) -> &mut Migration + Copy + Send + Sync + 'static,
    ) -> Result<(), Error> {
        define_imports(linker, get).map_err(|error| EngineError::from(error).into())
    }
}

/// `i32` words are held zero-extended, so the casts below only change how bits are read.
fn define_imports<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut Migration + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        POLL,
        move |mut caller: Caller<'_, T>, depth: i32| {
            let migration = get(caller.data_mut());
            let answer = migration.poll(depth)?;
            migration.check()?;
            if let Some(watcher) = migration.watcher().cloned() {
                tell_places(&mut caller, &watcher);
            }
            Ok(answer)
        },
    )?;
    linker.func_wrap(
        MODULE,
        SAVE_I32,
        move |mut caller: Caller<'_, T>, word: u32| {
            Ok(get(caller.data_mut()).save_word(u64::from(word))?)
        },
    )?;
    linker.func_wrap(
        MODULE,
        SAVE_I64,
        move |mut caller: Caller<'_, T>, word: u64| Ok(get(caller.data_mut()).save_word(word)?),
    )?;
    let save_frame = move |mut caller: Caller<'_, T>, function: u32, safe_point: u32| {
        Ok(get(caller.data_mut()).save_frame(function, safe_point)?)
    };
    linker.func_wrap(MODULE, SAVE_FRAME, save_frame)?;
    linker.func_wrap(
        MODULE,
        LOAD_FRAME,
        move |mut caller: Caller<'_, T>, function: u32| {
            let safe_point = get(caller.data_mut()).load_frame(function)?;
            note_rebuilt(caller.data_mut(), get)?;
            Ok(safe_point.map_or(OTHER_FUNCTION, u32::cast_signed))
        },
    )?;
    linker.func_wrap(MODULE, LOAD_I32, move |mut caller: Caller<'_, T>| {
        let word = get(caller.data_mut()).load_word()?;
        note_rebuilt(caller.data_mut(), get)?;
        Ok(word as u32)
    })?;
    linker.func_wrap(MODULE, LOAD_I64, move |mut caller: Caller<'_, T>| {
        let word = get(caller.data_mut()).load_word()?;
        note_rebuilt(caller.data_mut(), get)?;
        Ok(word)
    })?;
    linker.func_wrap(MODULE, LOAD_CALLEE, move |mut caller: Caller<'_, T>| {
        Ok(get(caller.data_mut()).load_callee()?)
    })?;
    Ok(())
}

/// Does what is to be done once the stack is rebuilt, if it is.
fn note_rebuilt<T: 'static>(
    data: &mut T,
    get: impl Fn(&mut T) -> &mut Migration,
) -> Result<(), Interruption> {
    get(data).admit()?;
    if let Some(hook) = get(data).on_rebuilt() {
        hook.call(data);
    }
    Ok(())
}

/// Tells where the memories of the guest that polls lie.
fn tell_places<T: 'static>(caller: &mut Caller<'_, T>, watcher: &Oversight) {
    let mut places = Vec::new();
    while let Some(Extern::Memory(memory)) =
        caller.get_export(&numbered(MEMORY, places.len() as u32))
    {
        places.push(LiveMemory::new(&view(&memory, &*caller)));
    }
    watcher.set_places(places);
}

/// A memory where it lies.
fn view<'s, T: 'static>(memory: &Memory, store: impl Into<StoreContext<'s, T>>) -> MemoryView<'s> {
    let store = store.into();
    MemoryView {
        page_bytes: memory.page_size(&store),
        bytes: memory.data(store),
    }
}

fn numbered(prefix: &str, index: u32) -> String {
    format!("{prefix}{index}")
}
