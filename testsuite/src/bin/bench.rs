//! Original against rewritten on this machine's wasmtime: see `scripts/bench`.

use std::path::PathBuf;

use clap::Parser;
use testsuite::bench;

/// Measure what migratizing costs: run time and size against the original, capture and resume.
#[derive(Debug, Parser)]
struct Arguments {
    /// Directory with the built corpus.
    #[arg(long, default_value = ".cache/corpus")]
    corpus: PathBuf,
    /// Runs of each contestant; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Measure only programs whose name contains one of these.
    only: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let programs = bench::programs(&arguments.corpus, &arguments.only)?;
    println!(
        "{:24} {:>9} {:>9} {:>7} {:>7}",
        "program", "original", "rewritten", "time", "size"
    );
    let mut times = Vec::new();
    let mut sizes = Vec::new();
    for program in &programs {
        let measured = bench::measure(program, arguments.runs)?;
        println!(
            "{:24} {:7.0}ms {:7.0}ms {:7.3} {:7.3}",
            program.name,
            measured.original_ms,
            measured.rewritten_ms,
            measured.time_ratio(),
            measured.size_ratio
        );
        times.push(measured.time_ratio());
        sizes.push(measured.size_ratio);
    }
    let frames = bench::thousand_frames(arguments.runs)?;
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!("{} programs, slowest {worst:.3}", programs.len());
    bench::print_figure("run_time_ratio", bench::geometric_mean(&times), 1.20, 1.20);
    bench::print_figure("wasm_size_ratio", bench::geometric_mean(&sizes), 2.0, 2.0);
    bench::print_figure("capture_resume_1000_frames_ms", frames, 5.0, 5.0);
    Ok(())
}
