//! What a machine tells people about a migration under way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::offer::Mode;

/// Where a migration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The link is being made, or made anew.
    Connecting,
    /// The destination decides.
    Offering,
    /// The module goes over, or is compiled there.
    Module,
    /// Rounds, while the guest runs at the source.
    Copying,
    /// The guest is stopping or stopped; the last of it goes over.
    Stopped,
    /// The destination is being made the owner. If the link is lost here, nobody knows who owns the guest until it is back.
    Committing,
    /// The guest runs at the destination, its pages follow.
    Pushing,
    /// The guest runs at the destination, the source keeps a copy until that is on disk there.
    Settling,
    /// Over.
    Finished,
}

/// How far a migration is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// How the guest moves; `Auto` until that is chosen.
    pub mode: Mode,
    /// Rounds begun.
    pub round: u32,
    /// Pages sent so far, counted as often as they were sent.
    pub pages_sent: u64,
    /// Bytes sent so far, as packed.
    pub bytes_sent: u64,
    /// Pages still to come, as far as is known.
    pub pages_remaining: u64,
    /// Pages that the guest writes anew in a second.
    pub dirty_pages_per_second: Option<f64>,
    /// Bytes that the link takes in a second.
    pub bandwidth_bytes_per_second: Option<f64>,
    /// Time from one side to the other and back.
    pub round_trip: Option<Duration>,
    /// When the rest should be there.
    pub time_remaining: Option<Duration>,
    /// How long the guest stood still, once it runs again.
    pub downtime: Option<Duration>,
}
