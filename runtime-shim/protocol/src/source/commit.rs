//! From `Prepared` to the last word: what [`SourceSide`](crate::ownership::SourceSide) says is put into practice.

use std::time::Duration;

use super::pushing::Pushing;
use super::{Phase, Source, SourceAction, SourceOutcome, Stay, Timer};
use crate::message::{AbortReason, Failure, SourceMessage};
use crate::ownership::{NotPersisted, Resolution, SourceEffect, SourceEvent, SourceStep};

impl Source {
    /// The destination could run the guest at once.
    pub(super) fn prepared(&mut self, now: Duration) {
        if self.phase == Phase::Preparing {
            self.phase = Phase::Committing;
            self.timers.clear(Timer::Silence);
            self.apply(now, SourceEvent::Commit);
            self.report();
        }
    }

    pub(super) fn persisted(&mut self, now: Duration, result: Result<(), NotPersisted>) {
        let is_written = result.is_ok();
        if let Err(NotPersisted { reason, record }) = result {
            // If nothing was promised, this is why the guest stays.
            self.stay.get_or_insert(Stay::Local(format!(
                "the job's journal cannot be written: {reason}"
            )));
            if let Some(record) = record {
                self.side.reloaded(record);
            }
        }
        self.apply(now, SourceEvent::Written(is_written));
    }

    /// The destination has said something about who owns the guest.
    pub(super) fn heard(&mut self, now: Duration, event: SourceEvent) {
        let is_uncertain = self.side.step() == SourceStep::Uncertain;
        if is_uncertain && matches!(event, SourceEvent::Running | SourceEvent::Durable) {
            self.handed(now);
        }
        self.apply(now, event);
    }

    /// The guest runs at the destination.
    fn handed(&mut self, now: Duration) {
        if self.phase != Phase::Committing {
            return;
        }
        self.phase = Phase::Handed;
        let standing = self.stopped_at.map(|at| now.saturating_sub(at));
        // It ran there before this could be heard here.
        let way_back = self.estimate.round_trip() / 2;
        self.downtime = standing.map(|standing| standing.saturating_sub(way_back));
        self.timers
            .set(Timer::AskAgain, now + self.config.timeouts.redial_most);
        self.pump();
        self.report();
    }

    /// The destination will not run the guest in this epoch.
    pub(super) fn fenced(&mut self, now: Duration, failure: Failure) {
        match self.side.step() {
            SourceStep::Keeping => self.stay_if_open(Stay::Failed(failure)),
            SourceStep::Deciding { .. } | SourceStep::Uncertain => {
                self.stay = Some(Stay::Failed(failure));
                self.apply(now, SourceEvent::Fenced);
            }
            _ => {}
        }
    }

    pub(super) fn resolve(&mut self, now: Duration, resolution: Resolution) {
        if self.side.step() == SourceStep::Uncertain {
            if resolution == Resolution::Here {
                self.stay = Some(Stay::Resolved);
            }
            self.apply(now, SourceEvent::Resolve(resolution));
        }
    }

    pub(super) fn apply(&mut self, now: Duration, event: SourceEvent) {
        for effect in self.side.handle(event) {
            match effect {
                SourceEffect::Write { expected, record } => {
                    self.timers.clear(Timer::AskAgain);
                    self.actions
                        .push_back(SourceAction::Persist { expected, record });
                }
                SourceEffect::SendCommit => self.ask_again(now),
                SourceEffect::SendReleased => self.send(SourceMessage::Released),
                SourceEffect::SendSuperseded(epoch) => {
                    self.send(SourceMessage::Superseded(epoch));
                }
                SourceEffect::NotCommitted => {
                    let stay = self.stay.take();
                    self.stay(stay.unwrap_or(Stay::Local("the journal failed".to_owned())));
                }
                SourceEffect::Resume(epoch) => {
                    if !self.is_commit_sent {
                        let reason = "its journal could not be written".to_owned();
                        self.send(SourceMessage::Abort(AbortReason::Failed(reason)));
                    }
                    self.actions.push_back(SourceAction::ResumeGuest { epoch });
                    self.rounds.share = None;
                    self.pushing = Pushing::default();
                }
                SourceEffect::NotWritten => {
                    let again = now + self.config.timeouts.redial_most;
                    self.timers.set(Timer::WriteAgain, again);
                }
                SourceEffect::Over => {
                    let stay = self.stay.take().unwrap_or(Stay::Resolved);
                    self.finish(SourceOutcome::Stayed(stay));
                }
                SourceEffect::LetGo => {
                    self.actions.push_back(SourceAction::ReleaseGuest);
                    self.finish(SourceOutcome::Moved);
                }
            }
        }
    }
}
