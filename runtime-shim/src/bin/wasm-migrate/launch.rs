//! How a program was started, as far as a later resume needs to know it: kept in the snapshot.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use wasm_migrate::wasi::{StandaloneFiles, WasiBuilder, WasiCtx};

use crate::ship::Shipping;

/// Section of a snapshot that holds [`Launch`], as JSON.
const LAUNCH_SECTION: &str = "launch";
/// Section of a snapshot that holds the guest's WASI state.
const WASI_SECTION: &str = "wasi";

/// How a program was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    pub(crate) fn wasi(&self, shipping: Option<&Shipping>) -> anyhow::Result<WasiBuilder> {
        let mut builder = WasiBuilder::new().inherit_stdio();
        if let Some(output) = shipping.and_then(Shipping::guest_output) {
            builder = builder.stdout(output);
        }
        for Directory { host, guest } in &self.dirs {
            builder = builder.preopen(Path::new(host), guest)?;
        }
        Ok(builder)
    }

    /// What a snapshot keeps of the host.
    pub(crate) fn sections(&self, wasi: &WasiCtx) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let wasi = wasi
            .snapshot()
            .context("the guest's files cannot be recorded")?;
        let launch = serde_json::to_vec(self).context("the launch cannot be recorded")?;
        Ok([
            (LAUNCH_SECTION.to_owned(), launch),
            (WASI_SECTION.to_owned(), wasi),
        ]
        .into())
    }

    /// Reads the launch back.
    pub(crate) fn read(sections: &BTreeMap<String, Vec<u8>>) -> anyhow::Result<Self> {
        let launch = section(sections, LAUNCH_SECTION)?;
        serde_json::from_slice(launch).context("the snapshot's launch section is damaged")
    }

    /// Exports that are still to be called when the one of this name has returned.
    pub(crate) fn entries_after(&self, entry: &str) -> &[String] {
        let running = self.entries.iter().position(|name| name == entry);
        running.map_or(&[], |running| &self.entries[running + 1..])
    }

    /// Files that the guest of a snapshot has open, for a module that opens them by itself.
    pub(crate) fn standalone_files(
        sections: &BTreeMap<String, Vec<u8>>,
    ) -> anyhow::Result<StandaloneFiles> {
        Ok(StandaloneFiles::read(section(sections, WASI_SECTION)?)?)
    }

    /// Reads the launch and the guest's WASI state back. `dirs` take the place of those recorded, if there
    /// are any.
    pub(crate) fn from_sections(
        sections: &BTreeMap<String, Vec<u8>>,
        dirs: Vec<Directory>,
        shipping: Option<&Shipping>,
    ) -> anyhow::Result<(Self, WasiCtx)> {
        let mut launch = Self::read(sections)?;
        if !dirs.is_empty() {
            launch.dirs = dirs;
        }
        let wasi = WasiCtx::restore(launch.wasi(shipping)?, section(sections, WASI_SECTION)?)
            .context("the guest's files cannot be found again on this host")?;
        Ok((launch, wasi))
    }
}

fn section<'s>(sections: &'s BTreeMap<String, Vec<u8>>, name: &str) -> anyhow::Result<&'s [u8]> {
    let bytes = sections.get(name).map(Vec::as_slice);
    bytes.with_context(|| format!("the snapshot has no section `{name}`: this was no program"))
}
