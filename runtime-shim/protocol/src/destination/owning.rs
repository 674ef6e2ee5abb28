//! From `Prepared` to the last word: what [`DestinationSide`](crate::ownership::DestinationSide) says is put into practice.

use std::time::Duration;

use super::{Destination, DestinationAction, DestinationOutcome, Phase, Timer};
use crate::message::{DestinationMessage, Failure};
use crate::ownership::{
    DestinationEffect, DestinationEvent, DestinationStep, NotPersisted, Resolution,
};

impl Destination {
    pub(super) fn persisted(&mut self, now: Duration, result: Result<(), NotPersisted>) {
        let is_written = result.is_ok();
        if let Err(NotPersisted { reason, record }) = result {
            if matches!(self.side.step(), DestinationStep::Accepting { .. }) {
                self.failure.get_or_insert(Failure::Journal(reason));
            }
            self.side.reloaded(record);
        }
        self.apply(now, DestinationEvent::Written(is_written));
    }

    pub(super) fn resolve(&mut self, now: Duration, resolution: Resolution) {
        match (resolution, self.side.step()) {
            (Resolution::Here, DestinationStep::Prepared) if self.following.is_complete() => {
                self.apply(now, DestinationEvent::TakeOver);
            }
            (Resolution::Gone, DestinationStep::Prepared | DestinationStep::Running) => {
                self.give_up(now, Failure::Cancelled);
            }
            _ => {}
        }
    }

    pub(super) fn apply(&mut self, now: Duration, event: DestinationEvent) {
        for effect in self.side.handle(event) {
            self.put_into_practice(now, effect);
        }
        if self.side.step() == DestinationStep::Released && !self.is_finished() {
            self.finish(DestinationOutcome::Arrived);
        }
    }

    fn put_into_practice(&mut self, now: Duration, effect: DestinationEffect) {
        match effect {
            DestinationEffect::Write { expected, record } => {
                if self.phase != Phase::Owned {
                    self.phase = Phase::Owned;
                    self.timers.clear(Timer::Silence);
                    self.timers.clear(Timer::Reconnect);
                }
                self.actions
                    .push_back(DestinationAction::Persist { expected, record });
            }
            DestinationEffect::Run(epoch) => {
                self.actions.push_back(DestinationAction::Run { epoch });
                if self.link.up().is_none() && !self.following.is_complete() {
                    self.dial_for_pages(now);
                }
            }
            DestinationEffect::SendRunning => {
                self.send(DestinationMessage::Running);
                self.report();
                if self.following.is_complete() {
                    self.all_received();
                }
            }
            DestinationEffect::SendDurable => self.tell_durable(now),
            DestinationEffect::SendFenced => {
                let failure = self.failure.clone().unwrap_or(Failure::Lost);
                self.send(DestinationMessage::Fenced(failure.clone()));
                self.finish(DestinationOutcome::NotTaken(failure));
            }
            DestinationEffect::SendSuperseded(epoch) => {
                self.send(DestinationMessage::Superseded(epoch));
                match self.side.step() {
                    // By a person's decision it runs here.
                    DestinationStep::Running => self.make_durable(),
                    DestinationStep::Superseded(_) => {
                        self.finish(DestinationOutcome::NotTaken(Failure::Lost));
                    }
                    _ => {}
                }
            }
            DestinationEffect::Discard => {
                self.forget_following();
                self.timers.clear_all();
                self.actions.push_back(DestinationAction::Discard);
            }
            DestinationEffect::NotDurable | DestinationEffect::NotFenced => self.write_later(now),
        }
    }

    /// A checkpoint is wanted, so that a crash cannot lose the guest.
    pub(super) fn make_durable(&mut self) {
        if self.side.step() == DestinationStep::Running && !self.is_checkpointing {
            self.is_checkpointing = true;
            self.actions.push_back(DestinationAction::MakeDurable);
        }
    }

    pub(super) fn write_later(&mut self, now: Duration) {
        let again = now + self.config.timeouts.redial_most;
        self.timers.set(Timer::WriteAgain, again);
    }

    pub(super) fn write_again(&mut self, now: Duration) {
        self.apply(now, DestinationEvent::TryAgain);
        self.make_durable();
    }

    /// The source can let go. It is told until it has answered, but that is not waited for for ever.
    pub(super) fn tell_durable(&mut self, now: Duration) {
        self.send(DestinationMessage::Durable);
        let timeouts = self.config.timeouts;
        self.timers.set(Timer::TellAgain, now + timeouts.ask_again);
        self.timers
            .set_if_none(Timer::Farewell, now + timeouts.farewell);
        self.report();
    }
}
