//! The `name` and `producers` sections.

use std::collections::BTreeMap;

use wasm_encoder::{IndirectNameMap, NameMap, NameSection, ProducersField, ProducersSection};
use wasm_migrate_abi as abi;
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
    let mut names = BTreeMap::new();
    for naming in map {
        let naming = naming?;
        let index = plan.exported_function(naming.index);
        names.insert(index, naming.name.to_owned());
    }
    let helpers = &plan.helpers;
    let mut helper = |index, name: String| names.insert(index, format!("{}.{name}", abi::MODULE));
    helper(helpers.check, "check".to_owned());
    helper(helpers.arrive, "arrive".to_owned());
    helper(helpers.open, "open".to_owned());
    helper(helpers.close, "close".to_owned());
    for (count, &index) in (1..).zip(&helpers.park_i32s) {
        helper(index, format!("park_i32x{count}"));
    }
    for (what, functions) in [("save", &helpers.save), ("load", &helpers.load)] {
        for (value_type, functions) in functions {
            for (count, &index) in (1..).zip(functions) {
                helper(index, format!("{what}_{value_type}x{count}"));
            }
        }
    }
    let optional = [
        (helpers.save_v128, "save_v128"),
        (helpers.load_v128, "load_v128"),
        (helpers.save_reference, "save_reference"),
        (helpers.load_reference, "load_reference"),
    ];
    for (index, name) in optional {
        if let Some(index) = index {
            helper(index, name.to_owned());
        }
    }
    for (number, &index) in helpers.resume.values().enumerate() {
        helper(index, format!("resume.{number}"));
    }
    for (number, &index) in helpers.resume_parts.values().flatten().enumerate() {
        helper(index, format!("resume_part.{number}"));
    }
    helper(helpers.save_instance, "save".to_owned());
    helper(helpers.load_instance, "load".to_owned());
    for (&import, &wrapper) in &helpers.wrappers {
        let import = &module.function_imports[import as usize];
        helper(wrapper, format!("import.{}.{}", import.module, import.name));
    }
    let mut map = NameMap::new();
    for (index, name) in names {
        map.append(index, &name);
    }
    Ok(map)
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
