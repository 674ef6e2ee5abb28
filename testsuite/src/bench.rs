//! Benchmarks: variants of programs against their originals, in one process, interleaved, by medians.
//!
//! `scripts/bench` prepares the variants and evaluates the results; docs/benchmark.md says how.

mod clock;
mod frames;
mod latency;
mod on_wasmi;
mod on_wasmtime;
mod plan;
mod polls;
mod race;
mod state;
mod statistics;

pub use frames::frames_round_trip;
pub use latency::capture_latencies;
pub use on_wasmi::Wasmi;
pub use on_wasmtime::Engines;
pub use plan::{Contestant, Kind, Plan, Program};
pub use polls::insert_polls;
pub use race::{Effort, Raced, Racer, race};
pub use state::{SnapshotCosts, StateCosts, Time, state_costs};
pub use statistics::{geometric_mean, median};

/// Module name of the import that inserted polls call.
pub const POLL_MODULE: &str = "inserted";
/// Name of that import, a function without parameters and results.
pub const POLL_IMPORT: &str = "poll";

/// Prints a figure that should be at most its target.
pub fn print_figure(name: &str, value: f64, target: f64, must: f64) {
    let verdict = if value <= target {
        "ok"
    } else if value <= must {
        "short"
    } else {
        "miss"
    };
    println!("figure {name} {value:.3} {target} {must} {verdict}");
}
