//! A live instance: calling it, stopping it, and going on.

use std::error::Error as StdError;
use std::sync::{Arc, OnceLock};

use wasm_migrate_abi::{
    self as abi, BUDGET, DEPTH, Description, FUNCTIONS, GLOBAL, MEMORY, REFERENCES, REWINDING,
    RUNNING, STATE, TABLE, UNWINDING,
};
use wasmtime::{
    AsContext, AsContextMut, Extern, Func, Global, Instance, Linker, Memory, RootScope, Store,
    StoreContextMut, Table, Trap, TypedFunc, Val,
};

use super::adapter::Adapter;
use super::hosted::GetStates;
use super::references::{ExternRefCodec, FunctionTable};
use super::{Error, Guest, numbered, view};
use crate::driver;
use crate::error::{CaptureError, ProtocolError, ResumeError};
use crate::memory::{Measured, MemoryContents, MemorySize, MemoryView};
use crate::migration::Migration;
use crate::stack::Rewind;
use crate::state::{Image, State};

/// How a call into a guest ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It returned these results.
    Finished(Vec<Val>),
    /// It was stopped at a safe point. [`GuestInstance::capture`] takes its state;
    /// [`GuestInstance::resume`] and [`GuestInstance::go_on`] let it go on.
    Suspended,
}

type GetMigration<T> = dyn Fn(&mut T) -> &mut Migration + Send + Sync;

/// A live instance of a [`Guest`]. It is a handle, cheap to clone: the store owns the instance.
pub struct GuestInstance<T: 'static> {
    pub(super) guest: Guest,
    pub(super) get: Arc<GetMigration<T>>,
    pub(super) codec: Option<Arc<dyn ExternRefCodec<T>>>,
    pub(super) states: Option<Arc<GetStates<T>>>,
    pub(super) exports: Arc<Exports>,
    instance: Instance,
}

/// The exports that the contract names.
pub(super) struct Exports {
    state: Global,
    budget: Global,
    depth: Global,
    pub(super) save: TypedFunc<(), ()>,
    pub(super) load: TypedFunc<(), ()>,
    pub(super) memories: Vec<Memory>,
    /// In the order of the description's tables.
    pub(super) tables: Vec<Table>,
    /// In the order of the description's globals; `None` for those that travel as words.
    pub(super) globals: Vec<Option<Global>>,
    functions: Option<Table>,
    pub(super) references: Option<Table>,
    /// Read when first needed.
    function_table: OnceLock<FunctionTable>,
}

impl<T: 'static> GuestInstance<T> {
    /// Instantiates a guest. `get` finds its migration in the store's data, as in
    /// [`Guest::add_to_linker`]. The original's start function is not run.
    ///
    /// # Errors
    /// An import is missing, an active segment traps, or the module breaks the contract.
    pub fn new(
        mut store: impl AsContextMut<Data = T>,
        linker: &Linker<T>,
        guest: &Guest,
        get: impl Fn(&mut T) -> &mut Migration + Send + Sync + 'static,
    ) -> wasmtime::Result<Self> {
        let instance = linker.instantiate(&mut store, guest.module())?;
        let exports = Exports::find(&mut store, &instance, guest.description())?;
        let budget = get(store.as_context_mut().data_mut()).budget();
        exports.budget.set(&mut store, Val::I32(budget))?;
        Ok(Self {
            guest: guest.clone(),
            get: Arc::new(get),
            codec: None,
            states: None,
            exports: Arc::new(exports),
            instance,
        })
    }

    /// Lets captures and resumes translate host references with `codec`.
    #[must_use]
    pub fn with_externref_codec(mut self, codec: impl ExternRefCodec<T> + 'static) -> Self {
        self.codec = Some(Arc::new(codec));
        self
    }

    /// The engine's instance.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The module.
    #[must_use]
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Runs the original's start function, if it has one. A new program needs this before its first
    /// call, a resumed one does not.
    ///
    /// # Errors
    /// A trap, or the error of a host function.
    pub fn start(&self, mut store: impl AsContextMut<Data = T>) -> wasmtime::Result<Outcome> {
        match self.instance.get_func(&mut store, abi::START) {
            Some(start) => self.run(store.as_context_mut(), &start, &[]),
            None => Ok(Outcome::Finished(Vec::new())),
        }
    }

    /// Calls an export. This may happen inside a host function that the guest itself called; such a
    /// call is never suspended.
    ///
    /// # Errors
    /// A trap, the error of a host function, or wrong arguments. The instance can be called again.
    pub fn call(
        &self,
        mut store: impl AsContextMut<Data = T>,
        entry: &str,
        arguments: &[Val],
    ) -> wasmtime::Result<Outcome> {
        let mut store = store.as_context_mut();
        let entry = self.entry(&mut store, entry)?;
        self.run(store, &entry, arguments)
    }

    /// Takes the whole state of the guest after a call of `entry` was suspended. The guest stays as it
    /// is and can go on here.
    ///
    /// # Errors
    /// A [`CaptureError`]: part of the state cannot be saved. The guest can still go on.
    pub fn capture(
        &self,
        mut store: impl AsContextMut<Data = T>,
        entry: &str,
    ) -> wasmtime::Result<State> {
        let image = self.capture_image(&mut store, entry)?;
        let views = self.memories(&store);
        Ok(image.with_memories(views.into_iter().map(MemoryContents::copy).collect()))
    }

    /// All memories where they lie, in index order.
    pub fn memories<'s>(&self, store: &'s impl AsContext<Data = T>) -> Vec<MemoryView<'s>> {
        let memories = self.exports.memories.iter();
        memories
            .map(|memory| view(memory, store.as_context()))
            .collect()
    }

    /// The bytes of one memory.
    pub(crate) fn memory_mut<'s>(
        &self,
        store: &'s mut Store<T>,
        memory: u32,
    ) -> Option<&'s mut [u8]> {
        let memory = self.exports.memories.get(memory as usize)?;
        Some(memory.data_mut(store))
    }

    /// Grows the memories to the sizes that a state has, if they can be grown so.
    pub(crate) fn grow_memories(
        &self,
        store: &mut Store<T>,
        sizes: &[MemorySize],
    ) -> Result<(), ResumeError> {
        let mut adapter = Adapter {
            instance: self,
            store: store.as_context_mut(),
        };
        driver::check_memories(&mut adapter, sizes)?;
        driver::grow_memories(&mut adapter, sizes)
    }

    /// Checks that a state can be restored here: all that [`GuestInstance::resume_with`] checks before its first
    /// write.
    ///
    /// # Errors
    /// A [`ResumeError`].
    pub fn check<M: Measured>(
        &self,
        mut store: impl AsContextMut<Data = T>,
        state: &State<M>,
    ) -> wasmtime::Result<()> {
        let mut store = store.as_context_mut();
        self.entry_again(&mut store, &state.entry)?;
        let mut scope = RootScope::new(&mut store);
        let mut adapter = Adapter {
            instance: self,
            store: scope.as_context_mut(),
        };
        let (description, names) = (self.guest.description(), self.guest.names());
        driver::check(&mut adapter, description, names, state)?;
        Ok(())
    }

    /// As [`GuestInstance::capture`], without memory contents. They can be read from
    /// [`GuestInstance::memories`] until the guest goes on.
    ///
    /// # Errors
    /// As for [`GuestInstance::capture`].
    pub fn capture_image(
        &self,
        mut store: impl AsContextMut<Data = T>,
        entry: &str,
    ) -> wasmtime::Result<Image> {
        let mut store = store.as_context_mut();
        let migration = self.migration(&mut store);
        // Held apart from the store while the engine is read.
        let stack = migration.take_stopped().ok_or(CaptureError::NotSuspended)?;
        let mut scope = RootScope::new(&mut store);
        let mut adapter = Adapter {
            instance: self,
            store: scope.as_context_mut(),
        };
        let (description, names) = (self.guest.description(), self.guest.names());
        let image = driver::capture(&mut adapter, description, names, &stack, entry);
        drop(scope);
        self.migration(&mut store).put_stopped(stack);
        Ok(image?)
    }

    /// Restores a state in a fresh instance, or in the one that it was captured from, and lets the
    /// guest go on.
    ///
    /// # Errors
    /// A [`ResumeError`] if the state does not fit; [`Error::StackTooSmall`] if this engine's stack
    /// cannot hold it; else as for [`GuestInstance::call`].
    pub fn resume(
        &self,
        store: impl AsContextMut<Data = T>,
        state: &State,
    ) -> wasmtime::Result<Outcome> {
        if let Some(index) = state
            .memories
            .iter()
            .position(|memory| !memory.is_consistent())
        {
            let what = format!("blocks of memory {index} lie outside it or out of order");
            return Err(ResumeError::Mismatch(what).into());
        }
        self.resume_with(store, state, |memory, target| {
            state.memories[memory].write_to(target);
            Ok(())
        })
    }

    /// As [`GuestInstance::resume`], with memory contents from elsewhere: `fill` makes the bytes of each memory,
    /// named by its index, what they were. If it fails, the instance cannot be used any more.
    ///
    /// # Errors
    /// As for [`GuestInstance::resume`], and [`ResumeError::Memory`] if `fill` fails.
    pub fn resume_with<M: Measured>(
        &self,
        mut store: impl AsContextMut<Data = T>,
        state: &State<M>,
        mut fill: impl FnMut(usize, &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>>,
    ) -> wasmtime::Result<Outcome> {
        let mut store = store.as_context_mut();
        if self.migration(&mut store).activations() > 0 {
            return Err(ResumeError::Running.into());
        }
        let description = self.guest.description();
        let (entry, arguments) = self.entry_again(&mut store, &state.entry)?;
        let mut scope = RootScope::new(&mut store);
        let mut adapter = Adapter {
            instance: self,
            store: scope.as_context_mut(),
        };
        let frames = driver::check(&mut adapter, description, self.guest.names(), state)?;
        let restored = driver::restore(&mut adapter, description, state, &frames, &mut fill);
        drop(scope);
        let migration = self.migration(&mut store);
        let rewind = match restored {
            Ok(stack) => stack.into_rewind(description)?,
            Err(error) => {
                migration.break_down();
                return Err(error.into());
            }
        };
        migration.take_stopped();
        self.rewind(store, &entry, &arguments, rewind)
    }

    /// Lets a guest whose call of `entry` was suspended go on in this instance. Nothing is restored but
    /// its stack; no capture is needed before.
    ///
    /// # Errors
    /// The guest is not stopped; else as for [`GuestInstance::call`].
    pub fn go_on(
        &self,
        mut store: impl AsContextMut<Data = T>,
        entry: &str,
    ) -> wasmtime::Result<Outcome> {
        let mut store = store.as_context_mut();
        let (entry, arguments) = self.entry_again(&mut store, entry)?;
        let stack = self
            .migration(&mut store)
            .take_stopped()
            .ok_or(CaptureError::NotSuspended)?;
        let rewind = stack.into_rewind(self.guest.description())?;
        self.rewind(store, &entry, &arguments, rewind)
    }

    fn entry(&self, store: &mut StoreContextMut<'_, T>, name: &str) -> Result<Func, Error> {
        let entry = self.instance.get_func(store, name);
        entry.ok_or_else(|| Error::NoEntry(name.to_owned()))
    }

    /// An entry, and the arguments with which it is called to rebuild its stack.
    fn entry_again(
        &self,
        store: &mut StoreContextMut<'_, T>,
        name: &str,
    ) -> Result<(Func, Vec<Val>), Error> {
        let entry = self.entry(store, name)?;
        let zeros: Option<Vec<Val>> = entry
            .ty(store)
            .params()
            .map(|param| Val::default_for_ty(&param))
            .collect();
        let zeros = zeros.ok_or_else(|| Error::NoDefaultArguments(name.to_owned()))?;
        Ok((entry, zeros))
    }

    fn rewind(
        &self,
        mut store: StoreContextMut<'_, T>,
        entry: &Func,
        arguments: &[Val],
        stack: Rewind,
    ) -> wasmtime::Result<Outcome> {
        self.migration(&mut store).begin_rewind(stack);
        self.exports.budget.set(&mut store, Val::I32(0))?;
        self.exports.depth.set(&mut store, Val::I32(0))?;
        self.exports.state.set(&mut store, Val::I32(REWINDING))?;
        self.enter(store, entry, arguments)
    }

    fn run(
        &self,
        mut store: StoreContextMut<'_, T>,
        entry: &Func,
        arguments: &[Val],
    ) -> wasmtime::Result<Outcome> {
        let migration = self.migration(&mut store);
        if migration.is_stopped() {
            return Err(Error::Stopped.into());
        }
        if migration.is_broken() {
            return Err(Error::Broken.into());
        }
        if migration.activations() == 0 {
            // A trap leaves both as they were.
            self.exports.depth.set(&mut store, Val::I32(0))?;
            self.exports.state.set(&mut store, Val::I32(RUNNING))?;
        } else if word(&mut store, &self.exports.state) != RUNNING {
            return Err(Error::Unwinding.into());
        }
        self.enter(store, entry, arguments)
    }

    fn enter(
        &self,
        mut store: StoreContextMut<'_, T>,
        entry: &Func,
        arguments: &[Val],
    ) -> wasmtime::Result<Outcome> {
        let depth = self.exports.depth.get(&mut store);
        let mut results = vec![Val::I32(0); entry.ty(&store).results().len()];
        let migration = self.migration(&mut store);
        let is_outermost = migration.activations() == 0;
        migration.enter();
        let called = entry.call(&mut store, arguments, &mut results);
        self.migration(&mut store).leave();
        let state = word(&mut store, &self.exports.state);
        if let Err(error) = called {
            self.exports.state.set(&mut store, Val::I32(RUNNING))?;
            self.exports.depth.set(&mut store, depth)?;
            return Err(if is_outermost {
                self.abandon(store, state, error)
            } else {
                error
            });
        }
        if state != RUNNING {
            self.exports.state.set(&mut store, Val::I32(RUNNING))?;
        }
        let migration = self.migration(&mut store);
        let ended = match state {
            UNWINDING => migration.finish_unwind().map(|()| Outcome::Suspended),
            RUNNING if is_outermost => migration
                .finish_rewind()
                .map(|()| Outcome::Finished(results)),
            RUNNING => Ok(Outcome::Finished(results)),
            _ => Err(ProtocolError::new(
                "it returned before its stack was rebuilt",
            )),
        };
        ended.map_err(|error| {
            migration.abandon();
            error.into()
        })
    }

    fn abandon(
        &self,
        mut store: StoreContextMut<'_, T>,
        state: i32,
        error: wasmtime::Error,
    ) -> wasmtime::Error {
        match self.migration(&mut store).abandon() {
            Some(frames)
                if state == REWINDING
                    && error.downcast_ref::<Trap>() == Some(&Trap::StackOverflow) =>
            {
                Error::StackTooSmall { frames }.into()
            }
            _ => error,
        }
    }

    /// The guest's migration in its store.
    pub(crate) fn migration_in<'s>(&self, store: &'s mut Store<T>) -> &'s mut Migration {
        (self.get)(store.data_mut())
    }

    pub(super) fn migration<'s>(&self, store: &'s mut StoreContextMut<'_, T>) -> &'s mut Migration {
        (self.get)(store.data_mut())
    }
}

impl<T: 'static> Clone for GuestInstance<T> {
    fn clone(&self) -> Self {
        Self {
            guest: self.guest.clone(),
            get: Arc::clone(&self.get),
            codec: self.codec.clone(),
            states: self.states.clone(),
            exports: Arc::clone(&self.exports),
            instance: self.instance,
        }
    }
}

impl Exports {
    fn find(
        mut store: impl AsContextMut,
        instance: &Instance,
        description: &Description,
    ) -> Result<Self, Error> {
        let mut find = Find {
            store: store.as_context_mut(),
            instance,
        };
        let tables = description
            .tables
            .iter()
            .map(|table| find.table(&numbered(TABLE, table.index)));
        let tables = tables.collect::<Result<_, _>>()?;
        let globals = description.globals.iter().map(|global| {
            let is_reference = driver::is_reference(global.value_type);
            is_reference
                .then(|| find.global(&numbered(GLOBAL, global.index)))
                .transpose()
        });
        let globals = globals.collect::<Result<_, _>>()?;
        let memories = (0..description.memories).map(|index| find.memory(&numbered(MEMORY, index)));
        let memories = memories.collect::<Result<_, _>>()?;
        let functions = match description.function_refs.is_empty() {
            true => None,
            false => Some(find.table(FUNCTIONS)?),
        };
        Ok(Self {
            state: find.word(STATE)?,
            budget: find.word(BUDGET)?,
            depth: find.word(DEPTH)?,
            save: find.helper(abi::SAVE)?,
            load: find.helper(abi::LOAD)?,
            memories,
            tables,
            globals,
            functions,
            references: find.table(REFERENCES).ok(),
            function_table: OnceLock::new(),
        })
    }

    /// The functions that references can name.
    pub(super) fn function_table(
        &self,
        store: impl AsContextMut,
        description: &Description,
    ) -> &FunctionTable {
        self.function_table.get_or_init(|| match &self.functions {
            Some(table) => FunctionTable::read(store, table, &description.function_refs),
            None => FunctionTable::default(),
        })
    }
}

/// Looks for the exports that the contract demands.
struct Find<'s, 'i, T: 'static> {
    store: StoreContextMut<'s, T>,
    instance: &'i Instance,
}

impl<T: 'static> Find<'_, '_, T> {
    fn export<E>(
        &mut self,
        what: &'static str,
        name: &str,
        into: fn(Extern) -> Option<E>,
    ) -> Result<E, Error> {
        let export = self
            .instance
            .get_export(&mut self.store, name)
            .and_then(into);
        export.ok_or_else(|| Error::MissingExport {
            what,
            name: name.to_owned(),
        })
    }

    fn global(&mut self, name: &str) -> Result<Global, Error> {
        self.export("the mutable global", name, Extern::into_global)
    }

    fn word(&mut self, name: &str) -> Result<Global, Error> {
        let global = self.global(name)?;
        let ty = global.ty(&self.store);
        match ty.content().is_i32() && ty.mutability() == wasmtime::Mutability::Var {
            true => Ok(global),
            false => Err(Error::MissingExport {
                what: "the mutable i32",
                name: name.to_owned(),
            }),
        }
    }

    fn memory(&mut self, name: &str) -> Result<Memory, Error> {
        self.export("the memory", name, Extern::into_memory)
    }

    fn table(&mut self, name: &str) -> Result<Table, Error> {
        self.export("the table", name, Extern::into_table)
    }

    fn helper(&mut self, name: &str) -> Result<TypedFunc<(), ()>, Error> {
        let missing = || Error::MissingExport {
            what: "the helper",
            name: name.to_owned(),
        };
        let func = self.export("the helper", name, Extern::into_func)?;
        func.typed(&self.store).map_err(|_| missing())
    }
}

/// Value of a global that is known to be an `i32`.
fn word(store: impl AsContextMut, global: &Global) -> i32 {
    global.get(store).i32().unwrap_or_default()
}
