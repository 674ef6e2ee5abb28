//! A stopped guest as a module of its own: started on any WASI host, it goes on where the guest was stopped.
//!
//! ```text
//! migratized module          frozen module
//! -----------------          -------------
//! 8 imports of the host  ->  8 functions that hand out the words of the saved stack; `poll` says: go on
//! active segments        ->  emptied; new ones hold the memories and tables as they were
//! the export on the stack->  a function that opens the files again, loads the instance words, and has the
//!                            stack rebuilt
//! ```
//!
//! The steps, in order: check the state against the module, [survey] the module, lay out the new function
//! indices ([layout]), turn the stack into [words], [memories](memory) into segments, open [files], write the
//! [result](output). The frozen module needs nothing of this project any more, and can be migratized again.
//!
//! Limits: the module may import functions only; host references are not carried over.

mod error;
mod files;
mod files_code;
mod layout;
mod memory;
mod output;
mod survey;
mod words;

pub use error::FreezeError;

use std::collections::HashMap;

use wasm_migrate_abi::START;
use wasmparser::{Validator, WasmFeatures};

use crate::driver::{check_counts, live_functions};
use crate::fit::frames_in;
use crate::names::read_description;
use crate::state::{Frame, State};
use crate::wasi::StandaloneFiles;

use files::FilePlan;
use layout::Layout;
use survey::Survey;

/// What a frozen module does beside going on.
#[derive(Debug, Default)]
pub struct FreezeOptions<'a> {
    /// Exports without parameters that are called, in this order, after the one on the stack has returned.
    pub then_call: &'a [String],
    /// Files that the guest has open; without them it finds those that its new host opens.
    pub files: Option<&'a StandaloneFiles>,
}

/// A guest that has become a module.
#[derive(Debug)]
#[non_exhaustive]
pub struct Frozen {
    /// The module, binary.
    pub wasm: Vec<u8>,
    /// The export to call: `_start` for a program, so that hosts call it by themselves.
    pub entry: String,
    /// Directories that the new host must open to the guest, in this order.
    pub directories: Vec<String>,
    /// Functions that it imports and that are not WASI's, as `module.name`.
    pub foreign_imports: Vec<String>,
}

/// Makes a module out of a stopped guest and its migratized module.
///
/// # Errors
/// The module is not of this guest, or holds something that cannot be part of a module; nothing is left out.
pub fn freeze(
    wasm: &[u8],
    state: &State,
    options: &FreezeOptions<'_>,
) -> Result<Frozen, FreezeError> {
    let (description, names) = read_description(wasm)?;
    // Indices in it are used as they are from here on.
    Validator::new_with_features(WasmFeatures::all()).validate_all(wasm)?;
    let survey = Survey::read(wasm)?;
    let frames = frames_in(&description, &names, state)?;
    check_counts(&description, state, &frames)?;
    survey.check_sizes(&description, state)?;
    let functions = survey.functions_by_original(&description);
    let references = References::of(&frames);
    let words = words::of_state(&description, state, &frames, &references.places)?;
    let plan = options
        .files
        .map(|files| FilePlan::new(files, &survey, state))
        .transpose()?
        .flatten();
    let layout = Layout::new(&survey, plan.as_ref())?;
    let entry = survey.entry(&state.entry, options.then_call)?;
    let directories = plan.as_ref().map_or_else(Vec::new, FilePlan::directories);
    let wasm = output::Output {
        description: &description,
        state,
        survey: &survey,
        layout: &layout,
        functions: &functions,
        references: &references.functions,
        words: &words,
        files: plan.as_ref(),
        entry: &entry,
    }
    .write(wasm)?;
    Ok(Frozen {
        wasm,
        entry: entry.name,
        directories,
        foreign_imports: survey.foreign_imports(),
    })
}

/// Functions that frames refer to, and their places in the scratch table.
struct References {
    functions: Vec<u32>,
    places: HashMap<u32, u32>,
}

impl References {
    fn of(frames: &[Frame]) -> Self {
        let functions = live_functions(frames);
        let places = functions.iter().copied().zip(0..).collect();
        Self { functions, places }
    }
}

/// The calls that a frozen module makes, and under which name it makes them.
struct Entry {
    name: String,
    /// The export that is on the stack.
    resumed: u32,
    /// Those that follow.
    then: Vec<u32>,
}

/// Names that a host might call by itself before, or instead of, the frozen module's own entry.
fn is_called_by_hosts(name: &str) -> bool {
    matches!(name, "_start" | "_initialize" | START)
}
