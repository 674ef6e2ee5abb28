//! Runs what `scripts/bench` has prepared, and writes what it measures as lines of JSON.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;
use testsuite::bench::{self, Effort, Engines, Plan, Program, Raced};
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
    /// Compile short modules this many times.
    #[arg(long, default_value_t = 1)]
    compilations: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Raced(Vec<Raced>),
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
        Command::Race(race) => run(&race),
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

fn run(race: &Race) -> anyhow::Result<()> {
    let engines = Engines::new()?;
    for program in Plan::read(&race.plan)?.programs {
        let program = Arc::new(program);
        let outcome = match run_program(&engines, &program, race) {
            Ok(raced) => Outcome::Raced(raced),
            Err(error) => Outcome::Error(format!("{error:#}")),
        };
        let line = Line {
            program: &program.name,
            outcome,
        };
        println!("{}", serde_json::to_string(&line)?);
    }
    Ok(())
}

fn run_program(
    engines: &Engines,
    program: &Arc<Program>,
    race: &Race,
) -> anyhow::Result<Vec<Raced>> {
    let compiled = program
        .contestants
        .iter()
        .map(|contestant| engines.compile(program, contestant, race.compilations));
    let racers = compiled.collect::<anyhow::Result<Vec<_>>>()?;
    let effort = Effort {
        rounds_min: race.rounds_min,
        rounds_max: race.rounds_max,
        time: Duration::from_secs_f64(race.seconds),
        tolerance: race.tolerance,
    };
    bench::race(racers, effort)
}
