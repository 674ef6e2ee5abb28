//! The `name` and `producers` sections.

use wasm_encoder::{IndirectNameMap, NameMap, NameSection, ProducersField, ProducersSection};
use wasmparser::{Name, NameSectionReader, ProducersSectionReader};

use crate::module::Module;
use crate::plan::Plan;

/// The name section with the new function indices, and names for the functions that were added. Label
/// names are left out: blocks have moved.
pub(crate) fn names(
    reader: NameSectionReader<'_>,
    module: &Module<'_>,
    plan: &Plan,
) -> wasmparser::Result<NameSection> {
    let mut names = NameSection::new();
    for subsection in reader {
        match subsection? {
            Name::Module { name, .. } => names.module(name),
            Name::Function(map) => names.functions(&function_names(map, module, plan)?),
            Name::Local(map) => {
                let mut locals = IndirectNameMap::new();
                for function in map {
                    let function = function?;
                    let index = plan.exported_function(function.index);
                    locals.append(index, &name_map(function.names)?);
                }
                names.locals(&locals);
            }
            Name::Type(map) => names.types(&name_map(map)?),
            Name::Table(map) => names.tables(&name_map(map)?),
            Name::Memory(map) => names.memories(&name_map(map)?),
            Name::Global(map) => names.globals(&name_map(map)?),
            Name::Element(map) => names.elements(&name_map(map)?),
            Name::Data(map) => names.data(&name_map(map)?),
            _ => {}
        }
    }
    Ok(names)
}

fn name_map(map: wasmparser::NameMap<'_>) -> wasmparser::Result<NameMap> {
    let mut names = NameMap::new();
    for naming in map {
        let naming = naming?;
        names.append(naming.index, naming.name);
    }
    Ok(names)
}

fn function_names(
    map: wasmparser::NameMap<'_>,
    module: &Module<'_>,
    plan: &Plan,
) -> wasmparser::Result<NameMap> {
    let mut names = NameMap::new();
    for naming in map {
        let naming = naming?;
        names.append(plan.exported_function(naming.index), naming.name);
    }
    let helpers = &plan.helpers;
    for (&import, &wrapper) in &helpers.wrappers {
        let import = &module.function_imports[import as usize];
        names.append(
            wrapper,
            &format!("wasm_migrate.import.{}.{}", import.module, import.name),
        );
    }
    names.append(helpers.poll, "wasm_migrate.check");
    names.append(helpers.arrive, "wasm_migrate.arrive");
    let optional = [
        (helpers.save_v128, "wasm_migrate.save_v128"),
        (helpers.load_v128, "wasm_migrate.load_v128"),
        (helpers.save_reference, "wasm_migrate.save_reference"),
        (helpers.load_reference, "wasm_migrate.load_reference"),
    ];
    for (index, name) in optional {
        if let Some(index) = index {
            names.append(index, name);
        }
    }
    for (number, &index) in helpers.resume.values().enumerate() {
        names.append(index, &format!("wasm_migrate.resume.{number}"));
    }
    names.append(helpers.save, wasm_migrate_abi::SAVE);
    names.append(helpers.load, wasm_migrate_abi::LOAD);
    Ok(names)
}

/// The producers section with an entry for this tool. One that cannot be read is made anew.
pub(crate) fn producers(reader: Option<ProducersSectionReader<'_>>) -> ProducersSection {
    let mut section = ProducersSection::new();
    let mut processed_by = ProducersField::new();
    for field in reader.into_iter().flatten().map_while(Result::ok) {
        let mut values = ProducersField::new();
        for value in field.values.into_iter().map_while(Result::ok) {
            if field.name == "processed-by" {
                if value.name != env!("CARGO_PKG_NAME") {
                    processed_by.value(value.name, value.version);
                }
            } else {
                values.value(value.name, value.version);
            }
        }
        if field.name != "processed-by" {
            section.field(field.name, &values);
        }
    }
    processed_by.value(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    section.field("processed-by", &processed_by);
    section
}
