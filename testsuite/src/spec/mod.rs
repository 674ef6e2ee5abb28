//! The WebAssembly spec suite, executed as it is, rewritten, and rewritten with stops and resumes.
//!
//! Each file is executed once per [`Way`]. A directive counts in every way in which
//! something is executed: modules that must be refused count for the original (the engine refuses
//! them) and for the rewritten way (the rewriter does). What the original does not do on this
//! engine is a skip in all ways, since there is no oracle; what the rewriter refuses is a skip
//! under the name of the construct. Nothing else is skipped.
//!
//! An instance that imports only functions and constants of `spectest` and that the file never
//! registers stands alone, and is exchanged for a fresh instance in a fresh store at every stop.
//! Others are linked with each other and are resumed in place; see [`crate::subject`].

mod report;
mod run;
mod script;
mod spectest;
mod suite;
mod values;
mod verdict;
mod world;

pub use report::{Report, Totals};
pub use suite::{Suite, SuiteFile};
pub use verdict::Verdict;

use wasmtime::Engine;

use crate::Way;
use script::Script;

/// Executes one file in all `ways` (and as original, for the oracle) and adds it to a report.
pub fn run_file(engine: &Engine, file: &SuiteFile, ways: &[Way], report: &mut Report) {
    let script = match Script::parse(file.text) {
        Ok(script) => script,
        Err(error) => {
            report.skip_file(
                file,
                &format!("the text parser does not read the file: {error}"),
            );
            return;
        }
    };
    let lines: Vec<usize> = script.commands.iter().map(|command| command.line).collect();
    let (original, _) = run::run(engine, Way::Original, &script);
    report.begin_file(file);
    for &way in ways {
        let (verdicts, stops) = match way {
            Way::Original => (original.clone(), 0),
            _ => run::run(engine, way, &script),
        };
        report.add_way(file, way, &lines, &original, verdicts);
        report.stops += stops;
    }
}
