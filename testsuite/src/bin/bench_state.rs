//! State of guests with much memory: see `scripts/bench-state`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use testsuite::bench::{SnapshotCosts, Time, print_figure, state_costs};
use wasm_migrate::Compression;

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
        "{:12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "256 MiB", "store ms", "cpu ms", "read ms", "cpu ms", "MiB", "over cp"
    );
    for snapshot in &costs.snapshots {
        let SnapshotCosts {
            compression,
            store,
            restore,
            bytes,
        } = snapshot;
        println!(
            "{:12} {:9.1} {:9.0} {:9.1} {:9.0} {:9.1} {:7.3}",
            name(*compression),
            store.ms,
            store.cpu_ms,
            restore.ms,
            restore.cpu_ms,
            mebibytes(*bytes),
            snapshot.ms() / costs.cp.ms
        );
    }
    for (name, Time { ms, cpu_ms }) in [("cp", costs.cp), ("cp and sync", costs.synced_cp)] {
        println!("{name:12} {ms:9.1} {cpu_ms:9.0}");
    }
    println!("{:12} {:49.1}", "gzip", mebibytes(costs.gzip_bytes));
    let snapshot = |compression| {
        let mut snapshots = costs.snapshots.iter();
        snapshots
            .find(|snapshot| snapshot.compression == compression)
            .context("it was measured")
    };
    let uncompressed = snapshot(Compression::None)?.ms() / costs.cp.ms;
    print_figure("state_uncompressed_over_cp", uncompressed, 1.5, 1.5);
    let zstd = snapshot(Compression::Zstd(1))?.ms() / costs.cp.ms;
    // No bound was set: it costs what the compression does.
    print_figure("state_zstd1_over_cp", zstd, f64::INFINITY, f64::INFINITY);
    let size = mebibytes(snapshot(Compression::Zstd(3))?.bytes) / mebibytes(costs.gzip_bytes);
    print_figure("snapshot_zstd3_over_gzip", size, 1.0, 1.0);
    print_figure("checkpoint_stop_ms", costs.checkpoint_stop_ms, 10.0, 10.0);
    Ok(())
}

fn name(compression: Compression) -> String {
    match compression {
        Compression::None => "uncompressed".to_owned(),
        Compression::Zstd(level) => format!("zstd-{level}"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "files are small")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
