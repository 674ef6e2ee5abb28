//! State of the host that goes with a guest: open files, counters, sessions, whatever its imports work on.
//!
//! Each kind of state is a [`HostState`] and has a section of its own in snapshots. A guest is resumed in
//! two phases, so that a resume that fails leaves no trace in the world:
//!
//! ```text
//! sections known? --> restore, one after the other --> guest restored and its stack rebuilt --> activate all
//!      | no                    | error                          | error
//!      v                       v                                v
//!    refused          abort those that were begun            abort all
//! ```
//!
//! All rules about sections and their versions are in this file: [`check`] and [`SectionVersion::reads`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Why a host state cannot be saved or restored, in its own words.
pub type HostStateError = Box<dyn std::error::Error + Send + Sync>;

/// Sections of a snapshot, by name.
pub type Sections = BTreeMap<String, Section>;

/// One kind of state of the host that goes with a guest.
pub trait HostState {
    /// Name of its section: short, and its own among all that a guest may meet (such as `acme.sessions`).
    fn name(&self) -> &str;

    /// Version of what [`HostState::snapshot`] writes, and the newest that [`HostState::restore`] reads.
    fn version(&self) -> SectionVersion;

    /// Must a host that resumes the guest have this state? If not, the section is left out with a warning
    /// where it is unknown or of another version.
    fn is_required(&self) -> bool {
        true
    }

    /// Saves the state. The guest is stopped, and may go on here afterwards.
    ///
    /// # Errors
    /// The state cannot be saved; there is no snapshot then, and the guest can go on.
    fn snapshot(&mut self) -> Result<Vec<u8>, HostStateError>;

    /// Reads a state and prepares everything for it, without an effect that others could see: what can fail
    /// belongs here. `version` is one that [`SectionVersion::reads`] allows. The bytes may come from anyone.
    ///
    /// # Errors
    /// The bytes make no such state, or this host cannot provide what it needs.
    fn restore(&mut self, version: SectionVersion, bytes: &[u8]) -> Result<(), HostStateError>;

    /// The guest runs from now on, with what was prepared. Called from within the guest, once its stack is
    /// rebuilt and before it calls any host function.
    fn activate(&mut self);

    /// The guest will not run here: undoes what [`HostState::restore`] did, also if that failed halfway.
    fn abort(&mut self);
}

/// Version of a section's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SectionVersion {
    /// Another one cannot be read.
    pub major: u16,
    /// A newer one cannot be read, an older one can.
    pub minor: u16,
}

/// A host state as a snapshot holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Version of the contents.
    pub version: SectionVersion,
    /// Must a host that resumes the guest know it?
    pub is_required: bool,
    /// The contents.
    pub bytes: Vec<u8>,
}

/// Why the host's part of a guest could not be saved or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Two states have the same name.
    #[error("two states of this host have the name `{0}`: each needs its own")]
    SameName(String),
    /// A state could not be saved.
    #[error("the host state `{name}` cannot be saved")]
    Snapshot {
        /// Its name.
        name: String,
        /// Its reason.
        source: HostStateError,
    },
    /// The snapshot has a section that this host does not know.
    #[error(
        "the snapshot needs the host state `{name}` (version {version}), which this host does not have: \
         resume it on a host that has it"
    )]
    Unknown {
        /// Name of the section.
        name: String,
        /// Its version.
        version: SectionVersion,
    },
    /// The snapshot lacks a section that this host needs.
    #[error(
        "the snapshot has no section `{0}`, which this host needs: resume it on a host like the first"
    )]
    Missing(String),
    /// A section has a version that this host does not read.
    #[error(
        "the snapshot's host state `{name}` has version {found}, this host reads {}.0 to {readable}: resume \
         it with the version that wrote it or a newer one of the same major version",
        readable.major
    )]
    Version {
        /// Name of the section.
        name: String,
        /// Its version.
        found: SectionVersion,
        /// The newest that this host reads.
        readable: SectionVersion,
    },
    /// A state could not be restored.
    #[error("the host state `{name}` cannot be restored")]
    Restore {
        /// Its name.
        name: String,
        /// Its reason.
        source: HostStateError,
    },
}

impl SectionVersion {
    /// A version.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }

    /// Can a host whose own version is this one read `found`?
    #[must_use]
    pub fn reads(self, found: Self) -> bool {
        self.major == found.major && self.minor >= found.minor
    }
}

impl fmt::Display for SectionVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Saves all states of a host.
///
/// # Errors
/// One of them cannot be saved.
pub fn snapshot_host(states: &mut [&mut dyn HostState]) -> Result<Sections, HostError> {
    let mut sections = Sections::new();
    for state in states {
        let name = state.name().to_owned();
        let bytes = state.snapshot().map_err(|source| HostError::Snapshot {
            name: name.clone(),
            source,
        })?;
        let section = Section {
            version: state.version(),
            is_required: state.is_required(),
            bytes,
        };
        if sections.insert(name.clone(), section).is_some() {
            return Err(HostError::SameName(name));
        }
    }
    Ok(sections)
}

/// First phase of a resume: has all states prepare themselves. [`activate_host`] or [`abort_host`] must
/// follow.
///
/// # Errors
/// The sections do not fit the states, or one cannot be restored. All are as they were before.
pub fn restore_host(
    states: &mut [&mut dyn HostState],
    sections: &Sections,
) -> Result<(), HostError> {
    check(states, sections)?;
    for begun in 1..=states.len() {
        let state = &mut states[begun - 1];
        let readable = |section: &&Section| state.version().reads(section.version);
        let Some(section) = sections.get(state.name()).filter(readable) else {
            continue;
        };
        if let Err(source) = state.restore(section.version, &section.bytes) {
            let name = state.name().to_owned();
            abort_host(&mut states[..begun]);
            return Err(HostError::Restore { name, source });
        }
    }
    Ok(())
}

/// Second phase of a resume that succeeds.
pub fn activate_host(states: &mut [&mut dyn HostState]) {
    for state in states {
        state.activate();
    }
}

/// Second phase of a resume that fails: the last state that was prepared is undone first.
pub fn abort_host(states: &mut [&mut dyn HostState]) {
    for state in states.iter_mut().rev() {
        state.abort();
    }
}

/// Checks names and versions, before anything is restored.
fn check(states: &[&mut dyn HostState], sections: &Sections) -> Result<(), HostError> {
    let mut known = BTreeSet::new();
    for state in states {
        let name = state.name();
        if !known.insert(name) {
            return Err(HostError::SameName(name.to_owned()));
        }
        let Some(section) = sections.get(name) else {
            if state.is_required() {
                return Err(HostError::Missing(name.to_owned()));
            }
            log::warn!("the snapshot has no host state `{name}`: it begins anew");
            continue;
        };
        if state.version().reads(section.version) {
            continue;
        }
        if section.is_required || state.is_required() {
            return Err(HostError::Version {
                name: name.to_owned(),
                found: section.version,
                readable: state.version(),
            });
        }
        log::warn!(
            "the snapshot's host state `{name}` has version {}, which this host cannot read: it is left out",
            section.version
        );
    }
    for (
        name,
        Section {
            version,
            is_required,
            ..
        },
    ) in sections
    {
        if known.contains(name.as_str()) {
            continue;
        }
        if *is_required {
            return Err(HostError::Unknown {
                name: name.clone(),
                version: *version,
            });
        }
        log::warn!("the snapshot's host state `{name}` is unknown to this host: it is left out");
    }
    Ok(())
}
