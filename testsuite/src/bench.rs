//! Benchmarks: ratios of the rewritten program to its original, in one process, interleaved, medians.

mod frames;
mod program;
mod run;
mod state;

pub use frames::thousand_frames;
pub use program::{Program, programs};
pub use run::{Measured, measure};
pub use state::{StateCosts, state_costs};

/// Geometric mean of ratios.
#[must_use]
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    #[expect(clippy::cast_precision_loss, reason = "there are few programs")]
    (logs / ratios.len() as f64).exp()
}

/// Median of some measurements.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

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
