//! What source and destination say to each other, on which channel, and in which order.
//!
//! ```text
//! source                    channel            destination
//!   Offer --------------------control--------->
//!   Probe* -------------------bulk------------->                    (auto: measures the link meanwhile)
//!         <-------------------control---------- Accepted | Refused
//!   ModulePiece*, ModuleEnd --bulk------------->                    (if it lacks the module)
//!         <-------------------control---------- ModuleReady
//!   Pages*, RoundEnd ---------bulk------------->                    (once per round; the guest runs here)
//!         <-------------------control---------- RoundDone
//!                                                                   the guest stops
//!   Pages*, RoundEnd | PageMap   bulk---------->                    (post-copy sends the map of what will follow)
//!   StatePiece*, StateEnd ----bulk------------->
//!         <-------------------control---------- Prepared | Failed
//!   Commit -------------------control--------->                     journal says Committing before, Arrived after
//!         <-------------------control---------- Running             the guest runs there
//!         <-------------------demand----------- Demand              (post-copy)
//!   Answer -------------------demand----------->
//!   Push* --------------------bulk------------->                    (post-copy)
//!   PushEnd ------------------bulk------------->
//!         <-------------------control---------- AllReceived
//!         <-------------------control---------- Durable             its first checkpoint is on disk there
//!   Released -----------------control--------->                     the source has let go
//!
//! any time before Commit: Abort (source) or Failed (destination): the guest goes on at its source
//! after Commit, if the destination will not run it: Fenced; the source goes on in a newer epoch
//! on a new link: Rejoin (source), then Rejoined (destination); both go on where they were
//! ```
//!
//! A channel keeps its order; messages of different channels may overtake each other. Every message names its migration and the
//! epoch that the destination would own: a message of another migration or an older epoch is dropped.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Epoch, MigrationId, PageRun};
use crate::offer::{Acceptance, Offer, Refusal};
use crate::received::PageSet;

/// One of the three ordered streams of a link. Greater ones are more urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Channel {
    /// Source to destination: module, pages, state.
    Bulk,
    /// Both ways: who does what.
    Control,
    /// Pages that a stopped guest waits for: asked one way, answered the other.
    Demand,
}

/// A message as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Which migration it belongs to.
    pub migration: MigrationId,
    /// The epoch that the destination owns or would own.
    pub epoch: Epoch,
    /// What it says.
    pub message: Message,
    /// Module bytes, packed pages or state; empty in messages that carry none.
    pub payload: Vec<u8>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// On the control channel, from the source.
    Source(SourceMessage),
    /// On the control channel, from the destination.
    Destination(DestinationMessage),
    /// On the bulk channel, from the source.
    Bulk(BulkMessage),
    /// On the demand channel.
    Demand(DemandMessage),
}

/// What a source says on the control channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceMessage {
    /// Will you take this guest?
    Offer(Box<Offer>),
    /// The guest stays; forget it.
    Abort(AbortReason),
    /// Own it and run it. The source never runs it in an epoch up to this one's from now on.
    Commit,
    /// The source has let go of its copy: this migration is over.
    Released,
    /// First message on a new link after the first: where are we?
    Rejoin(Rejoin),
    /// A newer epoch of the job is somewhere else: stop the guest and let go.
    Superseded(Epoch),
    /// Answer [`DestinationMessage::Pong`].
    Ping(u32),
}

/// What a destination says on the control channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DestinationMessage {
    /// It takes the guest.
    Accepted(Box<Acceptance>),
    /// It does not.
    Refused(Refusal),
    /// The module is there and compiled; this took so long.
    ModuleReady {
        /// Time it took to compile it.
        compile_time: Duration,
    },
    /// All pages of a round are in place.
    RoundDone {
        /// Which one.
        round: u32,
    },
    /// The guest is rebuilt and can run at once.
    Prepared,
    /// It cannot be prepared; forget it.
    Failed(Failure),
    /// The destination owns the guest, and runs it.
    Running,
    /// Post-copy: no page is missing.
    AllReceived,
    /// A crash of the destination cannot lose the guest any more.
    Durable,
    /// The destination does not run the guest in this epoch, and never will.
    Fenced(Failure),
    /// Answer to [`SourceMessage::Rejoin`].
    Rejoined(Rejoined),
    /// A newer epoch of the job is somewhere else: let go.
    Superseded(Epoch),
    /// Answer to [`SourceMessage::Ping`], with its number.
    Pong(u32),
}

/// What a source sends in bulk. The payload of the frame is what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BulkMessage {
    /// Bytes without meaning, to measure the link.
    Probe {
        /// Are these the last ones? The destination answers [`DestinationMessage::Pong`] with number 0.
        is_last: bool,
    },
    /// Bytes of the module, from `offset` on.
    ModulePiece {
        /// Bytes of it that went before.
        offset: u64,
    },
    /// The module is complete.
    ModuleEnd,
    /// Pages of a round, packed. Each page comes once in a round.
    Pages {
        /// Which round.
        round: u32,
        /// Which pages, ascending within each memory.
        runs: Vec<PageRun>,
    },
    /// A round is complete.
    RoundEnd {
        /// Which one.
        round: u32,
        /// Pages in it.
        pages: u64,
    },
    /// Post-copy: the pages that will follow the state, out of those that the destination does not have.
    PageMap(Vec<PageSet>),
    /// Bytes of the state without memory, from `offset` on.
    StatePiece {
        /// Bytes of it that went before.
        offset: u64,
    },
    /// The state is complete.
    StateEnd {
        /// Its length.
        bytes: u64,
        /// Its BLAKE3 digest.
        digest: Digest,
        /// The last round that went before it.
        rounds: u32,
        /// Post-copy: pages of the map that went before it.
        following: u64,
    },
    /// Post-copy: pages that were not asked for, packed.
    Push {
        /// Which pages, ascending within each memory.
        runs: Vec<PageRun>,
    },
    /// Post-copy: all pages of the map have been sent.
    PushEnd,
}

/// What goes over the demand channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DemandMessage {
    /// The guest waits for these pages.
    Demand(Vec<PageRun>),
    /// Here they are: the payload, packed.
    Answer(Vec<PageRun>),
}

/// Why a source takes its guest back before it has committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AbortReason {
    /// Somebody cancelled the migration.
    Cancelled,
    /// The guest has come to its end at the source.
    GuestEnded,
    /// The destination said nothing for too long.
    TimedOut,
    /// It failed at the source, for this reason.
    Failed(String),
}

/// Why a destination cannot run a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The module cannot be compiled.
    Module(String),
    /// The state or the stack cannot be rebuilt.
    Restore(String),
    /// Its journal cannot be written.
    Journal(String),
    /// What arrived is not what was promised.
    Protocol(String),
    /// The source was gone, or said nothing for too long.
    TimedOut,
    /// The destination shuts down, or somebody cancelled there.
    Cancelled,
    /// It has crashed or was restarted, and does not have the guest any more.
    Lost,
    /// Pages that the guest needs are gone with the source.
    PagesLost,
    /// Something else failed there.
    Other(String),
}

/// What a source tells on a new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejoin {
    /// Where it is.
    pub phase: SourcePhase,
    /// Post-copy: does it still have the pages? Not after a crash.
    pub has_pages: bool,
}

/// Where a source is when the link comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourcePhase {
    /// Before the module is ready.
    Module,
    /// The guest runs at the source, rounds are copied. What was prepared is to be thrown away.
    Copying,
    /// The source has committed.
    Committed,
}

/// Where a destination is when the link comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rejoined {
    /// It lacks the module, and has so many bytes of it.
    Module {
        /// Bytes that it has, from the module's beginning.
        bytes: u64,
    },
    /// It compiles the module, or has done so.
    Compiling,
    /// Module there; these rounds are complete.
    Copying {
        /// The last complete round; 0 if none is.
        round: u32,
    },
    /// The guest is rebuilt.
    Prepared {
        /// Post-copy: pages that have not arrived.
        missing: Vec<PageSet>,
    },
    /// It owns the guest.
    Running {
        /// Post-copy: pages that have not arrived.
        missing: Vec<PageSet>,
    },
}

impl Message {
    /// The channel that it travels on.
    #[must_use]
    pub fn channel(&self) -> Channel {
        match self {
            Self::Source(_) | Self::Destination(_) => Channel::Control,
            Self::Bulk(_) => Channel::Bulk,
            Self::Demand(_) => Channel::Demand,
        }
    }

    /// May it have a payload?
    #[must_use]
    pub fn has_payload(&self) -> bool {
        match self {
            Self::Source(_) | Self::Destination(_) => false,
            Self::Bulk(bulk) => match bulk {
                BulkMessage::Probe { .. }
                | BulkMessage::ModulePiece { .. }
                | BulkMessage::Pages { .. }
                | BulkMessage::StatePiece { .. }
                | BulkMessage::Push { .. } => true,
                BulkMessage::ModuleEnd
                | BulkMessage::RoundEnd { .. }
                | BulkMessage::PageMap(_)
                | BulkMessage::StateEnd { .. }
                | BulkMessage::PushEnd => false,
            },
            Self::Demand(DemandMessage::Demand(_)) => false,
            Self::Demand(DemandMessage::Answer(_)) => true,
        }
    }
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the migration was cancelled at the source"),
            Self::GuestEnded => f.write_str("the guest came to its end at the source"),
            Self::TimedOut => f.write_str("the source waited for too long"),
            Self::Failed(reason) => write!(f, "it failed at the source: {reason}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(reason) => write!(f, "it cannot compile the module: {reason}"),
            Self::Restore(reason) => write!(f, "it cannot rebuild the guest: {reason}"),
            Self::Journal(reason) => write!(f, "it cannot write its journal: {reason}"),
            Self::Protocol(reason) => write!(f, "what arrived is not what was promised: {reason}"),
            Self::TimedOut => f.write_str("it waited for the source for too long"),
            Self::Cancelled => f.write_str("the migration was cancelled there"),
            Self::Lost => f.write_str("it was restarted, and does not have the guest any more"),
            Self::PagesLost => f.write_str("pages that the guest needs were lost with the source"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}
