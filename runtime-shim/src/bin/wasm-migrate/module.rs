//! Modules: their bytes, and what those of a snapshot say about themselves.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;
use wasm_migrate::abi::Description;
use wasm_migrate::{Names, Snapshot, read_description};

/// Engines refuse larger modules.
pub(crate) const MODULE_BYTES_MAX: u64 = 1 << 30;

/// The bytes of a module that the user named.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    File::open(path)
        .and_then(read_file)
        .with_context(|| format!("cannot read `{}`", path.display()))
}

/// The bytes of a snapshot's module: where the user says, or else where the snapshot does. A snapshot may come from
/// anyone, so what it names must be an ordinary file; the engine checks what is in it.
pub(crate) fn read_for_snapshot(named: Option<&Path>, recorded: &Path) -> anyhow::Result<Vec<u8>> {
    let Some(path) = named else {
        return read_ordinary(recorded)
            .with_context(|| format!("cannot read `{}`", recorded.display()))
            .context("the snapshot's module is needed: name it with --module");
    };
    read(path)
}

fn read_ordinary(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe would wait.
    match std::fs::metadata(path)?.is_file() {
        true => read_file(File::open(path)?),
        false => Err(io::Error::other("it is no ordinary file")),
    }
}

fn read_file(file: File) -> io::Result<Vec<u8>> {
    let mut wasm = Vec::new();
    file.take(MODULE_BYTES_MAX + 1).read_to_end(&mut wasm)?;
    match wasm.len() as u64 <= MODULE_BYTES_MAX {
        true => Ok(wasm),
        false => Err(io::Error::other("it is larger than any module may be")),
    }
}

/// A snapshot's module, as far as it is at hand.
pub(crate) enum Module {
    Found {
        description: Box<Description>,
        names: Names,
    },
    /// With the reason.
    Missing(String),
}

impl Module {
    /// One that the user names must be right; one that is merely not found any more leaves functions without names.
    pub(crate) fn find<M>(named: Option<&Path>, snapshot: &Snapshot<M>) -> anyhow::Result<Self> {
        let recorded = Path::new(&snapshot.module.path);
        let wasm = read_for_snapshot(named, recorded);
        match wasm.and_then(|wasm| describe(&wasm, snapshot)) {
            Ok((description, names)) => Ok(Self::Found {
                description: Box::new(description),
                names,
            }),
            Err(error) if named.is_some() => Err(error),
            Err(error) => Ok(Self::Missing(format!("{:#}", error.root_cause()))),
        }
    }

    pub(crate) fn description(&self) -> Option<&Description> {
        match self {
            Self::Found { description, .. } => Some(description),
            Self::Missing(_) => None,
        }
    }

    pub(crate) fn names(&self) -> Option<&Names> {
        match self {
            Self::Found { names, .. } => Some(names),
            Self::Missing(_) => None,
        }
    }

    pub(crate) fn function_name(&self, function: u32) -> Option<&str> {
        self.names()?.function(function)
    }
}

/// What a module says about itself, which must be of the snapshot's program.
pub(crate) fn describe<M>(
    wasm: &[u8],
    snapshot: &Snapshot<M>,
) -> anyhow::Result<(Description, Names)> {
    let (description, names) = read_description(wasm).context("the module cannot be used")?;
    if description.original_digest != snapshot.state.original_digest {
        anyhow::bail!("the module is of another program than the snapshot");
    }
    Ok((description, names))
}
