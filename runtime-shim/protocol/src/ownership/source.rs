//! The source's side of a change of hands.
//!
//! ```text
//! Keeping --Commit--> Deciding --written--> Uncertain --Durable, Superseded, a person: gone--> LettingGo --> Gone
//!    ^                   | not written         |
//!    `-------------------'                     `--Fenced, a person: here--> TakingBack --> TakenBack
//!                                                                             ^  `--not written: the guest runs anyway
//!                                                                             `----TryAgain---- Unwritten
//! ```
//!
//! `Commit` is sent when `Uncertain` is entered, and again whenever the machine around this likes to: it says nothing new.

use crate::ids::Epoch;
use crate::ownership::{Holding, Record, Resolution, Transfer};

/// The source's side of a change of hands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SourceSide {
    /// The migration and the destination.
    transfer: Transfer,
    /// The epoch that the destination would own.
    epoch: Epoch,
    /// What the journal says.
    record: Record,
    step: SourceStep,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceStep {
    /// The guest is this node's.
    Keeping,
    /// `Committing` is being written; the guest is stopped.
    Deciding {
        /// Has the destination given up meanwhile?
        is_fenced: bool,
    },
    /// `Committing` is on disk. The destination may own the guest.
    Uncertain,
    /// `Gone` is being written: the destination owns the guest.
    LettingGo,
    /// The guest is the destination's.
    Gone,
    /// A newer epoch is being written: the guest goes on here.
    TakingBack {
        /// Does the guest run, because it could not be written before?
        is_running: bool,
    },
    /// The guest runs here, and the newer epoch could not be written. After a crash the destination is asked again.
    Unwritten,
    /// The guest is this node's, in a newer epoch.
    TakenBack,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceEvent {
    /// The destination is prepared, and the guest stopped.
    Commit,
    /// The write that was asked for last is on disk, or has failed.
    Written(bool),
    /// The destination says that it runs the guest.
    Running,
    /// The destination says that a crash cannot lose the guest.
    Durable,
    /// The destination says that it never runs the guest in this epoch.
    Fenced,
    /// The destination says that there is a newer epoch.
    Superseded(Epoch),
    /// A person decides.
    Resolve(Resolution),
    /// It is time to write again what could not be written.
    TryAgain,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SourceEffect {
    /// Write the journal; the event [`SourceEvent::Written`] follows.
    Write {
        /// What it says.
        expected: Record,
        /// What it shall say.
        record: Record,
    },
    /// Tell the destination that it owns the guest.
    SendCommit,
    /// Tell the destination that all is over.
    SendReleased,
    /// Tell the destination that it has been superseded by this epoch.
    SendSuperseded(Epoch),
    /// The journal was not written, and nothing was promised: as if [`SourceEvent::Commit`] had not been.
    NotCommitted,
    /// Run the guest in this epoch.
    Resume(Epoch),
    /// The guest runs, but the journal does not say so: try [`SourceEvent::TryAgain`] later.
    NotWritten,
    /// The guest runs, and the journal says so.
    Over,
    /// The stopped guest is of no use any more.
    LetGo,
}

impl SourceSide {
    /// For a job that this node owns, as `record` says; none if it does not. A job that has just arrived can leave again when a
    /// crash cannot lose it any more.
    #[must_use]
    pub fn new(record: Record, transfer: Transfer) -> Option<Self> {
        matches!(record.holding, Holding::Owned { .. }).then(|| Self {
            transfer,
            epoch: record.epoch.next(),
            record,
            step: SourceStep::Keeping,
        })
    }

    /// After a restart, if the journal leaves a question.
    #[must_use]
    pub fn recover(record: &Record) -> Option<Self> {
        let Holding::Committing(transfer) = &record.holding else {
            return None;
        };
        Some(Self {
            transfer: transfer.clone(),
            epoch: record.epoch,
            record: record.clone(),
            step: SourceStep::Uncertain,
        })
    }

    /// Where it stands.
    #[must_use]
    pub fn step(&self) -> SourceStep {
        self.step
    }

    /// What the journal says, as far as is known.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The epoch that the destination would own.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The migration and the destination.
    #[must_use]
    pub fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// Offers the guest in a later epoch, because the destination knows of others. Before anything is decided.
    pub fn propose(&mut self, epoch: Epoch) {
        if self.step == SourceStep::Keeping {
            self.epoch = epoch.max(self.epoch);
        }
    }

    /// A write has failed, and this is what the journal says: to be told before [`SourceEvent::Written`].
    pub fn reloaded(&mut self, record: Record) {
        self.record = record;
    }

    /// What follows from an event. Events that come out of turn have no effect.
    pub fn handle(&mut self, event: SourceEvent) -> Vec<SourceEffect> {
        use SourceEvent as Event;
        use SourceStep as Step;
        match (self.step, event) {
            (Step::Keeping, Event::Commit) => {
                let committing = Holding::Committing(self.transfer.clone());
                self.write(Step::Deciding { is_fenced: false }, self.epoch, committing)
            }
            (Step::Deciding { .. }, Event::Fenced) => {
                self.step = Step::Deciding { is_fenced: true };
                Vec::new()
            }
            (Step::Deciding { is_fenced }, Event::Written(true)) => {
                self.record = self.committing();
                self.step = Step::Uncertain;
                if is_fenced {
                    self.take_back()
                } else {
                    vec![SourceEffect::SendCommit]
                }
            }
            // It reached the disk nevertheless. Nothing was promised, so it is taken back at once.
            (Step::Deciding { .. }, Event::Written(false)) if self.record == self.committing() => {
                self.take_back()
            }
            (Step::Deciding { .. }, Event::Written(false)) => {
                self.step = Step::Keeping;
                vec![SourceEffect::NotCommitted]
            }
            (Step::Uncertain, Event::Fenced | Event::Resolve(Resolution::Here)) => self.take_back(),
            (Step::Uncertain, Event::Durable | Event::Resolve(Resolution::Gone)) => {
                let gone = Holding::Gone(self.transfer.clone());
                self.write(Step::LettingGo, self.epoch, gone)
            }
            (Step::Uncertain, Event::Superseded(epoch)) if epoch > self.epoch => {
                let gone = Holding::Gone(self.transfer.clone());
                self.write(Step::LettingGo, epoch, gone)
            }
            // If it cannot be written, the next start asks again and hears the same.
            (Step::LettingGo, Event::Written(is_written)) => {
                if is_written {
                    self.record.holding = Holding::Gone(self.transfer.clone());
                }
                self.step = Step::Gone;
                vec![SourceEffect::SendReleased, SourceEffect::LetGo]
            }
            (Step::Gone, Event::Durable) => vec![SourceEffect::SendReleased],
            (Step::TakingBack { is_running }, Event::Written(is_written)) => {
                let epoch = self.epoch.next();
                let mut effects = Vec::new();
                if !is_running {
                    effects.push(SourceEffect::Resume(epoch));
                }
                if is_written {
                    self.record = Record {
                        epoch,
                        holding: Holding::Owned { arrival: None },
                    };
                    self.step = Step::TakenBack;
                    effects.push(SourceEffect::Over);
                } else {
                    self.step = Step::Unwritten;
                    effects.push(SourceEffect::NotWritten);
                }
                effects
            }
            (Step::Unwritten, Event::TryAgain) => self.write_owned(true),
            // Only after a person's decision.
            (
                Step::TakingBack { .. } | Step::Unwritten | Step::TakenBack,
                Event::Running | Event::Durable,
            ) => {
                vec![SourceEffect::SendSuperseded(self.epoch.next())]
            }
            _ => Vec::new(),
        }
    }

    fn committing(&self) -> Record {
        Record {
            epoch: self.epoch,
            holding: Holding::Committing(self.transfer.clone()),
        }
    }

    fn take_back(&mut self) -> Vec<SourceEffect> {
        self.write_owned(false)
    }

    fn write_owned(&mut self, is_running: bool) -> Vec<SourceEffect> {
        let owned = Holding::Owned { arrival: None };
        self.write(
            SourceStep::TakingBack { is_running },
            self.epoch.next(),
            owned,
        )
    }

    fn write(&mut self, step: SourceStep, epoch: Epoch, holding: Holding) -> Vec<SourceEffect> {
        self.step = step;
        vec![SourceEffect::Write {
            expected: self.record.clone(),
            record: Record { epoch, holding },
        }]
    }
}
