//! The programs under `corpus/wat`, and those that `scripts/generate-wat` writes, in all ways. Each exports
//! `run`, and says in its first lines what is to come of it: `;; expect: 1 2` for results, `;; expect: trap
//! MESSAGE` for a trap. Adding a program needs no Rust.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use testsuite::Way;
use testsuite::engine::{Watchdog, deep_engine, in_deep_thread};
use testsuite::host::Host;
use testsuite::subject::{NotPrepared, Program, Solo, Store};
use wasmtime::{Engine, Instance, Linker, Module, Trap, Val};

const WAYS: [Way; 4] = [
    Way::Original,
    Way::Rewritten,
    Way::Resumed(1),
    Way::Resumed(1_013),
];
/// Generated programs are large: to stop at every poll would take minutes.
const WAYS_OF_LARGE: [Way; 3] = [Way::Original, Way::Rewritten, Way::Resumed(101)];

#[test]
fn every_program_does_the_same_in_all_ways() {
    in_deep_thread(|| check(Program::new, &modules(&corpus()), &WAYS));
}

#[test]
fn every_generated_program_does_the_same() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generated-wat");
    let generator = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/generate-wat");
    let status = Command::new(generator).arg(&directory).status();
    assert!(status.expect("python3 is installed").success());
    in_deep_thread(move || check(Program::unchecked, &modules(&directory), &WAYS_OF_LARGE));
}

type Prepare = fn(&Engine, &[u8], Way) -> Result<Program, NotPrepared>;

fn check(prepare: Prepare, programs: &[PathBuf], ways: &[Way]) {
    let engine = deep_engine().expect("the engine starts");
    let _watchdog = Watchdog::start(&engine);
    assert!(programs.len() >= 5, "only {} programs", programs.len());
    // At the shortest distance of stops, every program stops.
    let least = ways.iter().filter_map(|way| way.stops_every()).min();
    let mut failures = Vec::new();
    for path in programs {
        let text = std::fs::read_to_string(path).expect("a program can be read");
        let expected = text
            .lines()
            .find_map(|line| line.strip_prefix(";; expect: "));
        let expected = expected.unwrap_or_else(|| panic!("{} has no `;; expect:`", path.display()));
        let wasm =
            wat::parse_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for &way in ways {
            let (found, stops) = execute(prepare(&engine, &wasm, way), way);
            if found != expected {
                failures.push(format!(
                    "{} ({way}): expected {expected}, found {found}",
                    path.display()
                ));
            }
            if way.stops_every() == least && stops == 0 {
                failures.push(format!("{}: it never stops", path.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/wat")
}

/// Text modules in a directory.
fn modules(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the corpus is there");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let is_text = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "wat");
    let mut modules: Vec<PathBuf> = paths.filter(is_text).collect();
    modules.sort();
    modules
}

/// Runs a program; answers what came of it, in the words of `;; expect:`, and the number of stops.
fn execute(program: Result<Program, NotPrepared>, way: Way) -> (String, u64) {
    let program = match program {
        Ok(program) => Arc::new(program),
        Err(error) => return (format!("{error:?}"), 0),
    };
    let engine = program.module().engine().clone();
    let mut solo = match Solo::new(&engine, define_host, program, way, Host::default()) {
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
    for path in modules(&corpus().join("host")) {
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
