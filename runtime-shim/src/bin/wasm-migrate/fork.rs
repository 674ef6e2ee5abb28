//! `wasm-migrate fork`: the same snapshot resumed several times.
//!
//! Each fork is a `wasm-migrate resume` in a process of its own, with an epoch and output files of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use indicatif::HumanDuration;
use serde::Serialize;
use wasm_migrate::SnapshotReader;

use crate::keys::ReadKeys;
use crate::output;
use crate::session::SNAPSHOT_WRITTEN;

/// Stands for a fork's number in the options that are passed on.
const NUMBER: &str = "{n}";

/// Resumes a snapshot several times, each in a process of its own. Exit status 0: every fork ended with status 0,
/// or was stopped and its snapshot written.
///
/// Fork K runs with an epoch of its own, the snapshot's plus K. It reads no input; what it prints goes to DIR/K.out
/// and DIR/K.err, a snapshot of it to DIR/K.snapshot. Random numbers come from the host, so each fork draws its
/// own; but what the guest drew before the snapshot, such as the seed of a generator in its memory, is the same in
/// all of them. They share the directories that are opened to them, unless these are given as `--dir work{n}::/data`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The snapshot.
    snapshot: PathBuf,
    /// How many.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Where output and snapshots go [default: the snapshot's name with `.forks`].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Run so many at once [default: one for each core].
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: ReadKeys,
    /// Options of `wasm-migrate resume` for every fork; `{n}` in them becomes its number.
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// How a fork ended.
#[derive(Clone, Serialize)]
struct Ended {
    fork: u32,
    epoch: u64,
    /// `None` after a signal.
    status: Option<i32>,
    seconds: f64,
    stdout: PathBuf,
    stderr: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<PathBuf>,
}

/// What all forks have in common.
struct Forks<'a> {
    arguments: &'a Arguments,
    program: PathBuf,
    directory: PathBuf,
    /// Of the snapshot.
    epoch: u64,
}

pub(crate) fn fork(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let reader = SnapshotReader::open(&arguments.snapshot, &arguments.keys.load()?)?;
    let directory = arguments
        .output
        .clone()
        .unwrap_or_else(|| arguments.snapshot.with_added_extension("forks"));
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))?;
    let forks = Forks {
        arguments,
        program: std::env::current_exe().context("cannot find wasm-migrate itself")?,
        directory,
        epoch: reader.header().epoch,
    };
    let ended = forks.run()?;
    let all_well = ended
        .iter()
        .all(|fork| matches!(fork.status, Some(0)) || fork.snapshot.is_some());
    let printed = output::print(arguments.json, &ended, |out| {
        ended.iter().try_for_each(|fork| writeln!(out, "{fork}"))
    })?;
    Ok(if all_well { printed } else { ExitCode::FAILURE })
}

impl Forks<'_> {
    /// Runs all of them, several at once.
    fn run(&self) -> anyhow::Result<Vec<Ended>> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.arguments.jobs.map_or(cores, |jobs| jobs as usize);
        let numbers = Mutex::new(1..=self.arguments.count);
        let next = || numbers.lock().ok()?.next();
        let mut ended = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs.min(self.arguments.count as usize))
                .map(|_| {
                    scope.spawn(|| {
                        let numbers = std::iter::from_fn(next);
                        numbers
                            .map(|number| self.run_one(number))
                            .collect::<anyhow::Result<Vec<_>>>()
                    })
                })
                .collect();
            let results = workers.into_iter().map(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            results.collect::<anyhow::Result<Vec<_>>>()
        })?
        .concat();
        ended.sort_by_key(|fork| fork.fork);
        Ok(ended)
    }

    fn run_one(&self, number: u32) -> anyhow::Result<Ended> {
        let path = |kind: &str| self.directory.join(format!("{number}.{kind}"));
        let (stdout, stderr, snapshot) = (path("out"), path("err"), path("snapshot"));
        let epoch = self.epoch.saturating_add(u64::from(number));
        let mut command = Command::new(&self.program);
        command
            .arg("resume")
            .arg(&self.arguments.snapshot)
            .arg("--epoch")
            .arg(epoch.to_string())
            .arg("--snapshot")
            .arg(&snapshot);
        self.arguments.keys.pass_on(&mut command);
        let options = self.arguments.options.iter();
        command
            .args(options.map(|option| option.replace(NUMBER, &number.to_string())))
            .stdin(Stdio::null())
            .stdout(create(&stdout)?)
            .stderr(create(&stderr)?);
        let began = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("fork {number} cannot be started"))?;
        Ok(Ended {
            fork: number,
            epoch,
            status: status.code(),
            seconds: began.elapsed().as_secs_f64(),
            stdout,
            stderr,
            snapshot: is_stopped(status).then_some(snapshot),
        })
    }
}

fn is_stopped(status: ExitStatus) -> bool {
    status.code() == Some(i32::from(SNAPSHOT_WRITTEN))
}

/// A file that was not there: what an earlier fork printed is not overwritten.
fn create(path: &Path) -> anyhow::Result<File> {
    File::create_new(path).with_context(|| match path.exists() {
        true => format!(
            "`{}` is there already: name another directory with --output",
            path.display()
        ),
        false => format!("cannot write `{}`", path.display()),
    })
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            fork,
            epoch,
            status,
            seconds,
            stdout,
            snapshot,
            ..
        } = self;
        write!(f, "fork {fork} (epoch {epoch}): ")?;
        match (snapshot, status) {
            (Some(snapshot), _) => write!(f, "stopped, snapshot in `{}`", snapshot.display())?,
            (None, Some(status)) => write!(f, "ended with status {status}")?,
            (None, None) => write!(f, "killed by a signal")?,
        }
        let time = HumanDuration(Duration::from_secs_f64(*seconds));
        write!(f, " after {time:#}, output in `{}`", stdout.display())
    }
}
