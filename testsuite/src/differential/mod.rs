//! Random modules, executed as they are, rewritten, and rewritten with stops and resumes.
//!
//! [`check`] is the whole test of one input; `scripts/differential` and the fuzz target both call
//! it. An input is what a fuzzer makes: [`generate`] turns it into a module, [`check_module`]
//! executes the module. Every execution calls the exports in order, makes a new instance after a
//! trap, and notes after every call what can be seen from outside: results, traps, globals,
//! memories, tables, and the calls of imports. All executions must show the same. Before that, the
//! [checker](crate::checker) must accept the rewritten module.

mod execute;
mod generate;
mod imports;
mod observe;
mod shape;

pub use generate::generate;

use std::sync::{Arc, OnceLock};

use wasmtime::{Engine, Module};

use crate::Way;
use crate::engine::{Watchdog, deterministic_engine, in_deep_thread};
use crate::subject::{NotPrepared, Program};
use execute::execute;
use shape::Shape;

/// Distances between stops that every module is tried with.
pub const DISTANCES: [u64; 5] = [1, 2, 3, 7, 29];

/// What came of one input.
#[derive(Debug, PartialEq, Eq)]
pub enum CheckOutcome {
    /// All executions agree.
    Passed {
        /// Stops and resumes in all executions together.
        stops: u64,
    },
    /// The module could not be compared.
    Skipped(String),
    /// Executions differ.
    Failed {
        /// The way that differs from the original.
        way: Way,
        /// The first difference.
        difference: String,
        /// The original module.
        wasm: Vec<u8>,
    },
}

impl CheckOutcome {
    /// Ends the process on a difference, as fuzzers want it.
    ///
    /// # Panics
    /// Executions differ.
    pub fn unwrap(self) {
        if let Self::Failed {
            way, difference, ..
        } = self
        {
            panic!("{way} differs from the original: {difference}");
        }
    }
}

/// Generates a module from fuzzer input and executes it in all ways.
///
/// # Panics
/// This machine cannot run the engine's configuration at all.
#[must_use]
pub fn check(input: &[u8]) -> CheckOutcome {
    match generate(input) {
        Some(wasm) => check_module(&wasm),
        None => CheckOutcome::Skipped("the input makes no module".to_owned()),
    }
}

/// Executes a module over the imports of this test in all ways.
///
/// # Panics
/// This machine cannot run the engine's configuration at all.
#[must_use]
pub fn check_module(wasm: &[u8]) -> CheckOutcome {
    in_deep_thread(|| compare_all_ways(wasm))
}

fn compare_all_ways(wasm: &[u8]) -> CheckOutcome {
    let engine = shared_engine();
    let original = match Module::new(engine, wasm) {
        Ok(module) => module,
        Err(error) => return CheckOutcome::Skipped(format!("wasmtime refuses it: {error}")),
    };
    let shape = Shape::new(&original, wasm);
    let oracle = match execute(
        engine,
        &Arc::new(Program::Original(original)),
        Way::Original,
        &shape,
    ) {
        Ok(run) => run.trace,
        Err(error) => {
            return CheckOutcome::Skipped(format!("the original does not run: {error:#}"));
        }
    };
    if oracle.exhausted_stack() {
        return CheckOutcome::Skipped("the original exhausts the stack".to_owned());
    }
    let failed = |way, difference| CheckOutcome::Failed {
        way,
        difference,
        wasm: wasm.to_vec(),
    };
    let program = match Program::new(engine, wasm, Way::Rewritten) {
        Ok(program) => Arc::new(program),
        Err(NotPrepared::Refused(construct)) => {
            let kind = construct.split(" (").next().unwrap_or(&construct);
            return CheckOutcome::Skipped(format!("refused: {kind}"));
        }
        Err(NotPrepared::Broken(message)) => return failed(Way::Rewritten, message),
        Err(NotPrepared::Engine(error)) => return failed(Way::Rewritten, format!("{error:#}")),
    };
    let mut stops = 0;
    for way in std::iter::once(Way::Rewritten).chain(DISTANCES.map(Way::Resumed)) {
        let run = match execute(engine, &program, way, &shape) {
            Ok(run) => run,
            Err(error) => return failed(way, format!("{error:#}")),
        };
        if let Some(difference) = oracle.difference(&run.trace) {
            return failed(way, difference);
        }
        stops += run.stops;
        if run.polls == 0 {
            // Nothing to stop at: all further ways would do the same.
            break;
        }
    }
    CheckOutcome::Passed { stops }
}

/// The engine of all checks, with a clock that ends with the process.
fn shared_engine() -> &'static Engine {
    static ENGINE: OnceLock<(Engine, Watchdog)> = OnceLock::new();
    let (engine, _) = ENGINE.get_or_init(|| {
        let engine = deterministic_engine().expect("wasmtime runs with its default features");
        let watchdog = Watchdog::start(&engine);
        (engine, watchdog)
    });
    engine
}
