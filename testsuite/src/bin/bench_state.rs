//! State of guests with much memory: see `scripts/bench-state`.

use std::path::PathBuf;

use clap::Parser;
use testsuite::bench::{print_figure, state_costs};

/// Measure what it costs to take, write, read and restore 256 MiB of memory.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the files go; on the disk that is to be measured.
    #[arg(long, default_value = ".cache/bench-state")]
    directory: PathBuf,
    /// Runs; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let costs = state_costs(&arguments.directory, arguments.runs)?;
    println!(
        "uncompressed over cp and sync: {:.3}; with zstd-1 over cp: {:.3}",
        costs.uncompressed_over_synced_cp, costs.zstd_over_cp
    );
    print_figure(
        "state_uncompressed_over_cp",
        costs.uncompressed_over_cp,
        1.5,
        1.5,
    );
    print_figure("snapshot_zstd3_over_gzip", costs.size_over_gzip, 1.0, 1.0);
    print_figure("checkpoint_stop_ms", costs.checkpoint_stop_ms, 10.0, 10.0);
    Ok(())
}
