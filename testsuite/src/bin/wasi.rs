//! Runs the conformance set for WASI preview 1; see `testsuite::wasi`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use testsuite::engine::{Watchdog, engine};
use testsuite::wasi::{Case, Mode, Outcome, Table, Tools, check, in_document};

/// Runs small programs that check the functions of WASI preview 1: as they are, rewritten, and moved at every poll
/// and at every call.
#[derive(Parser)]
struct Arguments {
    /// Only programs whose names contain one of these.
    filters: Vec<String>,
    /// Modes: original, rewritten, every-poll, every-call, elsewhere, any-time, processes, oracle.
    #[arg(long, value_delimiter = ',', default_values_t = Mode::ALL)]
    mode: Vec<Mode>,
    /// Where the sources are.
    #[arg(long, default_value = "corpus/wasi")]
    sources: PathBuf,
    /// Where the modules are that were compiled from C.
    #[arg(long, default_value = ".cache/wasi")]
    built: PathBuf,
    /// The command `wasm-migrate`.
    #[arg(long)]
    command: Option<PathBuf>,
    /// wasmtime's command.
    #[arg(long)]
    oracle: Option<PathBuf>,
    /// The document that tells which program checks what.
    #[arg(long, default_value = "docs/wasi.md")]
    document: PathBuf,
    /// Write that part of the document instead of comparing it.
    #[arg(long)]
    update: bool,
    /// Programs to run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Tell what each program came to.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    skipped: u64,
    stops: u64,
    table: Table,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let cases = cases(&arguments)?;
    if cases.is_empty() {
        bail!("no program matches {:?}", arguments.filters);
    }
    let tools = Tools {
        engine: engine()?,
        command: arguments.command.clone(),
        oracle: arguments.oracle.clone(),
    };
    let _watchdog = Watchdog::start(&tools.engine);
    let totals = run_all(&arguments, &tools, &cases)?;
    let mut totals = totals
        .into_inner()
        .expect("no thread fails while it counts");
    let is_complete = arguments.filters.is_empty() && arguments.mode.contains(&Mode::EveryCall);
    if is_complete {
        match compare(&arguments, &totals.table, &cases) {
            Ok(()) => totals.passed += 1,
            Err(error) => {
                totals.failed += 1;
                println!("failed: {error:#}");
            }
        }
    }
    println!("{} stops and resumes", totals.stops);
    println!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    );
    Ok(match totals.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn cases(arguments: &Arguments) -> Result<Vec<Case>> {
    let shown = arguments.sources.display();
    let entries =
        std::fs::read_dir(&arguments.sources).with_context(|| format!("reading {shown}"))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| is_wanted(path, &arguments.filters));
    paths.sort();
    paths
        .iter()
        .map(|path| Case::read(path, &arguments.built))
        .collect()
}

fn is_wanted(path: &Path, filters: &[String]) -> bool {
    let is_source = path
        .extension()
        .is_some_and(|extension| extension == "c" || extension == "wat");
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    is_source && (filters.is_empty() || filters.iter().any(|filter| name.contains(filter)))
}

fn run_all(arguments: &Arguments, tools: &Tools, cases: &[Case]) -> Result<Mutex<Totals>> {
    let (next, totals) = (AtomicUsize::new(0), Mutex::new(Totals::default()));
    let work = || -> Result<()> {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            for &mode in &arguments.mode {
                let outcome = check(tools, case, mode)?;
                let mut totals = totals.lock().expect("no thread fails while it counts");
                totals.note(case, mode, outcome, arguments.verbose);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let jobs = (0..arguments.jobs.max(1)).map(|_| scope.spawn(work));
        let jobs: Vec<_> = jobs.collect();
        jobs.into_iter()
            .try_for_each(|job| job.join().expect("a worker ends"))
    })?;
    Ok(totals)
}

impl Totals {
    fn note(&mut self, case: &Case, mode: Mode, outcome: Outcome, is_verbose: bool) {
        let name = &case.name;
        match outcome {
            Outcome::Passed { stops, called } => {
                self.passed += 1;
                self.stops += stops;
                self.table.add(name, called);
                if is_verbose {
                    println!("{name} {mode}: passed, {stops} stops");
                }
            }
            Outcome::Failed(difference) => {
                self.failed += 1;
                println!("failed: {name} {mode}: {difference}");
            }
            Outcome::Skipped(reason) => {
                self.skipped += 1;
                if is_verbose {
                    println!("{name} {mode}: skipped, {reason}");
                }
            }
        }
    }
}

/// Compares the document with what was seen, or writes it.
fn compare(arguments: &Arguments, table: &Table, cases: &[Case]) -> Result<()> {
    let missing = table.missing();
    if !missing.is_empty() {
        bail!("no program calls {}", missing.join(", "));
    }
    let path = &arguments.document;
    let shown = path.display();
    let document = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    let expected = in_document(&document, &table.render(cases))
        .with_context(|| format!("{shown} has no part that is written"))?;
    if document == expected {
        return Ok(());
    }
    if arguments.update {
        return std::fs::write(path, expected).with_context(|| format!("writing {shown}"));
    }
    bail!("{shown} does not say what the programs do: scripts/wasi --update writes it anew")
}
