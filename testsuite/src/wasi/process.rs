//! A program run by a command: by wasmtime's, as the oracle, or by `wasm-migrate`, which is stopped and goes on in
//! another process.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use wasm_migratize::Migratizer;

use super::world::World;
use super::{Case, Ending, Run, Tools};

/// The status of `wasm-migrate` after a snapshot.
const SNAPSHOT_WRITTEN: i32 = 75;
/// A safe point that no program passes.
const NEVER: u64 = 1 << 62;
/// Where a program is stopped, in parts of all its safe points.
const MOMENTS: [(u64, u64); 2] = [(1, 3), (4, 5)];
/// Text in a module by which it knows whether another runtime is being asked.
const MARKER: &[u8] = b"conformance oracle=0";

/// Runs a program as it is by wasmtime's command.
pub(super) fn oracle(tools: &Tools, case: &Case) -> Result<Vec<Run>> {
    let command = tools
        .oracle
        .as_ref()
        .context("wasmtime's command is not given")?;
    let world = World::new(&case.settings)?;
    let mut wasm = case.wasm.clone();
    let marked = wasm
        .windows(MARKER.len())
        .position(|window| window == MARKER);
    if let Some(at) = marked {
        wasm[at + MARKER.len() - 1] = b'1';
    }
    let module = world.beside(&case.module_name());
    std::fs::write(&module, wasm)?;
    let mut words: Vec<OsString> = vec!["run".into()];
    words.extend(surroundings(case, &world));
    words.push(module.into());
    words.extend(case.settings.args.iter().map(OsString::from));
    let output = run(command, words, case, &world)?;
    Ok(vec![finished(output, Vec::new(), &world, 0)?])
}

/// Runs a program by `wasm-migrate`: straight, then stopped at several moments with the rest in another process.
pub(super) fn moved(tools: &Tools, case: &Case) -> Result<Vec<Run>> {
    let command = tools
        .command
        .as_ref()
        .context("wasm-migrate is not given")?;
    let straight = World::new(&case.settings)?;
    let module = straight.beside(&case.module_name());
    std::fs::write(&module, Migratizer::new().rewrite(&case.wasm)?.wasm)?;
    let output = start(command, case, &straight, &module, NEVER)?;
    let polls = polls(&output)?;
    let mut runs = vec![finished(output, Vec::new(), &straight, 0)?];
    for (part, whole) in MOMENTS {
        let world = World::new(&case.settings)?;
        let at = (polls * part / whole).max(1);
        let first = start(command, case, &world, &module, at)?;
        if first.status.code() != Some(SNAPSHOT_WRITTEN) {
            // It ends before it can be stopped there, or the second answer says what went wrong.
            runs.push(finished(first, Vec::new(), &world, 0)?);
            continue;
        }
        let words = vec![
            "resume".into(),
            "--quiet".into(),
            "--same-dirs".into(),
            world.beside("snapshot").into(),
        ];
        let second = run(command, words, case, &world)?;
        runs.push(finished(second, first.stdout, &world, 1)?);
    }
    Ok(runs)
}

fn start(command: &Path, case: &Case, world: &World, module: &Path, at: u64) -> Result<Output> {
    let mut words: Vec<OsString> = vec!["run".into()];
    words.extend(surroundings(case, world));
    words.extend(["--snapshot".into(), world.beside("snapshot").into()]);
    words.extend(["--snapshot-at".into(), at.to_string().into()]);
    words.extend([module.into(), "--".into()]);
    words.extend(case.settings.args.iter().map(OsString::from));
    run(command, words, case, world)
}

/// The safe points that a program has passed, as `wasm-migrate` says on standard error.
fn polls(output: &Output) -> Result<u64> {
    let said = String::from_utf8_lossy(&output.stderr);
    let number = said
        .split_once("the guest passed ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .and_then(|(number, _)| number.parse().ok());
    match number {
        Some(polls) => Ok(polls),
        None => bail!("wasm-migrate does not say how many safe points were passed: {said}"),
    }
}

/// Directories and environment as both commands take them.
fn surroundings(case: &Case, world: &World) -> Vec<OsString> {
    let mut words = Vec::new();
    for (host, name) in world.mapped() {
        let mut pair = host.into_os_string();
        pair.push("::");
        pair.push(name);
        words.extend(["--dir".into(), pair]);
    }
    for [name, value] in &case.settings.env {
        words.extend(["--env".into(), format!("{name}={value}").into()]);
    }
    words
}

/// Runs a command whose standard input is a file, so that a program that goes on in a second process finds there
/// what it has read already.
fn run(command: &Path, words: Vec<OsString>, case: &Case, world: &World) -> Result<Output> {
    let input: PathBuf = world.beside("input");
    std::fs::write(&input, &case.settings.stdin)?;
    Command::new(command)
        .args(words)
        .env("RUST_BACKTRACE", "0")
        .stdin(File::open(input)?)
        .output()
        .with_context(|| format!("starting {}", command.display()))
}

fn finished(output: Output, before: Vec<u8>, world: &World, stops: u64) -> Result<Run> {
    let mut stdout = before;
    stdout.extend(output.stdout);
    Ok(Run {
        ending: match output.status.code() {
            Some(status) => Ending::Status(status),
            None => Ending::Failed(output.status.to_string()),
        },
        stdout,
        stderr: output.stderr,
        tree: world.tree()?,
        stops,
        called: Default::default(),
    })
}
