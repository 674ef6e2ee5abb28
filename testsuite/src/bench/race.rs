//! All variants of one program against each other: compiled once, then run in rounds.
//!
//! A round starts all variants at once, each in a thread of its own. `scripts/bench` binds the process to one
//! processor, so that the scheduler lets them take turns every few milliseconds: what changes (frequency, caches
//! shared with other work, other guests of the machine) meets all of them alike. On a busy machine, quartiles of the
//! ratio of two equal variants lie within 0.5 to 1% of each other; 10 to 25% when one run followed the other. CPU
//! time of the threads is what counts. Ratios are taken within rounds; that is why samples are kept by round. Every
//! run must end as the original's does, with the same output.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::statistics::{is_settled, paired_ratios};

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds at least.
    pub rounds_min: usize,
    /// Rounds at most.
    pub rounds_max: usize,
    /// No new round begins after this time, once there are enough.
    pub time: Duration,
    /// The median of the ratios is known well enough if it lies in an interval of plus or minus this part of it.
    pub tolerance: f64,
}

/// What was measured of one variant.
#[derive(Debug, Clone, Serialize)]
pub struct Raced {
    /// Name of the variant.
    pub name: String,
    /// CPU milliseconds of the run in each round.
    pub run_ms: Vec<f64>,
    /// CPU milliseconds, of all threads, of each compilation.
    pub compile_ms: Vec<f64>,
    /// Bytes of machine code; `None` if the engine does not tell.
    pub code_bytes: Option<usize>,
}

/// How a run ended, for comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Exit code.
    pub exit_code: i32,
    /// Digest of what was written to standard output.
    pub output: blake3::Hash,
}

/// Stack of a thread that runs a guest, which has half of it at most.
const THREAD_STACK_BYTES: usize = 128 << 20;

/// A compiled variant in an engine.
pub trait Runner: Send + Sync {
    /// Runs it from start to end in a fresh instance. Answers how it ended, and CPU milliseconds without
    /// those for instantiating.
    ///
    /// # Errors
    /// It traps, or the engine fails.
    fn run(&self) -> anyhow::Result<(f64, Ended)>;
}

/// A variant that is ready to run.
pub struct Racer {
    /// What is known of it so far; the runs are added to it.
    pub raced: Raced,
    /// What runs it.
    pub runner: Box<dyn Runner>,
}

/// Runs variants against each other.
///
/// # Errors
/// One of them cannot be run, or does not end as the first one does.
pub fn race(mut racers: Vec<Racer>, effort: Effort) -> anyhow::Result<Vec<Raced>> {
    let began = Instant::now();
    let mut expected = None;
    for round in 0..effort.rounds_max {
        let runs = run_together(&racers)?;
        for (racer, run) in racers.iter_mut().zip(runs) {
            let (run_ms, ended) =
                run.with_context(|| format!("variant {} failed", racer.raced.name))?;
            racer.raced.run_ms.push(run_ms);
            let expected = expected.get_or_insert_with(|| ended.clone());
            ensure!(
                *expected == ended,
                "variant {} ended with {ended:?}, the original with {expected:?}",
                racer.raced.name
            );
        }
        let is_enough = began.elapsed() >= effort.time || are_settled(&racers, effort.tolerance);
        if round + 1 >= effort.rounds_min && is_enough {
            break;
        }
    }
    Ok(racers.into_iter().map(|racer| racer.raced).collect())
}

/// One run of each, at the same time.
fn run_together(racers: &[Racer]) -> anyhow::Result<Vec<anyhow::Result<(f64, Ended)>>> {
    std::thread::scope(|scope| {
        let threads = racers.iter().map(|racer| {
            let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
            thread.spawn_scoped(scope, || racer.runner.run())
        });
        let threads = threads.collect::<Result<Vec<_>, _>>()?;
        let runs = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Ok(runs.collect())
    })
}

fn are_settled(racers: &[Racer], tolerance: f64) -> bool {
    let Some((original, others)) = racers.split_first() else {
        return true;
    };
    others.iter().all(|other| {
        let ratios = paired_ratios(&other.raced.run_ms, &original.raced.run_ms);
        is_settled(ratios, tolerance)
    })
}
