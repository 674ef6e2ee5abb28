//! What jobs get from their node: directories, streams, clocks; and instances that run there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use wasm_migrate::live::Entry;
use wasm_migrate::wasi::{ChangedFiles, FilePolicy, WasiBuilder};
use wasm_migrate::{GuestInstance, Migration, Pacing};
use wasm_migrate_node::policy::Policy;
use wasmtime::Store;

use super::compiled::Compiled;
use super::directory::Directory;
use super::job::Job;
use super::streams::Streams;
use crate::host::{self, Host};
use crate::launch::{Directory as OpenDirectory, Launch};

/// Jobs notice requests to stop within about this time.
const LATENCY: Duration = Duration::from_micros(500);

/// What a node has for its jobs.
pub(crate) struct Hosting {
    pub(crate) directory: Directory,
    pub(crate) policy: Arc<Policy>,
}

/// Where a guest comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// It starts.
    Anew,
    /// It goes on where it was when this node's process ended: it finds its files as it has left them since.
    FromCheckpoint,
    /// It ran on another node: its files must be as they were there.
    Elsewhere,
}

/// The data of a job's guest, and its streams.
pub(crate) fn host(
    job: &Job,
    hosting: &Hosting,
    begins: Begins,
) -> anyhow::Result<(Host, Streams)> {
    let launch = &job.about.launch;
    let (streams, stdin) = Streams::new(&hosting.directory.job(&job.id))?;
    let mut wasi = WasiBuilder::new()
        .files(FilePolicy {
            changed: match begins {
                Begins::FromCheckpoint => ChangedFiles::Keep,
                Begins::Anew | Begins::Elsewhere => ChangedFiles::Refuse,
            },
            ..FilePolicy::default()
        })
        .stdin_descriptor(stdin)
        .stdout(Box::new(streams.stdout.clone()))
        .stderr(Box::new(streams.stderr.clone()));
    let dirs = directories(&launch.dirs, &hosting.policy)?;
    for OpenDirectory { host, guest } in &dirs {
        wasi = wasi.preopen(host.as_ref(), guest)?;
    }
    if begins == Begins::Anew {
        wasi = wasi.args(
            [job.id.to_string()]
                .into_iter()
                .chain(launch.args.iter().cloned())
                .collect(),
        );
        for variable in launch.env.iter().cloned() {
            wasi = wasi.env(variable.name, variable.value);
        }
    }
    let host = Host {
        migration: Migration::new(Pacing::Latency(LATENCY)),
        launch: Launch {
            dirs,
            ..launch.clone()
        },
        wasi: wasi.build(),
        processor: job.compiled.processor.clone(),
        streams: Some(Box::new(streams.clone())),
    };
    Ok((host, streams))
}

/// Directories as they are called here, for a guest that knows them by these names.
fn directories(wanted: &[OpenDirectory], policy: &Policy) -> anyhow::Result<Vec<OpenDirectory>> {
    let opened = wanted.iter().map(|OpenDirectory { guest, .. }| {
        let known = policy.directories.get(guest).with_context(|| {
            format!("this node has no directory `{guest}` for jobs: name one in node.toml, below [directories]")
        })?;
        if !known.write {
            anyhow::bail!(
                "jobs may not write to `{guest}` on this node, and directories cannot be opened to them for reading alone yet: set \
                 `write = true` in node.toml"
            );
        }
        Ok(OpenDirectory {
            host: known.path.to_string_lossy().into_owned(),
            guest: guest.clone(),
        })
    });
    opened.collect()
}

/// An instance with this host's data.
pub(crate) fn instantiate(
    compiled: &Compiled,
    host: Host,
) -> anyhow::Result<(Store<Host>, GuestInstance<Host>)> {
    let mut store = Store::new(compiled.guest.module().engine(), host);
    let instance = host::instantiate(&mut store, &compiled.guest)?;
    Ok((store, instance))
}

/// Exports that are called without arguments.
pub(crate) fn entries(names: &[String]) -> Vec<Entry> {
    let entry = |name: &String| Entry {
        name: name.clone(),
        arguments: Vec::new(),
    };
    names.iter().map(entry).collect()
}
