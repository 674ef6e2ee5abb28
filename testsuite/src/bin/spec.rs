//! Runs the WebAssembly spec suite on rewritten modules; see `testsuite::spec`.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, anyhow};
use clap::Parser;
use testsuite::Way;
use testsuite::engine::{Watchdog, engine};
use testsuite::spec::{Report, Suite, run_file};

/// Runs the WebAssembly spec suite as it is, rewritten, and rewritten with stops and resumes.
#[derive(Parser)]
struct Arguments {
    /// Only files whose `proposal/name.wast` contains one of these.
    filters: Vec<String>,
    /// Ways to execute: original, rewritten, resumed (at every poll), resumed:K (at every K-th).
    #[arg(long, value_delimiter = ',', default_values_t =
        [Way::Original, Way::Rewritten, Way::Resumed(1), Way::Resumed(7)])]
    way: Vec<Way>,
    /// Name each file, and each assertion that the original does not meet.
    #[arg(short, long)]
    verbose: bool,
    /// Files to run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let suite = Suite::new(&arguments.filters);
    if suite.files.is_empty() {
        return Err(anyhow!(
            "no file of the suite matches {:?}",
            arguments.filters
        ));
    }
    let engine = engine()?;
    let _watchdog = Watchdog::start(&engine);
    let (next, report) = (AtomicUsize::new(0), Mutex::new(Report::default()));
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                while let Some(file) = suite.files.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut part = Report::default();
                    run_file(&engine, file, &arguments.way, &mut part);
                    if arguments.verbose {
                        eprintln!("{}/{}: {:?}", file.group, file.name, part.totals_of_all());
                    }
                    report
                        .lock()
                        .expect("no thread fails while it merges")
                        .merge(part);
                }
            });
        }
    });
    let report = report
        .into_inner()
        .expect("no thread fails while it merges");
    if arguments.verbose {
        for line in &report.without_oracle {
            println!("no oracle: {line}");
        }
    }
    for line in &report.failures {
        println!("failed: {line}");
    }
    for (group, copies) in &suite.copies {
        println!("{group}: {copies} files are copies of files above it and run only once");
    }
    print!("{}", report.render(&suite.groups()));
    let failed = report.totals_of_all().failed > 0;
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
