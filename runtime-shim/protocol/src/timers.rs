//! Deadlines of a machine: at most one of each kind.

use std::collections::BTreeMap;
use std::time::Duration;

/// Deadlines by kind. Times are those that the machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timers<Kind> {
    deadlines: BTreeMap<Kind, Duration>,
}

impl<Kind> Default for Timers<Kind> {
    fn default() -> Self {
        Self {
            deadlines: BTreeMap::new(),
        }
    }
}

impl<Kind: Ord + Copy> Timers<Kind> {
    /// Sets a deadline, in place of the one of its kind.
    pub(crate) fn set(&mut self, kind: Kind, deadline: Duration) {
        self.deadlines.insert(kind, deadline);
    }

    /// Sets a deadline unless there is one of its kind.
    pub(crate) fn set_if_none(&mut self, kind: Kind, deadline: Duration) {
        self.deadlines.entry(kind).or_insert(deadline);
    }

    /// Is there a deadline of this kind?
    pub(crate) fn is_set(&self, kind: Kind) -> bool {
        self.deadlines.contains_key(&kind)
    }

    /// Forgets a deadline.
    pub(crate) fn clear(&mut self, kind: Kind) {
        self.deadlines.remove(&kind);
    }

    /// Forgets all.
    pub(crate) fn clear_all(&mut self) {
        self.deadlines.clear();
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.deadlines.values().min().copied()
    }

    /// Takes one that has passed.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Kind> {
        let due = |(_, deadline): &(&Kind, &Duration)| **deadline <= now;
        let kind = *self.deadlines.iter().find(due)?.0;
        self.deadlines.remove(&kind);
        Some(kind)
    }
}
