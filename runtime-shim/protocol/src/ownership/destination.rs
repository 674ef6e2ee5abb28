//! The destination's side of a change of hands.
//!
//! ```text
//! Preparing --Prepared--> Prepared --Commit--> Accepting --written--> Running --MadeDurable--> Settling --> Durable
//!     |                      |                     |                     |      (not written: Running)        |
//!     | Commit               | GiveUp, Recall      | Recall, not         | Recall,                            | Released
//!     v                      v                     v written             v Superseded                         v
//!  Fencing <-----------------+---------------------+---------------------'<---------------Superseded      Released
//!     `--written or not--> Fenced
//! ```
//!
//! A person can make this node the owner of a guest that is `Prepared` and whose source is gone for good (`TakeOver`): in an epoch
//! that is newer than any that the source can believe to own, so that it yields if it comes back after all.
//!
//! When `Fencing` is entered there is no guest any more, so none can run in this epoch, whatever the journal says after the
//! next restart: that is why a journal that cannot be written does not keep the source waiting. The one exception is a journal that
//! may say `Owned`, because that was tried before: a restart would run the checkpoint then, so `Fenced` must be on disk first.
//! A node that has restarted has no guest either: [`DestinationSide::recover`].

use crate::ids::{Epoch, MigrationId};
use crate::ownership::{Holding, Record, Transfer};

/// The destination's side of a change of hands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DestinationSide {
    /// The migration and the source.
    transfer: Transfer,
    /// The epoch that the source offered.
    offered: Epoch,
    /// The epoch that this node would own: that, or a newer one by a person's decision.
    epoch: Epoch,
    /// What the journal says.
    record: Option<Record>,
    /// May the journal say `Owned` in this epoch after a crash?
    may_be_owned: bool,
    step: DestinationStep,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DestinationStep {
    /// There is no guest that could run.
    Preparing,
    /// The guest could run at once.
    Prepared,
    /// `Arrived` is being written.
    Accepting {
        /// Did the source take it back meanwhile?
        is_recalled: bool,
    },
    /// It runs, in memory alone.
    Running,
    /// `Owned` is being written: a checkpoint is on disk.
    Settling,
    /// The job is this node's; the source may not know.
    Durable,
    /// The job is this node's, and the source knows.
    Released,
    /// `Fenced` is being written: there is no guest any more.
    Fencing {
        /// It could not be, and must be before it is said.
        is_failed: bool,
    },
    /// The guest never runs here in this epoch.
    Fenced,
    /// This node knows of this epoch, which is newer.
    Superseded(Epoch),
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DestinationEvent {
    /// The guest is rebuilt and held.
    Prepared,
    /// The source says that it goes on copying: what was prepared is void.
    Unprepared,
    /// The source says that this node is to own the guest.
    Commit,
    /// The source says that it cannot give what the guest needs.
    Recall,
    /// The source says that all is over.
    Released,
    /// The source says that there is a newer epoch.
    Superseded(Epoch),
    /// The guest cannot run here, or is not waited for any longer.
    GiveUp,
    /// A person decides that the guest is this node's.
    TakeOver,
    /// A checkpoint of the guest is on disk.
    MadeDurable,
    /// The write that was asked for last is on disk, or has failed.
    Written(bool),
    /// It is time to write again what could not be written.
    TryAgain,
}

/// What is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DestinationEffect {
    /// Write the journal; the event [`DestinationEvent::Written`] follows.
    Write {
        /// What it says.
        expected: Option<Record>,
        /// What it shall say.
        record: Record,
    },
    /// Run the guest in this epoch.
    Run(Epoch),
    /// Stop the guest, if it runs, and throw it away.
    Discard,
    /// The checkpoint is there, but the journal could not be written: try [`DestinationEvent::MadeDurable`] again later.
    NotDurable,
    /// The promise must be on disk, and is not: try [`DestinationEvent::TryAgain`] later.
    NotFenced,
    /// Tell the source that the guest runs here.
    SendRunning,
    /// Tell the source that a crash cannot lose the guest.
    SendDurable,
    /// Tell the source that the guest never runs here in this epoch.
    SendFenced,
    /// Tell the source that there is a newer epoch.
    SendSuperseded(Epoch),
}

impl DestinationSide {
    /// For a guest that was offered. `record` is what the journal says of the job, if there is one: of a smaller epoch.
    #[must_use]
    pub fn new(record: Option<Record>, epoch: Epoch, transfer: Transfer) -> Self {
        debug_assert!(record.as_ref().is_none_or(|record| record.epoch < epoch));
        Self {
            transfer,
            offered: epoch,
            epoch,
            record,
            may_be_owned: false,
            step: DestinationStep::Preparing,
        }
    }

    /// For a migration of which nothing is left but the journal, or not even that.
    #[must_use]
    pub fn recover(record: Option<Record>, epoch: Epoch, transfer: Transfer) -> Self {
        let step = match &record {
            Some(record) if record.epoch == epoch => match &record.holding {
                Holding::Owned { arrival } if *arrival == Some(transfer.migration) => {
                    DestinationStep::Durable
                }
                Holding::Fenced(fenced) if fenced.migration == transfer.migration => {
                    DestinationStep::Fenced
                }
                // What it had in memory is gone.
                Holding::Arrived(arrived) if arrived.migration == transfer.migration => {
                    DestinationStep::Preparing
                }
                // Another migration in the same epoch: the source will not take this for an answer, and a person must look.
                _ => DestinationStep::Superseded(epoch),
            },
            Some(record) if record.epoch > epoch => DestinationStep::Superseded(record.epoch),
            _ => DestinationStep::Preparing,
        };
        Self {
            transfer,
            offered: epoch,
            epoch,
            record,
            may_be_owned: step == DestinationStep::Durable,
            step,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn step(&self) -> DestinationStep {
        self.step
    }

    /// What the journal says, as far as is known.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The epoch that the source offered, which messages carry.
    #[must_use]
    pub fn offered_epoch(&self) -> Epoch {
        self.offered
    }

    /// The migration.
    #[must_use]
    pub fn migration(&self) -> MigrationId {
        self.transfer.migration
    }

    fn is_taken_over(&self) -> bool {
        self.epoch != self.offered
    }

    /// A write has failed, and this is what the journal says: to be told before [`DestinationEvent::Written`].
    pub fn reloaded(&mut self, record: Option<Record>) {
        self.record = record;
    }

    /// What follows from an event. Events that come out of turn have no effect.
    pub fn handle(&mut self, event: DestinationEvent) -> Vec<DestinationEffect> {
        use DestinationEffect as Effect;
        use DestinationEvent as Event;
        use DestinationStep as Step;
        match (self.step, event) {
            (Step::Preparing, Event::Prepared) => {
                self.step = Step::Prepared;
                Vec::new()
            }
            (Step::Prepared, Event::Unprepared) => {
                self.step = Step::Preparing;
                Vec::new()
            }
            (Step::Prepared, Event::Commit) => {
                let arrived = Holding::Arrived(self.transfer.clone());
                self.write(Step::Accepting { is_recalled: false }, arrived)
            }
            (Step::Prepared, Event::TakeOver) => {
                self.epoch = self.epoch.next();
                let arrived = Holding::Arrived(self.transfer.clone());
                self.write(Step::Accepting { is_recalled: false }, arrived)
            }
            (_, Event::Commit | Event::Recall) if self.is_taken_over() => match self.step {
                Step::Running | Step::Settling | Step::Durable | Step::Released => {
                    vec![Effect::SendSuperseded(self.epoch)]
                }
                _ => Vec::new(),
            },
            (Step::Accepting { .. }, Event::Recall) => {
                self.step = Step::Accepting { is_recalled: true };
                Vec::new()
            }
            (Step::Accepting { is_recalled }, Event::Written(is_written)) => {
                if is_written {
                    self.record = Some(self.as_record(Holding::Arrived(self.transfer.clone())));
                }
                if is_recalled || !is_written {
                    return self.fence();
                }
                self.step = Step::Running;
                let told = if self.is_taken_over() {
                    Effect::SendSuperseded(self.epoch)
                } else {
                    Effect::SendRunning
                };
                vec![Effect::Run(self.epoch), told]
            }
            (Step::Running, Event::MadeDurable) => {
                let owned = self.owned();
                self.may_be_owned = true;
                self.write(Step::Settling, owned)
            }
            (Step::Settling, Event::Written(true)) => {
                self.record = Some(self.as_record(self.owned()));
                self.step = Step::Durable;
                vec![Effect::SendDurable]
            }
            (Step::Settling, Event::Written(false)) => {
                self.step = Step::Running;
                vec![Effect::NotDurable]
            }
            (Step::Durable, Event::Released) => {
                self.step = Step::Released;
                Vec::new()
            }
            // There is nothing that could run: the promise costs nothing.
            (Step::Preparing, Event::Commit | Event::Recall)
            | (Step::Prepared, Event::GiveUp | Event::Recall) => self.fence(),
            // Once the journal may say `Owned`, the checkpoint is what the job goes on from.
            (Step::Running, Event::Recall) if !self.may_be_owned => self.fence(),
            (Step::Running | Step::Durable, Event::Superseded(epoch)) if epoch > self.epoch => {
                self.fence()
            }
            (Step::Fencing { .. }, Event::Written(false)) if self.may_be_owned => {
                self.step = Step::Fencing { is_failed: true };
                vec![Effect::NotFenced]
            }
            (Step::Fencing { is_failed: true }, Event::TryAgain) => self.write_fenced(),
            (Step::Fencing { .. }, Event::Written(is_written)) => {
                if is_written {
                    self.record = Some(self.as_record(Holding::Fenced(self.transfer.clone())));
                }
                self.step = Step::Fenced;
                vec![Effect::SendFenced]
            }
            // The source asks again.
            (Step::Running | Step::Settling, Event::Commit) => vec![Effect::SendRunning],
            (Step::Durable | Step::Released, Event::Commit | Event::Recall) => {
                vec![Effect::SendDurable]
            }
            (Step::Fenced, Event::Commit | Event::Recall) => vec![Effect::SendFenced],
            (Step::Superseded(epoch), Event::Commit | Event::Recall) => {
                vec![Effect::SendSuperseded(epoch)]
            }
            _ => Vec::new(),
        }
    }

    fn owned(&self) -> Holding {
        Holding::Owned {
            arrival: Some(self.transfer.migration),
        }
    }

    fn as_record(&self, holding: Holding) -> Record {
        Record {
            epoch: self.epoch,
            holding,
        }
    }

    /// The guest goes first, then the promise is written and given.
    fn fence(&mut self) -> Vec<DestinationEffect> {
        let mut effects = vec![DestinationEffect::Discard];
        effects.extend(self.write_fenced());
        effects
    }

    fn write_fenced(&mut self) -> Vec<DestinationEffect> {
        let fenced = Holding::Fenced(self.transfer.clone());
        self.write(DestinationStep::Fencing { is_failed: false }, fenced)
    }

    fn write(&mut self, step: DestinationStep, holding: Holding) -> Vec<DestinationEffect> {
        self.step = step;
        vec![DestinationEffect::Write {
            expected: self.record.clone(),
            record: self.as_record(holding),
        }]
    }
}
