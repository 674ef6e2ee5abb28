//! What a node lets others do, and how much: its `node.toml`.
//!
//! ```toml
//! [[peer]]
//! name = "edge"
//! fingerprint = "b3:..."         # optional if the authority vouches for it
//! address = "edge.example:7333"  # optional
//! may = ["submit", "move-here", "move-away", "read", "manage"]
//!
//! [limits]
//! memory = "2GiB"                # of all jobs' memories
//! jobs = 16
//! modules = ["<64 hex digits>"]  # only jobs of these original modules
//!
//! [directories]
//! "/data" = { path = "/srv/data", write = true }
//!
//! [rate]
//! connections_per_second = 50    # of one address
//! burst = 200
//! handshakes = 64                # at once, of all addresses
//! ```

mod check;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wasm_migrate_protocol::{Digest, NodeName};

use crate::fingerprint::Fingerprint;
use crate::peer::{Peer, Vouched};

/// A node's `node.toml`. The default one lists nobody and limits nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Who may come, and do what.
    #[serde(rename = "peer")]
    pub peers: Vec<PeerEntry>,
    /// How much jobs may use.
    pub limits: Limits,
    /// Which directories jobs may use: the guest's name of each, and what it is here.
    pub directories: BTreeMap<String, Directory>,
    /// How often strangers may knock.
    pub rate: Rate,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerEntry {
    /// Its name. Without a fingerprint, the authority has to vouch for it.
    pub name: NodeName,
    /// Of its certificate; no other one counts then.
    pub fingerprint: Option<Fingerprint>,
    /// Where it listens: host and port.
    pub address: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub may: BTreeSet<Action>,
}

/// What a peer may do on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Start jobs.
    Submit,
    /// Bring jobs that run on the peer.
    MoveHere,
    /// Have jobs of this node moved elsewhere.
    MoveAway,
    /// See jobs and their output.
    Read,
    /// Cancel, kill and resolve.
    Manage,
}

/// How much jobs may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of all jobs' memories together; any number if absent.
    #[serde(deserialize_with = "units::bytes")]
    pub memory: Option<u64>,
    /// How many jobs; any number if absent.
    pub jobs: Option<u32>,
    /// Digests of the original modules that may run; any if absent.
    #[serde(deserialize_with = "units::digests")]
    pub modules: Option<BTreeSet<Digest>>,
}

/// A directory of this node that jobs may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// May they write there?
    #[serde(default)]
    pub write: bool,
}

/// What strangers, who have not shown a certificate yet, may cost a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Connections a second from one address (of IPv6, from one /64 network).
    pub connections_per_second: NonZeroU32,
    /// So many may come at once. A link over TCP takes three.
    pub burst: NonZeroU32,
    /// Handshakes at the same time, from all addresses together.
    pub handshakes: NonZeroU32,
}

/// Why a policy is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or has other tables, keys or values.
    #[error("{what}: {source}")]
    Parse {
        /// The file, or `node.toml`.
        what: String,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// It contradicts itself.
    #[error("{what}: {why}")]
    Invalid {
        /// The file, or `node.toml`.
        what: String,
        /// What is wrong.
        why: String,
    },
}

/// A peer may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` ({fingerprint}) may not {action}: {why}")]
pub struct Denied {
    name: NodeName,
    fingerprint: Fingerprint,
    action: Action,
    why: String,
}

impl Policy {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no policy, or contradicts itself.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| PolicyError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse_as(&text, &path.display().to_string())
    }

    /// Reads a text.
    ///
    /// # Errors
    /// It is no policy, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        Self::parse_as(text, "node.toml")
    }

    fn parse_as(text: &str, what: &str) -> Result<Self, PolicyError> {
        let policy: Self = toml::from_str(text).map_err(|source| PolicyError::Parse {
            what: what.to_owned(),
            source: Box::new(source),
        })?;
        policy.check().map_err(|why| PolicyError::Invalid {
            what: what.to_owned(),
            why,
        })?;
        Ok(policy)
    }

    /// May this peer do this?
    ///
    /// # Errors
    /// It may not.
    pub fn may(&self, peer: &Peer, action: Action) -> Result<(), Denied> {
        if matches!(peer.vouched, Vouched::Loopback | Vouched::Itself) {
            return Ok(());
        }
        let mut entries = self
            .entries(peer.fingerprint, &peer.name, peer.vouched)
            .peekable();
        let is_listed = entries.peek().is_some();
        if entries.any(|entry| entry.may.contains(&action)) {
            return Ok(());
        }
        let why = if is_listed {
            format!(
                "add \"{}\" to `may` of its [[peer]] in node.toml",
                action.key()
            )
        } else {
            "node.toml does not list it".to_owned()
        };
        Err(Denied {
            name: peer.name.clone(),
            fingerprint: peer.fingerprint,
            action,
            why,
        })
    }

    /// Is this peer let in?
    #[must_use]
    pub fn admits(&self, fingerprint: Fingerprint, name: &NodeName, vouched: Vouched) -> bool {
        matches!(vouched, Vouched::Loopback | Vouched::Itself)
            || self.entries(fingerprint, name, vouched).next().is_some()
    }

    /// Where a node listens, if the policy says so.
    #[must_use]
    pub fn address_of(&self, name: &NodeName) -> Option<&str> {
        self.peers
            .iter()
            .filter(|entry| entry.name == *name)
            .find_map(|entry| entry.address.as_deref())
    }

    /// May a module with this digest of its original run?
    #[must_use]
    pub fn allows_module(&self, original: Digest) -> bool {
        self.limits
            .modules
            .as_ref()
            .is_none_or(|modules| modules.contains(&original))
    }

    /// A name alone counts only if the authority vouches for it; a fingerprint has to be the peer's in any case.
    fn entries<'a>(
        &'a self,
        fingerprint: Fingerprint,
        name: &'a NodeName,
        vouched: Vouched,
    ) -> impl Iterator<Item = &'a PeerEntry> {
        self.peers.iter().filter(move |entry| {
            let is_meant = match entry.fingerprint {
                Some(pinned) => pinned == fingerprint,
                None => vouched == Vouched::ByAuthority,
            };
            entry.name == *name && is_meant
        })
    }
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Submit,
        Self::MoveHere,
        Self::MoveAway,
        Self::Read,
        Self::Manage,
    ];

    /// As `node.toml` has it.
    fn key(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::MoveHere => "move-here",
            Self::MoveAway => "move-away",
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Submit => "submit jobs",
            Self::MoveHere => "move jobs here",
            Self::MoveAway => "move jobs away",
            Self::Read => "read about jobs",
            Self::Manage => "manage jobs",
        })
    }
}

impl Default for Rate {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            connections_per_second: number(50),
            burst: number(200),
            handshakes: number(64),
        }
    }
}
