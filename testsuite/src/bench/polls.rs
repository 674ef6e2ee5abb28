//! Inserts polls that look at a flag into any module, so that Asyncify, which can stop a program only in calls
//! to imports, stops it wherever a migratized program can be stopped:
//!
//! ```text
//! loop                 loop
//!   ...                  global.get $flag
//! end                    if
//!                          call $poll      ;; an import
//!                        end
//!                        ...
//!                      end
//! ```
//!
//! At the heads of all loops, and at the entries of all functions on cycles of the call graph, as found by type for
//! indirect calls. Nothing else is changed. Cheap while the flag is 0: no call, and one predicted branch. Modules with
//! recursion groups of types (GC) are not handled.

use std::collections::{BTreeSet, HashMap, HashSet};

use anyhow::{Context, bail};
use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;
use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function,
    GlobalSection, GlobalType, ImportSection, Instruction, Module, SectionId, TypeSection, ValType,
};
use wasmparser::{ElementItems, FuncType, FunctionBody, Operator, Parser, Payload, TypeRef};

use super::{POLL_IMPORT, POLL_MODULE};

/// Export of the flag, which a host sets to have the polls call.
const FLAG_EXPORT: &str = "inserted.flag";

/// The module with polls inserted.
///
/// # Errors
/// It is malformed, or has no types or imports (a WASI program has both), or uses what is not handled.
pub fn insert_polls(wasm: &[u8]) -> anyhow::Result<Vec<u8>> {
    let shape = Shape::of(wasm)?;
    if shape.types.is_empty() || !shape.has_imports {
        bail!("the module has no types or no imports: polls are inserted into WASI programs");
    }
    let mut inserter = Inserter {
        recursive: shape.on_cycles(),
        imported_functions: shape.imported_functions,
        poll_type: count(shape.types.len())?,
        flag: shape.globals,
        next_function: shape.imported_functions,
        has_globals: shape.has_globals,
    };
    let mut module = Module::new();
    inserter
        .parse_core_module(&mut module, Parser::new(0), wasm)
        .map_err(|error| anyhow::anyhow!("cannot insert polls: {error}"))?;
    let output = module.finish();
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&output)
        .context("the module with polls is not valid")?;
    Ok(output)
}

/// What has to be known of a module before polls can be inserted.
#[derive(Default)]
struct Shape {
    types: Vec<FuncType>,
    /// Type of every function, imported ones first.
    functions: Vec<u32>,
    imported_functions: u32,
    globals: u32,
    has_imports: bool,
    has_globals: bool,
    /// Functions that a table or a reference may hold.
    referenced: BTreeSet<u32>,
    calls: Vec<Calls>,
}

/// Whom a function calls.
#[derive(Default)]
struct Calls {
    functions: BTreeSet<u32>,
    /// Types of indirect calls.
    types: BTreeSet<u32>,
}

impl Shape {
    fn of(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut shape = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        shape.types.push(ty?);
                    }
                }
                Payload::ImportSection(section) => {
                    shape.has_imports = true;
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(ty) => {
                                shape.functions.push(ty);
                                shape.imported_functions += 1;
                            }
                            TypeRef::Global(_) => shape.globals += 1,
                            _ => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        shape.functions.push(ty?);
                    }
                }
                Payload::GlobalSection(section) => {
                    shape.has_globals = true;
                    shape.globals += section.count();
                    for global in section {
                        shape.note_references(global?.init_expr.get_operators_reader())?;
                    }
                }
                Payload::ElementSection(section) => {
                    for element in section {
                        match element?.items {
                            ElementItems::Functions(functions) => {
                                for function in functions {
                                    shape.referenced.insert(function?);
                                }
                            }
                            ElementItems::Expressions(_, expressions) => {
                                for expression in expressions {
                                    shape.note_references(expression?.get_operators_reader())?;
                                }
                            }
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => shape.note_calls(&body)?,
                _ => {}
            }
        }
        Ok(shape)
    }

    fn note_references(
        &mut self,
        operators: wasmparser::OperatorsReader<'_>,
    ) -> anyhow::Result<()> {
        for operator in operators {
            if let Operator::RefFunc { function_index } = operator? {
                self.referenced.insert(function_index);
            }
        }
        Ok(())
    }

    fn note_calls(&mut self, body: &FunctionBody<'_>) -> anyhow::Result<()> {
        let mut calls = Calls::default();
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    calls.functions.insert(function_index);
                }
                Operator::CallIndirect { type_index, .. }
                | Operator::ReturnCallIndirect { type_index, .. } => {
                    calls.types.insert(type_index);
                }
                Operator::RefFunc { function_index } => {
                    self.referenced.insert(function_index);
                }
                _ => {}
            }
        }
        self.calls.push(calls);
        Ok(())
    }

    /// The functions on cycles of the call graph. Types are nodes too, between those who call by them and those who
    /// may be called.
    fn on_cycles(&self) -> HashSet<u32> {
        let mut graph = DiGraph::<Option<u32>, ()>::new();
        let functions: Vec<_> = (0..).zip(&self.functions).collect();
        let nodes: Vec<_> = functions
            .iter()
            .map(|&(function, _)| graph.add_node(Some(function)))
            .collect();
        let mut types = HashMap::new();
        for &ty in self.calls.iter().flat_map(|calls| &calls.types) {
            if let Some(ty) = self.types.get(ty as usize) {
                types.entry(ty).or_insert_with(|| graph.add_node(None));
            }
        }
        for &(function, &ty) in &functions {
            let called_by = self.types.get(ty as usize).and_then(|ty| types.get(ty));
            if let Some(&called_by) = called_by
                && self.referenced.contains(&function)
            {
                graph.add_edge(called_by, nodes[function as usize], ());
            }
        }
        for (calls, &caller) in self
            .calls
            .iter()
            .zip(&nodes[self.imported_functions as usize..])
        {
            for &callee in &calls.functions {
                graph.add_edge(caller, nodes[callee as usize], ());
            }
            for &ty in &calls.types {
                if let Some(&ty) = self.types.get(ty as usize).and_then(|ty| types.get(ty)) {
                    graph.add_edge(caller, ty, ());
                }
            }
        }
        let components = tarjan_scc(&graph);
        let cyclic = components.into_iter().filter(|component| {
            component.len() > 1 || graph.contains_edge(component[0], component[0])
        });
        cyclic.flatten().filter_map(|node| graph[node]).collect()
    }
}

/// Copies a module and inserts polls on the way. The import comes behind all others, the flag behind all globals.
struct Inserter {
    recursive: HashSet<u32>,
    imported_functions: u32,
    poll_type: u32,
    flag: u32,
    /// Original index of the function whose body comes next.
    next_function: u32,
    has_globals: bool,
}

type Result<T> = std::result::Result<T, reencode::Error>;

impl Inserter {
    fn poll(&self, function: &mut Function) {
        function
            .instruction(&Instruction::GlobalGet(self.flag))
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&Instruction::Call(self.imported_functions))
            .instruction(&Instruction::End);
    }
}

fn add_flag(globals: &mut GlobalSection) {
    let ty = GlobalType {
        val_type: ValType::I32,
        mutable: true,
        shared: false,
    };
    globals.global(ty, &ConstExpr::i32_const(0));
}

impl Reencode for Inserter {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32> {
        Ok(function + u32::from(function >= self.imported_functions))
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_import_section(self, imports, section)?;
        imports.import(
            POLL_MODULE,
            POLL_IMPORT,
            EntityType::Function(self.poll_type),
        );
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_global_section(self, globals, section)?;
        add_flag(globals);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: wasmparser::ExportSectionReader<'_>,
    ) -> Result<()> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(FLAG_EXPORT, ExportKind::Global, self.flag);
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<()> {
        let is_behind_globals = matches!(
            before,
            None | Some(
                SectionId::Export
                    | SectionId::Start
                    | SectionId::Element
                    | SectionId::DataCount
                    | SectionId::Code
                    | SectionId::Data
            )
        );
        if is_behind_globals && !self.has_globals {
            self.has_globals = true;
            let mut globals = GlobalSection::new();
            add_flag(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<()> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        if self.recursive.contains(&self.next_function) {
            self.poll(&mut function);
        }
        self.next_function += 1;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let instruction = self.parse_instruction(&mut reader)?;
            function.instruction(&instruction);
            if matches!(instruction, Instruction::Loop(_)) {
                self.poll(&mut function);
            }
        }
        code.function(&function);
        Ok(())
    }

    /// Names are not needed, and would be those of other functions.
    fn parse_custom_section(
        &mut self,
        _module: &mut Module,
        _section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<()> {
        Ok(())
    }
}

fn count(size: usize) -> anyhow::Result<u32> {
    u32::try_from(size).context("too many types")
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Linker, Module, Store, Val};

    use super::{FLAG_EXPORT, insert_polls};
    use crate::bench::{POLL_IMPORT, POLL_MODULE};

    /// A loop of 10 rounds, direct and indirect recursion 5 deep, and functions on no cycle.
    const PROGRAM: &str = r#"
    (module
      (import "host" "log" (func $log (param i32)))
      (type $step (func (param i32) (result i32)))
      (table funcref (elem $indirect $straight))
      (func (export "loop") (param i32) (result i32)
        (call $log (call $straight (i32.const 7)))
        (loop $again
          (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 0))
      (func $direct (export "direct") (param i32) (result i32)
        (if (result i32) (local.get 0)
          (then (i32.add (i32.const 1) (call $direct (i32.sub (local.get 0) (i32.const 1)))))
          (else (i32.const 0))))
      (func $indirect (export "indirect") (type $step)
        (if (result i32) (local.get 0)
          (then
            (call_indirect (type $step) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
          (else (i32.const 42))))
      (func $straight (param i32) (result i32) (local.get 0)))
    "#;

    struct Ran {
        result: i32,
        polls: u32,
    }

    fn run(entry: &str, argument: i32, flag: i32) -> Ran {
        let wasm = insert_polls(&wat::parse_str(PROGRAM).expect("the text is right"))
            .expect("it is handled");
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).expect("it is valid");
        let mut linker = Linker::new(&engine);
        let poll = |mut caller: wasmtime::Caller<'_, u32>| *caller.data_mut() += 1;
        linker
            .func_wrap(POLL_MODULE, POLL_IMPORT, poll)
            .expect("defined once");
        linker
            .func_wrap("host", "log", |value: i32| assert_eq!(value, 7))
            .expect("defined once");
        let mut store = Store::new(&engine, 0);
        let instance: Instance = linker
            .instantiate(&mut store, &module)
            .expect("it has its imports");
        let global = instance
            .get_global(&mut store, FLAG_EXPORT)
            .expect("it is exported");
        global
            .set(&mut store, Val::I32(flag))
            .expect("it is mutable");
        let entry = instance
            .get_typed_func::<i32, i32>(&mut store, entry)
            .expect("it is there");
        let result = entry.call(&mut store, argument).expect("it ends");
        Ran {
            result,
            polls: *store.data(),
        }
    }

    #[test]
    fn every_round_and_every_recursive_entry_polls() {
        for (entry, argument, result, polls) in [
            ("loop", 10, 0, 10),
            ("direct", 5, 5, 6),
            ("indirect", 5, 42, 6),
        ] {
            let ran = run(entry, argument, 1);
            assert_eq!((ran.result, ran.polls), (result, polls), "{entry}");
        }
    }

    #[test]
    fn without_the_flag_nothing_is_called() {
        let ran = run("loop", 10, 0);
        assert_eq!((ran.result, ran.polls), (0, 0));
    }
}
