//! wasmtime's part of capture and restore.

use wasm_migrate_abi::ValueType;
use wasmtime::{AsContextMut, Global, Memory, Ref, StoreContextMut, Table, Val, ValType};

use super::instance::GuestInstance;
use super::references::{FunctionTable, decode_external, encode_external};
use crate::engine::{Instance, MemoryShape, TableShape};
use crate::error::{CaptureError, EngineError, Place, ResumeError};
use crate::memory::MemorySize;
use crate::state::{TableContents, Value};

/// An instance together with its store.
pub(super) struct Adapter<'a, T: 'static> {
    pub(super) instance: &'a GuestInstance<T>,
    pub(super) store: StoreContextMut<'a, T>,
}

impl<T: 'static> Adapter<'_, T> {
    fn memory(&self, index: u32) -> Result<Memory, EngineError> {
        let memory = self.instance.exports.memories.get(index as usize).copied();
        memory.ok_or_else(|| missing("memory", index))
    }

    fn table(&self, index: u32) -> Result<Table, EngineError> {
        let tables = &self.instance.guest.description().tables;
        let place = tables.iter().position(|table| table.index == index);
        place
            .map(|place| self.instance.exports.tables[place])
            .ok_or_else(|| missing("table", index))
    }

    fn global(&self, index: u32) -> Result<Global, EngineError> {
        let globals = &self.instance.guest.description().globals;
        let place = globals.iter().position(|global| global.index == index);
        let global = place.and_then(|place| self.instance.exports.globals[place]);
        global.ok_or_else(|| missing("global", index))
    }

    fn read_function(
        &mut self,
        reference: &Ref,
        place: Place,
    ) -> Result<Option<u32>, CaptureError> {
        let functions = self.functions();
        functions.index_of(&mut self.store, reference, place)
    }

    fn read_external(
        &mut self,
        reference: &Ref,
        place: Place,
    ) -> Result<Option<Vec<u8>>, CaptureError> {
        let codec = self.instance.codec.as_deref();
        encode_external(codec, self.store.as_context_mut(), reference, place)
    }

    fn external(&mut self, bytes: Option<&[u8]>, place: Place) -> Result<Ref, ResumeError> {
        let codec = self.instance.codec.as_deref();
        decode_external(codec, self.store.as_context_mut(), bytes, place)
    }

    fn read_elements<E>(
        &mut self,
        table: u32,
        mut read: impl FnMut(&mut Self, &Ref, Place) -> Result<E, CaptureError>,
    ) -> Result<Vec<E>, CaptureError> {
        let handle = self.table(table)?;
        let mut elements = Vec::new();
        while let Some(reference) = handle.get(&mut self.store, elements.len() as u64) {
            let place = Place::Table {
                table,
                element: elements.len() as u64,
            };
            elements.push(read(self, &reference, place)?);
        }
        Ok(elements)
    }
}

impl<'a, T: 'static> Adapter<'a, T> {
    fn functions(&mut self) -> &'a FunctionTable {
        let instance = self.instance;
        instance
            .exports
            .function_table(&mut self.store, instance.guest.description())
    }
}

impl<T: 'static> Instance for Adapter<'_, T> {
    fn save_words(&mut self) -> Result<Vec<u64>, EngineError> {
        let instance = self.instance;
        (instance.get)(self.store.data_mut()).begin_save();
        let called = instance.exports.save.call(&mut self.store, ());
        let words = (instance.get)(self.store.data_mut()).finish_save();
        called?;
        Ok(words)
    }

    fn load_words(&mut self, words: Vec<u64>) -> Result<(), EngineError> {
        let instance = self.instance;
        (instance.get)(self.store.data_mut()).begin_load(words);
        let called = instance.exports.load.call(&mut self.store, ());
        let taken = (instance.get)(self.store.data_mut()).finish_load();
        called?;
        taken.map_err(|error| EngineError(error.to_string()))
    }

    fn memory_shape(&mut self, memory: u32) -> Result<MemoryShape, EngineError> {
        let memory = self.memory(memory)?;
        Ok(MemoryShape {
            size: MemorySize {
                page_bytes: memory.page_size(&self.store),
                pages: memory.size(&self.store),
            },
            pages_max: memory.ty(&self.store).maximum(),
        })
    }

    fn memory_bytes(&mut self, memory: u32) -> Result<&mut [u8], EngineError> {
        Ok(self.memory(memory)?.data_mut(&mut self.store))
    }

    fn grow_memory(&mut self, memory: u32, pages: u64) -> Result<(), EngineError> {
        let grown = self.memory(memory)?.grow(&mut self.store, pages);
        grown.map_err(|error| cannot_grow("memory", memory, pages, "pages", &error))?;
        Ok(())
    }

    fn table_shape(&mut self, table: u32) -> Result<TableShape, EngineError> {
        let table = self.table(table)?;
        let ty = table.ty(&self.store);
        let element_type = match ValType::Ref(ty.element().clone()) {
            ty if ty.matches(&ValType::FUNCREF) => Some(ValueType::FuncRef),
            ty if ty.matches(&ValType::EXTERNREF) => Some(ValueType::ExternRef),
            _ => None,
        };
        Ok(TableShape {
            element_type,
            size: table.size(&self.store),
            size_max: ty.maximum(),
        })
    }

    fn read_table(&mut self, table: u32) -> Result<TableContents, CaptureError> {
        Ok(match self.table_shape(table)?.element_type {
            Some(ValueType::ExternRef) => {
                TableContents::Externals(self.read_elements(table, Self::read_external)?)
            }
            _ => TableContents::Functions(self.read_elements(table, Self::read_function)?),
        })
    }

    fn grow_table(&mut self, index: u32, elements: u64) -> Result<(), EngineError> {
        let table = self.table(index)?;
        let null = Ref::null(table.ty(&self.store).element().heap_type());
        let grown = table.grow(&mut self.store, elements, null);
        grown.map_err(|error| cannot_grow("table", index, elements, "elements", &error))?;
        Ok(())
    }

    fn write_table(&mut self, table: u32, contents: &TableContents) -> Result<(), ResumeError> {
        let handle = self.table(table)?;
        for element in 0..contents.len() {
            let place = Place::Table { table, element };
            // The index is below the length of the list.
            let reference = match contents {
                TableContents::Functions(list) => {
                    self.functions().function(list[element as usize])?
                }
                TableContents::Externals(list) => {
                    self.external(list[element as usize].as_deref(), place)?
                }
            };
            handle
                .set(&mut self.store, element, reference)
                .map_err(EngineError::from)?;
        }
        Ok(())
    }

    fn read_global(&mut self, global: u32) -> Result<Value, CaptureError> {
        let place = Place::Global(global);
        match self.global(global)?.get(&mut self.store) {
            Val::FuncRef(func) => self
                .read_function(&Ref::Func(func), place)
                .map(Value::FuncRef),
            Val::ExternRef(external) => self
                .read_external(&Ref::Extern(external), place)
                .map(Value::ExternRef),
            _ => Err(EngineError(format!("global {global} holds no reference")).into()),
        }
    }

    fn write_global(&mut self, global: u32, value: &Value) -> Result<(), ResumeError> {
        let reference = match value {
            Value::FuncRef(function) => self.functions().function(*function)?,
            Value::ExternRef(bytes) => self.external(bytes.as_deref(), Place::Global(global))?,
            _ => return Err(EngineError(format!("global {global} holds references")).into()),
        };
        let global = self.global(global)?;
        Ok(global
            .set(&mut self.store, reference.into())
            .map_err(EngineError::from)?)
    }

    fn read_references(&mut self) -> Result<Vec<Option<u32>>, CaptureError> {
        let Some(table) = self.instance.exports.references else {
            return Ok(Vec::new());
        };
        let mut functions = Vec::new();
        while let Some(reference) = table.get(&mut self.store, functions.len() as u64) {
            let place = Place::Frame(functions.len() as u64);
            functions.push(self.read_function(&reference, place)?);
        }
        Ok(functions)
    }

    fn write_references(&mut self, functions: &[u32]) -> Result<(), ResumeError> {
        let Some(table) = self.instance.exports.references else {
            return Err(ResumeError::Mismatch(
                "the module has no references on its stack".to_owned(),
            ));
        };
        let size = table.size(&self.store);
        let needed = functions.len() as u64;
        if needed > size {
            let null = Ref::Func(None);
            table
                .grow(&mut self.store, needed - size, null)
                .map_err(EngineError::from)?;
        }
        for (place, function) in (0..).zip(functions) {
            let reference = self.functions().function(Some(*function))?;
            table
                .set(&mut self.store, place, reference)
                .map_err(EngineError::from)?;
        }
        Ok(())
    }

    fn has_reference_codec(&self) -> bool {
        self.instance.codec.is_some()
    }
}

fn cannot_grow(
    what: &str,
    index: u32,
    by: u64,
    unit: &str,
    error: &wasmtime::Error,
) -> EngineError {
    EngineError(format!(
        "{what} {index} cannot grow by {by} {unit} as it did before the stop ({error:#}): raise the limits of \
         the store, or of the engine's pool"
    ))
}

fn missing(what: &str, index: u32) -> EngineError {
    EngineError(format!("{what} {index} is not one of the module's"))
}
