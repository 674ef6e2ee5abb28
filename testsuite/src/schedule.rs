//! At which polls a guest is stopped.

/// Stops densely at first, then ever more rarely, so that the work stays linear in the depth of a
/// recursion that never ends.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    gap: u64,
    dense_stops_left: u32,
}

/// Stops at the regular distance before the distance begins to double.
const DENSE_STOPS: u32 = 200;

impl Schedule {
    /// Stops at every `every`-th poll.
    #[must_use]
    pub(crate) fn new(every: u64) -> Self {
        Self::with_dense_stops(every, DENSE_STOPS)
    }

    /// The same with so many stops before they become rarer.
    #[must_use]
    pub(crate) fn with_dense_stops(every: u64, dense_stops: u32) -> Self {
        Self {
            gap: every,
            dense_stops_left: dense_stops,
        }
    }

    /// Number of polls from the last stop (or the beginning) to the next.
    pub(crate) fn next_gap(&mut self) -> u64 {
        match self.dense_stops_left.checked_sub(1) {
            Some(left) => self.dense_stops_left = left,
            None => self.gap = self.gap.saturating_mul(2),
        }
        self.gap
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn dense_then_exponential() {
        let mut schedule = Schedule::new(3);
        let gaps: Vec<u64> = (0..203).map(|_| schedule.next_gap()).collect();
        assert!(gaps[..200].iter().all(|&gap| gap == 3));
        assert_eq!(gaps[200..], [6, 12, 24]);
    }
}
