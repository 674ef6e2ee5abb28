//! What can be seen of an execution from outside, in a form that does not depend on the store.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use wasm_migrate_abi as abi;
use wasmtime::{Error, Extern, ExternRef, Func, Ref, Result, Trap, Val};

use super::shape::Shape;
use crate::host::CallLog;
use crate::subject::{Live, Store};

/// Everything that happened, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    /// Calls and the states after them.
    pub(super) events: Vec<Event>,
}

/// One thing that can be seen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// An instance was made and its start function run.
    Instantiated(Option<Ending>),
    /// An export was called.
    Called {
        export: String,
        outcome: Result<Vec<Value>, Ending>,
    },
    /// A global's value.
    Global { export: String, value: Value },
    /// A memory's size in bytes and a digest of its contents.
    Memory {
        export: String,
        size: usize,
        digest: u64,
    },
    /// A table's elements.
    Table {
        export: String,
        elements: Vec<Value>,
    },
    /// All calls of imports so far.
    Imports(CallLog),
}

/// A value without a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// A number or vector: its bits.
    Bits(u128),
    /// A null of any type.
    Null,
    /// The function with this index in the original module.
    Function(u32),
    /// A function that the original module does not export.
    UnknownFunction,
    /// A host value.
    Extern(u32),
    /// A reference of a type that no generated module holds.
    Other,
}

/// How a call ended that did not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// A trap.
    Trap(Trap),
    /// Another error.
    Error(String),
}

impl Ending {
    /// Describes an error.
    #[must_use]
    pub(super) fn new(error: &Error) -> Self {
        match error.downcast_ref::<Trap>() {
            Some(trap) => Self::Trap(*trap),
            None => Self::Error(format!("{error:#}")),
        }
    }
}

impl Trace {
    /// Did the guest run out of stack anywhere? How deep it gets depends on the size of its frames.
    #[must_use]
    pub(super) fn exhausted_stack(&self) -> bool {
        self.events.iter().any(|event| match event {
            Event::Instantiated(Some(ending))
            | Event::Called {
                outcome: Err(ending),
                ..
            } => *ending == Ending::Trap(Trap::StackOverflow),
            _ => false,
        })
    }

    /// The first difference, in words.
    #[must_use]
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let at = (0..self.events.len().max(other.events.len()))
            .find(|&at| self.events.get(at) != other.events.get(at))?;
        let show = |trace: &Self| match trace.events.get(at) {
            Some(event) => format!("{event:?}"),
            None => "nothing more".to_owned(),
        };
        Some(format!(
            "event {at}: expected {}, found {}",
            show(self),
            show(other)
        ))
    }

    /// Adds the values of all exported globals, memories and tables, and the import calls.
    ///
    /// # Errors
    /// A reference that the store no longer knows.
    pub(super) fn observe_state(
        &mut self,
        store: &mut Store,
        live: &Live,
        shape: &Shape,
    ) -> Result<()> {
        let functions = Functions::new(store, live, shape);
        let instance = live.instance();
        for export in &shape.exports {
            match instance.get_export(&mut *store, export) {
                Some(Extern::Global(global)) => {
                    let value = global.get(&mut *store);
                    let value = functions.value(store, &value)?;
                    self.events.push(Event::Global {
                        export: export.clone(),
                        value,
                    });
                }
                Some(Extern::Memory(memory)) => {
                    let mut hasher = DefaultHasher::new();
                    hasher.write(memory.data(&*store));
                    let (size, digest) = (memory.data_size(&*store), hasher.finish());
                    self.events.push(Event::Memory {
                        export: export.clone(),
                        size,
                        digest,
                    });
                }
                Some(Extern::Table(table)) => {
                    let elements: Result<Vec<_>> = (0..table.size(&*store))
                        .filter_map(|at| table.get(&mut *store, at))
                        .collect::<Vec<_>>()
                        .into_iter()
                        .map(|element| functions.value(store, &from_ref(&element)))
                        .collect();
                    let (export, elements) = (export.clone(), elements?);
                    self.events.push(Event::Table { export, elements });
                }
                _ => {}
            }
        }
        self.events.push(Event::Imports(store.data().calls));
        Ok(())
    }

    /// Adds a call's outcome.
    ///
    /// # Errors
    /// A reference that the store no longer knows.
    pub(super) fn observe_call(
        &mut self,
        store: &mut Store,
        live: &Live,
        shape: &Shape,
        export: &str,
        outcome: &Result<Vec<Val>>,
    ) -> Result<()> {
        let outcome = match outcome {
            Ok(values) => {
                let functions = Functions::new(store, live, shape);
                let values: Result<Vec<_>> = values
                    .iter()
                    .map(|value| functions.value(store, value))
                    .collect();
                Ok(values?)
            }
            Err(error) => Err(Ending::new(error)),
        };
        self.events.push(Event::Called {
            export: export.to_owned(),
            outcome,
        });
        Ok(())
    }
}

fn from_ref(element: &Ref) -> Val {
    match element {
        Ref::Func(function) => Val::FuncRef(*function),
        Ref::Extern(value) => Val::ExternRef(*value),
        Ref::Any(value) => Val::AnyRef(*value),
        Ref::Exn(value) => Val::ExnRef(*value),
    }
}

/// Original function indices of an instance's functions, by the engine's address.
struct Functions(HashMap<usize, u32>);

impl Functions {
    fn new(store: &mut Store, live: &Live, shape: &Shape) -> Self {
        let mut indices = HashMap::new();
        let instance = live.instance();
        for (export, index) in &shape.functions {
            if let Some(function) = instance.get_func(&mut *store, export) {
                indices.insert(address(store, &function), *index);
            }
        }
        if let Some(description) = live.description()
            && let Some(table) = instance.get_table(&mut *store, abi::FUNCTIONS)
        {
            for (slot, &index) in (0_u64..).zip(&description.function_refs) {
                if let Some(Ref::Func(Some(function))) = table.get(&mut *store, slot) {
                    indices.insert(address(store, &function), index);
                }
            }
        }
        Self(indices)
    }

    fn value(&self, store: &mut Store, value: &Val) -> Result<Value> {
        Ok(match value {
            Val::I32(value) => Value::Bits(u128::from(*value as u32)),
            Val::I64(value) => Value::Bits(u128::from(*value as u64)),
            Val::F32(bits) => Value::Bits(u128::from(*bits)),
            Val::F64(bits) => Value::Bits(u128::from(*bits)),
            Val::V128(bits) => Value::Bits(bits.as_u128()),
            Val::FuncRef(Some(function)) => match self.0.get(&address(store, function)) {
                Some(index) => Value::Function(*index),
                None => Value::UnknownFunction,
            },
            Val::ExternRef(Some(value)) => {
                let data = ExternRef::data(value, &*store)?;
                match data.and_then(|data| data.downcast_ref::<u32>()) {
                    Some(value) => Value::Extern(*value),
                    None => Value::Other,
                }
            }
            Val::FuncRef(None) | Val::ExternRef(None) => Value::Null,
            _ => Value::Other,
        })
    }
}

fn address(store: &mut Store, function: &Func) -> usize {
    function.to_raw(store) as usize
}
