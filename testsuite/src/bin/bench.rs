//! Runs what `scripts/bench` has prepared, and writes what it measures as lines of JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;
use testsuite::bench::{self, Effort, Engines, Plan, Program, Raced, Wasmi};
use testsuite::engine::in_deep_thread;

/// Measure what scripts/bench has prepared; one line of JSON per program.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the variants of programs against each other.
    Race(Race),
    /// Stop migratized programs at random moments; milliseconds from each request to the stop.
    Latency {
        /// What to run: the last variant of each program.
        plan: PathBuf,
        /// Requests for each program.
        #[arg(long, default_value_t = 1_000)]
        requests: usize,
    },
    /// Insert polls that look at a flag, for Asyncify.
    InsertPolls {
        /// The original module.
        input: PathBuf,
        /// Where the result goes.
        output: PathBuf,
    },
    /// Save and rebuild deep stacks; milliseconds.
    Frames {
        /// How deep.
        #[arg(default_value_t = 10_000)]
        frames: u16,
        /// Runs; the median counts.
        #[arg(long, default_value_t = 21)]
        runs: usize,
    },
}

#[derive(Debug, clap::Args)]
struct Race {
    /// What to run.
    plan: PathBuf,
    /// Begin no round after this many seconds a program.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Rounds at least.
    #[arg(long, default_value_t = 5)]
    rounds_min: usize,
    /// Rounds at most.
    #[arg(long, default_value_t = 200)]
    rounds_max: usize,
    /// Stop early when the ratios are known to plus or minus this part.
    #[arg(long, default_value_t = 0.003)]
    tolerance: f64,
    /// What runs them.
    #[arg(long, value_enum, default_value = "wasmtime")]
    engine: EngineName,
    /// Compile short modules this many times.
    #[arg(long, default_value_t = 1)]
    compilations: usize,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum EngineName {
    Wasmtime,
    Wasmi,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Raced(Vec<Raced>),
    Latencies(Vec<f64>),
    Error(String),
}

#[derive(Serialize)]
struct Line<'a> {
    program: &'a str,
    #[serde(flatten)]
    outcome: Outcome,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Race(race) => race_all(&race),
        Command::Latency { plan, requests } => latencies(&plan, requests),
        Command::InsertPolls { input, output } => {
            let wasm = std::fs::read(&input)
                .with_context(|| format!("cannot read `{}`", input.display()))?;
            std::fs::write(output, bench::insert_polls(&wasm)?)?;
            Ok(())
        }
        Command::Frames { frames, runs } => {
            let milliseconds = in_deep_thread(|| bench::frames_round_trip(frames, runs))?;
            println!("{milliseconds}");
            Ok(())
        }
    }
}

/// Prints a line for each program of a plan.
fn each(
    plan: &Path,
    measure: impl Fn(&Arc<Program>) -> anyhow::Result<Outcome>,
) -> anyhow::Result<()> {
    for program in Plan::read(plan)?.programs {
        let program = Arc::new(program);
        let outcome =
            measure(&program).unwrap_or_else(|error| Outcome::Error(format!("{error:#}")));
        let line = Line {
            program: &program.name,
            outcome,
        };
        println!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}

fn race_all(race: &Race) -> anyhow::Result<()> {
    let effort = Effort {
        rounds_min: race.rounds_min,
        rounds_max: race.rounds_max,
        time: Duration::from_secs_f64(race.seconds),
        tolerance: race.tolerance,
    };
    let (wasmtime, wasmi) = (Engines::new()?, Wasmi::new());
    each(&race.plan, |program| {
        let compiled = program
            .contestants
            .iter()
            .map(|contestant| match race.engine {
                EngineName::Wasmtime => wasmtime.compile(program, contestant, race.compilations),
                EngineName::Wasmi => wasmi.compile(program, contestant),
            });
        let racers = compiled.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Outcome::Raced(bench::race(racers, effort)?))
    })
}

fn latencies(plan: &Path, requests: usize) -> anyhow::Result<()> {
    let engines = Engines::new()?;
    each(plan, |program| {
        let contestant = program.contestants.last().context("it has no variants")?;
        let waits =
            in_deep_thread(|| bench::capture_latencies(&engines, program, contestant, requests));
        Ok(Outcome::Latencies(waits?))
    })
}
