//! When to stop a guest that is copied while it runs.

use std::time::Duration;

/// How many pages a guest wrote in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirtySample {
    /// Pages written at least once.
    pub pages: u64,
    /// In this time.
    pub interval: Duration,
}
