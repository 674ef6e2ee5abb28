//! What goes into the destination's machine and what comes out, besides messages.
//!
//! Actions are carried out in the order in which they come; those that take time answer with an input, which the action's
//! comment names, and do not hold up the next ones. When something fails, that is told before any later action is answered.

use std::time::Duration;

use crate::ids::{Digest, Epoch, PageRun};
use crate::message::{Failure, Message};
use crate::ownership::{NotPersisted, Record, Resolution};
use crate::progress::Progress;
use crate::received::PageBitmaps;
use crate::source::LinkId;

/// What happens at the destination.
#[derive(Debug, Clone, PartialEq)]
pub enum DestinationInput {
    /// A link is there, dialled by either side.
    LinkUp(LinkId),
    /// It is lost, or a frame on it could not be decoded.
    LinkLost(LinkId, String),
    /// [`DestinationAction::Dial`] failed, or cannot be done from here.
    DialFailed(String),
    /// [`DestinationAction::PrepareModule`] is done.
    ModulePrepared {
        /// Time it took to compile.
        compile_time: Duration,
    },
    /// [`DestinationAction::FinishRound`] is done: all pages handed out before are in place.
    RoundFinished {
        /// Which round.
        round: u32,
    },
    /// [`DestinationAction::Restore`] is done: the stack is rebuilt, and the guest is held.
    Restored {
        /// Of this attempt.
        attempt: u32,
    },
    /// [`DestinationAction::Persist`] is done or has failed.
    Persisted(Result<(), NotPersisted>),
    /// The guest waits for these pages: all pages of this protocol in the one page of the kernel that it touched.
    PageFault(Vec<PageRun>),
    /// [`DestinationAction::MakeDurable`] is done: a checkpoint of the guest (or its end) is on disk.
    MadeDurable,
    /// It was not: it will be asked for again.
    DurableFailed(String),
    /// Something that an action needs has failed: the module does not compile, the state does not fit, a page cannot be put in
    /// place. The guest goes on at its source, from where it stopped there, unless a checkpoint is on disk here.
    Failed(Failure),
    /// Somebody cancels the migration here, or the node shuts down. Too late once the guest runs.
    Cancel,
    /// A person decides, because the source is gone for good.
    Resolve(Resolution),
}

/// What the destination is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum DestinationAction {
    /// Connect to the source, if that can be done. Answer: [`DestinationInput::LinkUp`] or `DialFailed`.
    Dial,
    /// Close a link: it is of no use any more. No answer.
    Close(LinkId),
    /// Send a message without payload, now. No answer.
    Send {
        /// On its channel of this link.
        link: LinkId,
        /// In this epoch.
        epoch: Epoch,
        /// What.
        message: Message,
    },
    /// Keep these bytes of the module. No answer.
    StoreModule {
        /// Bytes that went before.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Compile the module, which is in store or was received completely. Answer: [`DestinationInput::ModulePrepared`].
    PrepareModule {
        /// Its digest, which was checked if it was received.
        digest: Digest,
    },
    /// Put these pages in place; the guest does not run yet. No answer; failures as [`DestinationInput::Failed`].
    ApplyPages {
        /// Which pages, within the memories that were agreed on, ascending.
        runs: Vec<PageRun>,
        /// Them, packed.
        payload: Vec<u8>,
    },
    /// All pages of a round were handed out. Answer: [`DestinationInput::RoundFinished`], once they are in place.
    FinishRound {
        /// Which round.
        round: u32,
    },
    /// Keep these bytes of the state. No answer.
    StoreState {
        /// Bytes that went before.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Rebuild the guest from the state, whose digest was checked, and hold it. Answer: [`DestinationInput::Restored`].
    /// In post-copy `missing` pages arrive later, and touching one must be a [`DestinationInput::PageFault`].
    Restore {
        /// Counts how often a guest was restored in this migration.
        attempt: u32,
        /// Bytes of the state.
        bytes: u64,
        /// Pages that are still to come.
        missing: PageBitmaps,
    },
    /// Throw away the state and what was restored from it, or give up restoring it; pages and module stay: the source goes on
    /// copying. No answer.
    Unprepare,
    /// Change the job's journal by compare-and-set. Answer: [`DestinationInput::Persisted`].
    Persist {
        /// What it must say now.
        expected: Option<Record>,
        /// What it shall say.
        record: Record,
    },
    /// Run the guest that was restored. No answer.
    Run {
        /// The epoch that it runs in.
        epoch: Epoch,
    },
    /// Put those pages of the payload in place that are in `wanted`, and wake who waits for them; the guest may be rebuilt
    /// meanwhile or run, and the others of the payload must not be touched: the guest may have written them. Whole pages of this
    /// kernel are in it. No answer.
    InstallPages {
        /// Which pages the payload has.
        runs: Vec<PageRun>,
        /// Which of them to put in place.
        wanted: Vec<PageRun>,
        /// Them, packed.
        payload: Vec<u8>,
    },
    /// These pages are all zero or in place already: put zeros where nothing is, and wake who waits. No answer.
    InstallZeros {
        /// Which pages.
        runs: Vec<PageRun>,
    },
    /// No page is missing any more: faults need not be watched. No answer.
    StopWatchingFaults,
    /// Write a first checkpoint, so that a crash cannot lose the guest. Answer: [`DestinationInput::MadeDurable`].
    MakeDurable,
    /// Stop the guest, if it runs, and throw everything away that belongs to it, also its output since it arrived; what comes after
    /// is done only when it has stopped. No answer.
    Discard,
    /// Tell people. No answer.
    Report(Progress),
    /// The machine is done: nothing comes after this.
    Finish(DestinationOutcome),
}

/// How it ended at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationOutcome {
    /// The guest is this node's.
    Arrived,
    /// It is not, and why.
    NotTaken(Failure),
    /// The source took it back.
    TakenBack(crate::message::AbortReason),
}
