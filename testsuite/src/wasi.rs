//! The conformance set for WASI preview 1: small programs that check every function, its errors included.
//!
//! Each program of `corpus/wasi` checks by itself and ends with the status that its settings name. It is run in
//! several [`Mode`]s, which must all end alike and leave the same files behind:
//!
//! ```text
//! program.c, program.wat --case--> settings, module
//!                                     |
//!       as it is; rewritten; moved at every poll, at every host call, to other directories, at any time
//!       (guest), or in other processes (process); and on another runtime (process), the oracle
//! ```
//!
//! Moving means: the whole state as the bytes of a snapshot, everything else dropped, a new instance and a new
//! WASI context out of the bytes.

mod case;
mod guest;
mod interpose;
mod mode;
mod process;
mod table;
mod world;

pub use case::{Case, Settings};
pub use mode::Mode;
pub use table::{Table, differences, in_document};

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use wasmtime::Engine;

/// Characters of standard error that are told of a run.
const SAID_MAX: usize = 4_000;

/// What the modes need.
#[derive(Debug)]
pub struct Tools {
    /// The engine of guests in this process.
    pub engine: Engine,
    /// `wasm-migrate`, for the mode of several processes.
    pub command: Option<PathBuf>,
    /// wasmtime's command, the oracle.
    pub oracle: Option<PathBuf>,
}

/// What came of a case in a mode.
#[derive(Debug)]
pub enum Outcome {
    /// All is as it should be.
    Passed {
        /// How often the program was moved.
        stops: u64,
        /// Functions of WASI that it called, if they were watched.
        called: BTreeSet<String>,
    },
    /// Something is not, in these words.
    Failed(String),
    /// The case is not for this mode, for this reason.
    Skipped(String),
}

/// What can be seen of a run.
#[derive(Debug)]
struct Run {
    ending: Ending,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tree: world::Tree,
    stops: u64,
    called: BTreeSet<String>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Status(i32),
    Failed(String),
}

/// Runs a case in a mode.
///
/// # Errors
/// The surroundings fail: no room, a command that cannot be started.
pub fn check(tools: &Tools, case: &Case, mode: Mode) -> Result<Outcome> {
    if let Some(reason) = mode.unfit(tools, &case.settings) {
        return Ok(Outcome::Skipped(reason));
    }
    let runs = match mode {
        Mode::Oracle => process::oracle(tools, case),
        Mode::Processes => process::moved(tools, case),
        _ => guest::run(&tools.engine, case, mode).map(|run| vec![run]),
    };
    let runs = runs.with_context(|| format!("running {} {mode}", case.name))?;
    let original = match mode {
        Mode::Original | Mode::Oracle => None,
        _ => Some(guest::run(&tools.engine, case, Mode::Original)?.tree),
    };
    for run in &runs {
        if let Some(difference) = difference(case, mode, run, original.as_ref()) {
            return Ok(Outcome::Failed(difference));
        }
    }
    Ok(Outcome::Passed {
        stops: runs.iter().map(|run| run.stops).sum(),
        called: runs.into_iter().flat_map(|run| run.called).collect(),
    })
}

fn difference(
    case: &Case,
    mode: Mode,
    run: &Run,
    original: Option<&world::Tree>,
) -> Option<String> {
    let status = case.settings.exit_code;
    let status = if mode.is_process() {
        status & 0xff
    } else {
        status
    };
    if run.ending != Ending::Status(status) {
        let said = String::from_utf8_lossy(&run.stderr);
        let said: String = said.trim().chars().take(SAID_MAX).collect();
        return Some(match &run.ending {
            Ending::Status(found) => format!("status {found}, expected {status}: {said}"),
            Ending::Failed(error) => format!("{error}: {said}"),
        });
    }
    if let Some(expected) = &case.settings.stdout
        && run.stdout != expected.as_bytes()
    {
        return Some(format!(
            "standard output {:?}, expected {expected:?}",
            String::from_utf8_lossy(&run.stdout)
        ));
    }
    let expected = original?;
    (run.tree != *expected)
        .then(|| format!("it left {:?} behind, the original {expected:?}", run.tree))
}
