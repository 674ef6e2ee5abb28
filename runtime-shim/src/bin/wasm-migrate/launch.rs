//! How a program was started, as far as a later resume needs to know it: kept in the snapshot.

use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use wasm_migrate::wasi::{
    FilePolicy, ListedWasi, RestoreError, SECTION as WASI_SECTION, StandaloneFiles, WasiBuilder,
    WasiCtx,
};
use wasm_migrate::{HostError, HostState, HostStateError, SectionVersion, Sections, abi};

use crate::ship::Shipping;

/// Section of a snapshot that holds [`Launch`], as JSON.
const LAUNCH_SECTION: &str = "launch";
const VERSION: SectionVersion = SectionVersion::new(1, 0);

/// How a program was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Exports to be called, in this order; the last one's results are printed if the user named it.
    pub(crate) entries: Vec<String>,
    /// Are the results of the last entry printed?
    pub(crate) prints_results: bool,
    /// Directories that were opened to the guest.
    pub(crate) dirs: Vec<Directory>,
    /// Arguments and environment that the guest was started with.
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<Variable>,
}

impl fmt::Display for Directory {
    /// As the option that opens it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--dir {}::{}", self.host, self.guest)
    }
}

/// A directory that is opened to the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// Path on the host.
    pub(crate) host: String,
    /// The guest's name for it.
    pub(crate) guest: String,
}

/// A variable of the guest's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl Launch {
    /// Arguments of the last entry, as text: a program's own are for WASI.
    pub(crate) fn entry_arguments(&self) -> &[String] {
        match self.prints_results {
            true => &self.args,
            false => &[],
        }
    }

    /// This host's streams, and the directories. Where a guest is shipped through standard output, its own goes
    /// the same way.
    pub(crate) fn wasi(
        &self,
        files: FilePolicy,
        shipping: Option<&Shipping>,
    ) -> anyhow::Result<WasiBuilder> {
        let mut builder = WasiBuilder::new().inherit_stdio().files(files);
        if let Some(output) = shipping.and_then(Shipping::guest_output) {
            builder = builder.stdout(output);
        }
        for Directory { host, guest } in &self.dirs {
            builder = builder.preopen(Path::new(host), guest)?;
        }
        Ok(builder)
    }

    /// Reads the launch of a guest back, before its host is made. Its directories are what the snapshot says: whoever
    /// opens them trusts it.
    pub(crate) fn read(sections: &Sections) -> anyhow::Result<Self> {
        let name = LAUNCH_SECTION.to_owned();
        let Some(section) = sections.get(LAUNCH_SECTION) else {
            return Err(HostError::Missing(name).into());
        };
        if !VERSION.reads(section.version) {
            return Err(HostError::Version {
                name,
                found: section.version,
                readable: VERSION,
            }
            .into());
        }
        serde_json::from_slice(&section.bytes)
            .context("the snapshot does not say how its program was started")
    }

    /// Exports of a module that are to be called, in this order: a library is told to initialise itself before any other of its
    /// exports is called.
    pub(crate) fn entries_of(module: &wasmtime::Module, last: String) -> Vec<String> {
        let mut entries = vec![abi::START.to_owned(), "_initialize".to_owned()];
        entries.retain(|name| module.get_export(name).is_some() && *name != last);
        entries.push(last);
        entries
    }

    /// Exports that are still to be called when the one of this name has returned.
    pub(crate) fn entries_after(&self, entry: &str) -> &[String] {
        let running = self.entries.iter().position(|name| name == entry);
        running.map_or(&[], |running| &self.entries[running + 1..])
    }

    /// Files that the guest of a snapshot has open, for a module that opens them by itself.
    pub(crate) fn standalone_files(sections: &Sections) -> anyhow::Result<StandaloneFiles> {
        let section = sections
            .get(WASI_SECTION)
            .context("the snapshot has no section of WASI's: this was no program")?;
        Ok(StandaloneFiles::read(&section.bytes)?)
    }
}

impl HostState for Launch {
    fn name(&self) -> &str {
        LAUNCH_SECTION
    }

    fn version(&self) -> SectionVersion {
        VERSION
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, HostStateError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Directories are those that this host has opened, not those recorded.
    fn restore(&mut self, _: SectionVersion, bytes: &[u8]) -> Result<(), HostStateError> {
        *self = Self {
            dirs: std::mem::take(&mut self.dirs),
            ..serde_json::from_slice(bytes)?
        };
        Ok(())
    }

    /// Nothing: what a launch says has been heeded before there is a guest.
    fn activate(&mut self) {}

    /// Nothing: a launch that was read has no effect by itself.
    fn abort(&mut self) {}
}

/// The guest's WASI state, as people read it; `None` if the snapshot holds none.
pub(crate) fn list_wasi(sections: &Sections) -> Option<Result<ListedWasi, RestoreError>> {
    let section = sections.get(WASI_SECTION)?;
    Some(WasiCtx::list(&section.bytes))
}
