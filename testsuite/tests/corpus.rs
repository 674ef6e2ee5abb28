//! The programs under `corpus/wat`, in all ways. Each exports `run`, and says in its first lines what
//! is to come of it: `;; expect: 1 2` for results, `;; expect: trap MESSAGE` for a trap. Adding a
//! program needs no Rust.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use testsuite::Way;
use testsuite::engine::{Watchdog, deep_engine, in_deep_thread};
use testsuite::host::Host;
use testsuite::subject::{Program, Solo, Store};
use wasmtime::{Engine, Instance, Linker, Module, Trap, Val};

const WAYS: [Way; 4] = [
    Way::Original,
    Way::Rewritten,
    Way::Resumed(1),
    Way::Resumed(1_013),
];

#[test]
fn every_program_does_the_same_in_all_ways() {
    in_deep_thread(check_all_programs);
}

fn check_all_programs() {
    let engine = deep_engine().expect("the engine starts");
    let _watchdog = Watchdog::start(&engine);
    let programs = modules("");
    assert!(programs.len() >= 10, "only {} programs", programs.len());
    let mut failures = Vec::new();
    for path in programs {
        let text = std::fs::read_to_string(&path).expect("a program can be read");
        let expected = text
            .lines()
            .find_map(|line| line.strip_prefix(";; expect: "));
        let expected = expected.unwrap_or_else(|| panic!("{} has no `;; expect:`", path.display()));
        let wasm =
            wat::parse_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for way in WAYS {
            let (found, stops) = execute(&engine, &wasm, way);
            if found != expected {
                failures.push(format!(
                    "{} ({way}): expected {expected}, found {found}",
                    path.display()
                ));
            }
            if way == Way::Resumed(1) && stops == 0 {
                failures.push(format!("{}: it never stops", path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Text modules in a directory under `corpus/wat`.
fn modules(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus/wat")
        .join(directory);
    let entries = std::fs::read_dir(&directory).expect("the corpus is there");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let is_text = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wat");
    let mut modules: Vec<PathBuf> = paths.filter(is_text).collect();
    modules.sort();
    modules
}

/// Runs a program; answers what came of it, in the words of `;; expect:`, and the number of stops.
fn execute(engine: &Engine, wasm: &[u8], way: Way) -> (String, u64) {
    let program = match Program::new(engine, wasm, way) {
        Ok(program) => Arc::new(program),
        Err(error) => return (format!("{error:?}"), 0),
    };
    let mut solo = match Solo::new(engine, define_host, program, way, Host::default()) {
        Ok(solo) => solo,
        Err(error) => return (ending(&error), 0),
    };
    let found = match solo.call("run", &[]) {
        Ok(values) => values.iter().map(show).collect::<Vec<_>>().join(" "),
        Err(error) => ending(&error),
    };
    (found, solo.stops())
}

/// What programs import from `host` is exported by the modules under `corpus/wat/host`.
fn define_host(linker: &mut Linker<Host>, store: &mut Store) -> wasmtime::Result<()> {
    for path in modules("host") {
        let wasm = wat::parse_file(&path).unwrap_or_else(|error| panic!("{error}"));
        let module = Module::new(linker.engine(), wasm)?;
        let instance = Instance::new(&mut *store, &module, &[])?;
        linker.instance(&mut *store, "host", instance)?;
    }
    Ok(())
}

fn ending(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string().replace("wasm trap: ", "trap "),
        None => format!("{error:#}"),
    }
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => f32::from_bits(*bits).to_string(),
        Val::F64(bits) => f64::from_bits(*bits).to_string(),
        other => format!("{other:?}"),
    }
}
