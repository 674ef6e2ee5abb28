//! The module of a snapshot, as a description.

use std::path::Path;

use anyhow::Context as _;
use wasm_migrate::abi::Description;
use wasm_migrate::{Names, Snapshot, read_description};

/// Reads the description of a module, which must be of the snapshot's program.
pub(crate) fn describe(path: &Path, snapshot: &Snapshot) -> anyhow::Result<(Description, Names)> {
    let wasm = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let (description, names) =
        read_description(&wasm).with_context(|| format!("cannot use `{}`", path.display()))?;
    if description.original_digest != snapshot.state.original_digest {
        anyhow::bail!(
            "`{}` is another program than the snapshot's",
            path.display()
        );
    }
    Ok((description, names))
}
