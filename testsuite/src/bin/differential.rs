//! Compares random modules in all ways of execution; see `testsuite::differential`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use clap::Parser;
use testsuite::differential::{CheckOutcome, check, check_module};
use testsuite::random_bytes;

/// Generates random modules and compares their execution as they are, rewritten, and rewritten
/// with stops and resumes.
#[derive(Parser)]
struct Arguments {
    /// Number of modules.
    #[arg(default_value_t = 300)]
    count: u64,
    /// The same seed makes the same modules.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Check only this module, binary or text, over the imports of the test.
    #[arg(long, conflicts_with_all = ["count", "seed"])]
    module: Option<PathBuf>,
    /// Directory for modules that fail.
    #[arg(long, default_value = "target/differential")]
    out: PathBuf,
    /// Modules to check at once.
    #[arg(long, default_value_t = 2)]
    jobs: u32,
}

/// Bytes of random input per module.
const INPUT_BYTES: usize = 6_000;

#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    stops: u64,
    skips: BTreeMap<String, u64>,
}

impl Totals {
    fn skipped(&self) -> u64 {
        self.skips.values().sum()
    }

    fn line(&self) -> String {
        format!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed,
            self.skipped()
        )
    }
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let totals = Mutex::new(Totals::default());
    if let Some(path) = &arguments.module {
        let module = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let wasm = wat::parse_bytes(&module)?.into_owned();
        note(&totals, check_module(&wasm), path)?;
    } else {
        let next = AtomicU64::new(0);
        let work = || -> Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= arguments.count {
                    return Ok(());
                }
                let input = random_bytes(arguments.seed.wrapping_add(number << 32), INPUT_BYTES);
                let name = format!("seed-{}-{number}.wasm", arguments.seed);
                note(&totals, check(&input), &arguments.out.join(name))?;
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..arguments.jobs).map(|_| scope.spawn(work)).collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("a worker ends"))
        })?;
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
    }
    let totals = totals
        .into_inner()
        .expect("no worker fails while it counts");
    for (reason, count) in &totals.skips {
        println!("skipped {count:>6}: {reason}");
    }
    println!("{} stops and resumes", totals.stops);
    println!("{}", totals.line());
    Ok(if totals.failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Counts an outcome; writes a failing module to `path`.
fn note(totals: &Mutex<Totals>, outcome: CheckOutcome, path: &Path) -> Result<()> {
    let mut totals = totals.lock().expect("no worker fails while it counts");
    match outcome {
        CheckOutcome::Passed { stops } => {
            totals.passed += 1;
            totals.stops += stops;
        }
        CheckOutcome::Skipped(reason) => *totals.skips.entry(reason).or_default() += 1,
        CheckOutcome::Failed {
            way,
            difference,
            wasm,
        } => {
            totals.failed += 1;
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory).context("making the output directory")?;
            }
            std::fs::write(path, wasm).with_context(|| format!("writing {}", path.display()))?;
            println!("\nfailed ({way}): {difference}");
            println!(
                "to see it again: scripts/differential --module {}",
                path.display()
            );
        }
    }
    let mut progress = std::io::stderr();
    if progress.is_terminal() {
        write!(progress, "\r{}", totals.line()).context("writing progress")?;
    }
    Ok(())
}
