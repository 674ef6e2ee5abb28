//! When to stop a guest that is copied while it runs.

use std::time::Duration;

/// What is known of a guest's memory at some moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GuestSample {
    /// Pages that would go in a first round: touched and not all zero.
    pub touched_pages: u64,
    /// Pages written since the last round began; 0 before the first.
    pub dirty_pages: u64,
    /// How many pages it writes at least once in intervals of some lengths, ascending by length: its working set.
    pub working_set: Vec<DirtySample>,
    /// Bytes that a page takes on average when packed, by what was sent, or by a sample of pages.
    pub packed_page_bytes: f64,
    /// Bytes of the state without memory.
    pub state_bytes: u64,
}

/// How many pages a guest wrote in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirtySample {
    /// Pages written at least once.
    pub pages: u64,
    /// In this time.
    pub interval: Duration,
}
