//! What goes into the source's machine and what comes out, besides messages.
//!
//! Actions are carried out in the order in which they come; those that take time answer with an input, which the action's
//! comment names, and do not hold up the next ones. When a link is lost or closed, those that send on it are given up, and do not
//! answer any more. Nothing else may be done to guest, link or journal meanwhile.

use std::time::Duration;

use crate::convergence::GuestSample;
use crate::ids::{Digest, Epoch, PageRun};
use crate::message::{Channel, Failure, Message};
use crate::offer::Refusal;
use crate::ownership::{NotPersisted, Record, Resolution};
use crate::progress::Progress;
use crate::received::PageBitmaps;

/// One connection with its three channels, numbered by the driver: messages of a link that was lost are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What happens at the source.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceInput {
    /// A link is there, dialled by either side.
    LinkUp(LinkId),
    /// It is lost, or a frame on it could not be decoded.
    LinkLost(LinkId, String),
    /// [`SourceAction::Dial`] failed.
    DialFailed(String),
    /// What the transport itself knows of the link, if it does. May come at any time.
    LinkEstimate {
        /// Time there and back.
        round_trip: Option<Duration>,
        /// Bytes a second.
        bandwidth_bytes_per_second: Option<f64>,
    },
    /// So many bytes more were handed to the transport on the bulk channel. Shows that a long action goes on.
    BulkProgress {
        /// Bytes since the last time.
        bytes: u64,
    },
    /// [`SourceAction::SendProbe`] or [`SourceAction::SendModule`] is done: its last byte was handed to the transport.
    ModuleSent,
    /// Answer to [`SourceAction::MeasureGuest`].
    GuestMeasured(GuestSample),
    /// [`SourceAction::CopyRound`] is done: all its pages were handed to the transport.
    RoundCopied {
        /// Which round.
        round: u32,
        /// Pages in it.
        pages: u64,
        /// Bytes that they took, packed.
        bytes: u64,
    },
    /// [`SourceAction::StopGuest`] is done.
    GuestStopped {
        /// Post-copy: the pages that the destination does not have as they are now. Zero pages that it has never been sent are
        /// not among them.
        missing: PageBitmaps,
        /// How long it has been standing still.
        standing: Duration,
    },
    /// The guest did not stop, or its state cannot be saved: it runs.
    StopFailed(String),
    /// The guest has come to its end, here.
    GuestEnded,
    /// [`SourceAction::SendState`] is done.
    StateSent {
        /// Of this attempt.
        attempt: u32,
        /// Bytes of the state.
        bytes: u64,
        /// Their BLAKE3 digest.
        digest: Digest,
    },
    /// [`SourceAction::SendPages`] is done: the channel takes more.
    PagesSent {
        /// Which channel.
        channel: Channel,
        /// Pages that were sent.
        pages: u64,
        /// Bytes that they took, packed.
        bytes: u64,
    },
    /// [`SourceAction::Persist`] is done or has failed.
    Persisted(Result<(), NotPersisted>),
    /// Somebody cancels the migration. Too late once it is committing.
    Cancel,
    /// A person decides, because the destination is gone for good.
    Resolve(Resolution),
    /// Something that an action needs has failed (memory cannot be read, pages cannot be tracked).
    Failed(String),
}

/// What the source is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceAction {
    /// Connect to the destination. Answer: [`SourceInput::LinkUp`] or [`SourceInput::DialFailed`].
    Dial,
    /// Close a link: it is of no use any more. No answer.
    Close(LinkId),
    /// Send a message without payload, now, in front of what other channels hold. No answer.
    Send {
        /// On its channel of this link.
        link: LinkId,
        /// In this epoch.
        epoch: Epoch,
        /// What.
        message: Message,
    },
    /// Send [`crate::message::BulkMessage::Probe`] frames of so many bytes in all, random ones. No answer.
    SendProbe {
        /// Bytes.
        bytes: u64,
    },
    /// Send this variant of the module in pieces, and `ModuleEnd`. Answer: [`SourceInput::ModuleSent`].
    SendModule {
        /// Its digest.
        digest: Digest,
        /// Bytes of it that are there already.
        from: u64,
    },
    /// Say how much memory the guest has and writes. Answer: [`SourceInput::GuestMeasured`].
    MeasureGuest,
    /// Send pages as [`crate::message::BulkMessage::Pages`] of this round: in the first round all that the guest has touched,
    /// later those that it has written since the last began. Answer: [`SourceInput::RoundCopied`]. The guest runs, or stands
    /// still if `is_last`.
    CopyRound {
        /// Which round.
        round: u32,
        /// The last round that the destination has completely. Pages of later ones may be lost: they go again, and not
        /// as differences to what was sent in those.
        complete: u32,
        /// Is the guest stopped, and this what is left?
        is_last: bool,
    },
    /// Slow the guest down, so that it gets this share of its time; 1.0 lifts it. No answer.
    Throttle {
        /// Between 0 and 1.
        share: f64,
    },
    /// Stop the guest at a safe point and save its state. Answer: [`SourceInput::GuestStopped`], `StopFailed` or `GuestEnded`.
    StopGuest {
        /// The last round that the destination has completely, as in [`SourceAction::CopyRound`].
        complete: u32,
    },
    /// Send the state in [`crate::message::BulkMessage::StatePiece`]s. Answer: [`SourceInput::StateSent`].
    SendState {
        /// Counts how often the guest was stopped to be moved.
        attempt: u32,
    },
    /// Send these pages, on the demand channel as `Answer`, in bulk as `Push`. Answer: [`SourceInput::PagesSent`].
    SendPages {
        /// Which channel.
        channel: Channel,
        /// Which pages.
        runs: Vec<PageRun>,
    },
    /// Change the job's journal by compare-and-set. Answer: [`SourceInput::Persisted`].
    Persist {
        /// What it must say now.
        expected: Record,
        /// What it shall say.
        record: Record,
    },
    /// Run the guest again, in this epoch: the stopped copy if it is still here, else from the newest checkpoint. The guest is
    /// not throttled any more. No answer.
    ResumeGuest {
        /// The epoch that it runs in.
        epoch: Epoch,
    },
    /// The stopped copy is not needed any more. No answer.
    ReleaseGuest,
    /// Tell people. No answer.
    Report(Progress),
    /// The machine is done: nothing comes after this.
    Finish(SourceOutcome),
}

/// How it ended at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceOutcome {
    /// The guest is the destination's.
    Moved,
    /// The guest runs here, and why.
    Stayed(Stay),
    /// The guest came to its end here before it was moved.
    GuestEnded,
}

/// Why a guest stays at its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stay {
    /// The destination does not take it.
    #[error("the destination does not take the guest: {0}")]
    Refused(Refusal),
    /// It could not run it.
    #[error("the destination could not run the guest: {0}")]
    Failed(Failure),
    /// Somebody cancelled.
    #[error("the migration was cancelled")]
    Cancelled,
    /// The destination could not be reached, or said nothing for too long.
    #[error("the destination {0}")]
    Silent(String),
    /// Something failed here.
    #[error("the guest could not be sent: {0}")]
    Local(String),
    /// The destination does not keep to the protocol.
    #[error("the destination does not keep to the protocol: {0}")]
    Protocol(String),
    /// A person decided.
    #[error("a person decided that the guest goes on here")]
    Resolved,
}
