//! Host-side state of one guest: what its eight imports do, whatever the engine.
//!
//! ```text
//!            poll says stop,                 outermost call
//!            or a blocking import            returned
//!  Running ---------------------> Unwinding ---------------> Stopped
//!     ^                                                         |
//!     |      innermost frame runs again                         | resume (here, or from a
//!     +----------------------------------- Rewinding <----------+ snapshot in a fresh instance)
//! ```
//!
//! A stop is possible only while exactly one activation is on the stack and no import of the guest
//! lies below. Otherwise it is deferred: the request stands, and the next poll that can honours it.
//!
//! A resumed guest first polls at the very safe point at which it stopped. That poll was counted and
//! answered before the stop; it neither counts nor stops again, else a guest that is stopped at every
//! poll would never get on.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::controller::{Controller, Interruption};
use crate::error::ProtocolError;
use crate::live::Oversight;
use crate::pacing::{Pacer, Pacing};
use crate::stack::{RawStack, Rewind};

/// Host-side state of one guest, kept in the embedder's store data: one for every instance.
#[derive(Debug)]
pub struct Migration {
    controller: Controller,
    pacer: Pacer,
    polls: u64,
    stop_at_poll: Option<u64>,
    /// Calls into the guest now on the native stack.
    activations: u32,
    phase: Phase,
    /// Words that the module's own helpers send or ask for instead of a frame's.
    instance_words: Option<InstanceWords>,
    /// The next poll is the safe point of the resume.
    resumed: bool,
    on_arrival: Arrival,
    /// To be called when the stack is rebuilt.
    rebuilt_hook: Option<RebuiltHook>,
    epoch: u64,
    /// Where the guest's polls tell of themselves, if anyone listens.
    oversight: Option<Arc<Oversight>>,
    /// Since when a throttled guest has run.
    runs_since: Option<Instant>,
}

/// What is to happen once a stack is rebuilt; answers whether the guest may run.
#[derive(Default)]
struct Arrival(Option<Box<dyn FnOnce() -> bool + Send>>);

impl fmt::Debug for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Arrival").field(&self.0.is_some()).finish()
    }
}

/// What is to be done, to the store's data, as soon as the guest's stack is rebuilt.
pub(crate) struct RebuiltHook(Box<ChangeData>);

type ChangeData = dyn FnOnce(&mut dyn Any) + Send + Sync;

impl RebuiltHook {
    pub(crate) fn new(hook: impl FnOnce(&mut dyn Any) + Send + Sync + 'static) -> Self {
        Self(Box::new(hook))
    }

    pub(crate) fn call(self, data: &mut dyn Any) {
        (self.0)(data);
    }
}

impl fmt::Debug for RebuiltHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RebuiltHook")
    }
}

#[derive(Debug)]
enum Phase {
    Running,
    Unwinding(RawStack),
    Stopped(RawStack),
    Rewinding {
        stack: Rewind,
        frames: usize,
    },
    /// A restore failed halfway.
    Broken,
}

#[derive(Debug)]
enum InstanceWords {
    Saving(Vec<u64>),
    Loading(std::vec::IntoIter<u64>),
}

impl Migration {
    /// A guest that polls as `pacing` says.
    #[must_use]
    pub fn new(pacing: Pacing) -> Self {
        Self {
            controller: Controller::new(),
            pacer: Pacer::new(pacing),
            polls: 0,
            stop_at_poll: None,
            activations: 0,
            phase: Phase::Running,
            instance_words: None,
            resumed: false,
            on_arrival: Arrival::default(),
            rebuilt_hook: None,
            epoch: 1,
            oversight: None,
            runs_since: None,
        }
    }

    /// Has `arrived` called once, when the stack of a guest that is resumed has been rebuilt to its last frame,
    /// and before the guest does anything. The guest waits for it to return.
    pub fn on_arrival(&mut self, arrived: impl FnOnce() + Send + 'static) {
        self.admit_on_arrival(move || {
            arrived();
            true
        });
    }

    /// As [`Migration::on_arrival`]; the guest runs only if `admit` answers that it may. Else its call fails with
    /// [`Interruption::NotAdmitted`], and the states of its host are as they were.
    pub fn admit_on_arrival(&mut self, admit: impl FnOnce() -> bool + Send + 'static) {
        self.on_arrival = Arrival(Some(Box::new(admit)));
    }

    /// The handle that asks this guest to stop.
    #[must_use]
    pub fn controller(&self) -> Controller {
        self.controller.clone()
    }

    /// Has the guest be stopped by `controller` instead of its own.
    pub fn set_controller(&mut self, controller: Controller) {
        self.controller = controller;
    }

    /// How often the guest has polled. The poll that follows a resume is the one before the stop and
    /// does not count again.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.polls
    }

    /// Stops the guest at its `n`-th poll, or at the first one after it at which it can be stopped.
    /// Works once; `None` takes it back.
    pub fn stop_at_poll(&mut self, n: Option<u64>) {
        self.stop_at_poll = n;
    }

    /// Has the guest's last call been suspended?
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.phase, Phase::Stopped(_))
    }

    /// Did a restore fail halfway?
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.phase, Phase::Broken)
    }

    /// How many hosts have run the guest, one after the other, this one included.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Fails if the guest is to end: host functions whose effects must not happen then ask before them.
    ///
    /// # Errors
    /// Why it is to end.
    pub fn check(&self) -> Result<(), Interruption> {
        self.controller.check()
    }

    // What the imports do.

    /// The guest's budget is used up: its next budget, or 0 for a stop.
    pub(crate) fn poll(&mut self, depth: i32) -> Result<i32, ProtocolError> {
        self.finish_rewind()?;
        if let Some(oversight) = &self.oversight
            && oversight.at_poll(self.polls, &mut self.runs_since, &self.controller)
        {
            // What it rested was not its own time.
            self.pacer.start();
        }
        let budget = self.pacer.poll();
        if std::mem::take(&mut self.resumed) {
            // A request that is waiting is honoured at the next passage.
            return Ok(if self.controller.is_requested() {
                1
            } else {
                budget
            });
        }
        self.polls += 1;
        let due = self.stop_at_poll.is_some_and(|poll| self.polls >= poll);
        if !due && !self.controller.is_requested() {
            return Ok(budget);
        }
        Ok(if self.begin_unwind(depth)? { 0 } else { budget })
    }

    pub(crate) fn save_word(&mut self, word: u64) -> Result<(), ProtocolError> {
        match (&mut self.instance_words, &mut self.phase) {
            (Some(InstanceWords::Saving(words)), _) => words.push(word),
            (None, Phase::Unwinding(stack)) => stack.push_word(word),
            _ => return Err(ProtocolError::new("it saved a word without being asked to")),
        }
        Ok(())
    }

    pub(crate) fn save_frame(
        &mut self,
        function: u32,
        safe_point: u32,
    ) -> Result<(), ProtocolError> {
        match &mut self.phase {
            Phase::Unwinding(stack) => stack.close_frame(function, safe_point),
            _ => {
                return Err(ProtocolError::new(
                    "it saved a frame without being asked to",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn load_word(&mut self) -> Result<u64, ProtocolError> {
        let word = match (&mut self.instance_words, &mut self.phase) {
            (Some(InstanceWords::Loading(words)), _) => words.next().ok_or_else(|| {
                ProtocolError::new("it asked for more instance words than there are")
            }),
            (None, Phase::Rewinding { stack, .. }) => stack.take_word(),
            _ => Err(ProtocolError::new(
                "it asked for a word without being resumed",
            )),
        }?;
        Ok(word)
    }

    pub(crate) fn load_frame(&mut self, function: u32) -> Result<Option<u32>, ProtocolError> {
        self.rewind()?.open(function)
    }

    /// Tells that the stack is rebuilt, if that was the last word of the last frame. Fails if the guest may not run.
    pub(crate) fn admit(&mut self) -> Result<(), Interruption> {
        if let Phase::Rewinding { stack, .. } = &self.phase
            && self.instance_words.is_none()
            && stack.is_done()
            && let Some(admit) = self.on_arrival.0.take()
            && !admit()
        {
            return Err(Interruption::NotAdmitted);
        }
        Ok(())
    }

    pub(crate) fn load_callee(&mut self) -> Result<u32, ProtocolError> {
        self.rewind()?.callee()
    }

    /// What is to be done now, if the stack has just been rebuilt.
    pub(crate) fn on_rebuilt(&mut self) -> Option<RebuiltHook> {
        match &self.phase {
            Phase::Rewinding { stack, .. } if stack.is_done() => self.rebuilt_hook.take(),
            _ => None,
        }
    }

    fn rewind(&mut self) -> Result<&mut Rewind, ProtocolError> {
        match &mut self.phase {
            Phase::Rewinding { stack, .. } => Ok(stack),
            _ => Err(ProtocolError::new(
                "it asked for a frame without being resumed",
            )),
        }
    }

    // What the driver does.

    /// Begins to unwind if the guest can be stopped here, `depth` being the imports of the guest that
    /// lie below on the stack. If not, the stop is deferred.
    pub(crate) fn begin_unwind(&mut self, depth: i32) -> Result<bool, ProtocolError> {
        self.finish_rewind()?;
        if depth != 0 || self.activations != 1 {
            self.controller.set_deferred();
            return Ok(false);
        }
        if !matches!(self.phase, Phase::Running) {
            return Err(ProtocolError::new("it polled while it was being stopped"));
        }
        self.stop_at_poll = None;
        self.controller.clear();
        self.phase = Phase::Unwinding(RawStack::default());
        Ok(true)
    }

    /// A call into the guest begins.
    pub(crate) fn enter(&mut self) {
        if self.activations == 0 {
            self.pacer.start();
        }
        self.activations += 1;
    }

    /// A call into the guest ended.
    pub(crate) fn leave(&mut self) {
        self.activations -= 1;
    }

    /// Calls into the guest now on the native stack.
    pub(crate) fn activations(&self) -> u32 {
        self.activations
    }

    pub(crate) fn budget(&self) -> i32 {
        self.pacer.budget()
    }

    /// The outermost call returned while unwinding: the frames are complete.
    pub(crate) fn finish_unwind(&mut self) -> Result<(), ProtocolError> {
        match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Unwinding(stack) => {
                self.phase = Phase::Stopped(stack);
                Ok(())
            }
            _ => Err(ProtocolError::new("it unwound without being asked to")),
        }
    }

    /// Takes the stack of a stopped guest, which counts as running from now on.
    pub(crate) fn take_stopped(&mut self) -> Option<RawStack> {
        match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Stopped(stack) => Some(stack),
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Gives back what [`Migration::take_stopped`] took.
    pub(crate) fn put_stopped(&mut self, stack: RawStack) {
        self.phase = Phase::Stopped(stack);
    }

    /// A restore failed halfway: the guest's state is neither one nor the other.
    pub(crate) fn break_down(&mut self) {
        self.phase = Phase::Broken;
    }

    /// Has `hook` called as soon as a stack is rebuilt.
    pub(crate) fn set_rebuilt_hook(&mut self, hook: RebuiltHook) {
        self.rebuilt_hook = Some(hook);
    }

    /// The hook, if it has not been called.
    pub(crate) fn take_rebuilt_hook(&mut self) -> Option<RebuiltHook> {
        self.rebuilt_hook.take()
    }

    pub(crate) fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        if let Some(oversight) = &self.oversight {
            oversight.set_epoch(epoch);
        }
    }

    /// Has polls tell of themselves.
    pub(crate) fn set_oversight(&mut self, oversight: Arc<Oversight>) {
        oversight.set_epoch(self.epoch);
        self.oversight = Some(oversight);
    }

    /// Who wants to know at polls where the memories lie.
    pub(crate) fn watcher(&self) -> Option<&Arc<Oversight>> {
        self.oversight.as_ref()
    }

    /// The guest is about to be called to rebuild its stack.
    pub(crate) fn begin_rewind(&mut self, stack: Rewind) {
        self.resumed = stack.ends_with_poll();
        self.phase = Phase::Rewinding {
            frames: stack.depth(),
            stack,
        };
    }

    /// The guest runs again: all frames must have been loaded.
    pub(crate) fn finish_rewind(&mut self) -> Result<(), ProtocolError> {
        if let Phase::Rewinding { stack, .. } = &self.phase {
            if !stack.is_done() {
                return Err(ProtocolError::new(
                    "it ran on before all of its frames were loaded",
                ));
            }
            self.phase = Phase::Running;
        }
        Ok(())
    }

    /// A call failed: forgets its stack. Answers how many frames were being rebuilt, if any.
    pub(crate) fn abandon(&mut self) -> Option<usize> {
        self.resumed = false;
        self.instance_words = None;
        match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Rewinding { frames, .. } => Some(frames),
            _ => None,
        }
    }

    pub(crate) fn begin_save(&mut self) {
        self.instance_words = Some(InstanceWords::Saving(Vec::new()));
    }

    pub(crate) fn finish_save(&mut self) -> Vec<u64> {
        match self.instance_words.take() {
            Some(InstanceWords::Saving(mut words)) => {
                // They come from the last to the first.
                words.reverse();
                words
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn begin_load(&mut self, words: Vec<u64>) {
        self.instance_words = Some(InstanceWords::Loading(words.into_iter()));
    }

    pub(crate) fn finish_load(&mut self) -> Result<(), ProtocolError> {
        match self.instance_words.take() {
            Some(InstanceWords::Loading(words)) if words.len() > 0 => Err(ProtocolError::new(
                format!("it left {} instance words", words.len()),
            )),
            _ => Ok(()),
        }
    }
}

impl Default for Migration {
    fn default() -> Self {
        Self::new(Pacing::default())
    }
}
