//! WASI as one of the host's states that go with a guest.
//!
//! A restore opens the guest's files and looks at them, and writes those that travel with it, which stay
//! if the resume fails. The guest's streams are untouched until it runs.

use super::{WasiCtx, wire};
use crate::host::{HostState, HostStateError, SectionVersion};

/// Name of the section of snapshots that holds the state of WASI.
pub const SECTION: &str = "wasi";

impl HostState for WasiCtx {
    fn name(&self) -> &str {
        SECTION
    }

    fn version(&self) -> SectionVersion {
        SectionVersion::new(wire::VERSION.into(), 0)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, HostStateError> {
        Ok(Self::snapshot(self)?)
    }

    /// Maps the directories that this context was built with.
    fn restore(&mut self, _: SectionVersion, bytes: &[u8]) -> Result<(), HostStateError> {
        let prepared = Self::prepare(&self.stdio, self.preopens.clone(), self.files, bytes)?;
        self.prepared = Some(Box::new(prepared));
        Ok(())
    }

    fn activate(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            *self = prepared.begin(std::mem::take(&mut self.stdio));
        }
    }

    fn abort(&mut self) {
        self.prepared = None;
    }
}
