//! The programs to measure: the kernels of `corpus/c` and the real programs of `corpus/manifest.toml`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// A WASI program with its work.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The original module.
    pub wasm: Vec<u8>,
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Directories, host and guest.
    pub dirs: Vec<(PathBuf, String)>,
}

#[derive(Deserialize)]
struct Kernels {
    kernel: Vec<Kernel>,
}

#[derive(Deserialize)]
struct Kernel {
    name: String,
}

#[derive(Deserialize)]
struct Manifest {
    program: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    dirs: Vec<String>,
    #[serde(default)]
    stdin: Option<String>,
    /// Waits instead of computing, so its run time says nothing.
    #[serde(default)]
    waits: bool,
}

/// All programs whose names contain one of `only` (all if it is empty) and that have been fetched.
///
/// # Errors
/// A manifest or module cannot be read, or nothing is left to measure.
pub fn programs(corpus: &Path, only: &[String]) -> anyhow::Result<Vec<Program>> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part));
    let kernels: Kernels = toml::from_str(&read("corpus/bench.toml")?)?;
    let manifest: Manifest = toml::from_str(&read("corpus/manifest.toml")?)?;
    let mut programs = Vec::new();
    for kernel in kernels
        .kernel
        .into_iter()
        .filter(|kernel| wanted(&kernel.name))
    {
        let path = corpus
            .join("kernels")
            .join(&kernel.name)
            .with_extension("wasm");
        programs.push(Program {
            wasm: module(&path)?,
            args: vec![kernel.name.clone()],
            name: kernel.name,
            env: Vec::new(),
            dirs: Vec::new(),
        });
    }
    for entry in manifest
        .program
        .into_iter()
        .filter(|entry| wanted(&entry.name))
    {
        let path = corpus.join(&entry.name).with_extension("wasm");
        let is_command = entry.kind.as_deref().is_none_or(|kind| kind == "command");
        if !is_command || entry.stdin.is_some() || entry.waits || !path.exists() {
            continue;
        }
        programs.push(Program {
            wasm: module(&path)?,
            args: std::iter::once(entry.name.clone())
                .chain(entry.args)
                .collect(),
            env: entry
                .env
                .iter()
                .map(|pair| split(pair, "="))
                .collect::<Result<_, _>>()?,
            dirs: entry
                .dirs
                .iter()
                .map(|pair| split(pair, "::").map(|(host, guest)| (host.into(), guest)))
                .collect::<Result<_, _>>()?,
            name: entry.name,
        });
    }
    if programs.is_empty() {
        bail!("no program to measure: run scripts/fetch-corpus, or name others than {only:?}");
    }
    Ok(programs)
}

fn read(path: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))
}

fn module(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path)
        .with_context(|| format!("cannot read `{}`: run scripts/fetch-corpus", path.display()))
}

fn split(pair: &str, separator: &str) -> anyhow::Result<(String, String)> {
    let (left, right) = pair
        .split_once(separator)
        .with_context(|| format!("expected `A{separator}B` in the manifest, found `{pair}`"))?;
    Ok((left.to_owned(), right.to_owned()))
}
