//! What is to be measured: `scripts/bench` prepares the modules and writes a plan, the engines' runners
//! read it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// Programs, each with its variants.
#[derive(Debug, Deserialize)]
pub struct Plan {
    /// The programs, in order.
    pub programs: Vec<Program>,
}

/// A WASI program with its work.
#[derive(Debug, Deserialize)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment: names and values.
    #[serde(default)]
    pub env: Vec<(String, String)>,
    /// Directories, host and guest.
    #[serde(default)]
    pub dirs: Vec<(PathBuf, String)>,
    /// The variants that run against each other; the first is the original.
    pub contestants: Vec<Contestant>,
}

/// One variant of a program.
#[derive(Debug, Deserialize)]
pub struct Contestant {
    /// Its name in the results.
    pub name: String,
    /// What kind of host it needs.
    pub kind: Kind,
    /// The module's file.
    pub wasm: PathBuf,
}

/// What a variant needs of its host besides WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Nothing.
    Plain,
    /// An engine that polls by itself.
    Epoch,
    /// The eight imports of migratized modules.
    Migratized,
    /// The import that modules with inserted polls call.
    Polled,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// There is no such file, or it is no plan.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path)
            .with_context(|| format!("cannot read the plan `{}`", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("`{}` is not a plan of scripts/bench", path.display()))
    }
}
