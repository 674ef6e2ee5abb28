//! What is known of the link: round trips and bandwidth, from the protocol's own messages and from the transport.

use std::time::Duration;

/// Bytes that a fresh connection sends before it hears that the first have arrived: ten packets, as TCP and QUIC do.
const FIRST_WINDOW_BYTES: f64 = 14_000.0;
/// A transfer that takes less than this share of a round trip says little of a link's bandwidth: the round trip's spread, the
/// clock's grain and getting up to speed are most of it.
const TELLING_SHARE: f64 = 0.25;
/// And one that takes less than this.
const TELLING_SECONDS: f64 = 2e-4;
/// And one of fewer bytes: what it waits for is something else.
const TELLING_BYTES: u64 = 4096;
/// Weight of a new measurement against those before.
const NEW_WEIGHT: f64 = 0.6;

/// Less time than this, beside what getting up to speed takes, does not tell a link's bandwidth.
const FIRST_TELLING: Duration = Duration::from_millis(50);

/// What is known of a link.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkEstimate {
    /// Time there and back: the shortest that was seen.
    pub round_trip: Option<Duration>,
    /// Bytes a second.
    pub bandwidth_bytes_per_second: Option<f64>,
    /// Has the bandwidth been measured by what was sent, and not only guessed?
    is_measured: bool,
}

impl LinkEstimate {
    /// A round trip was seen.
    pub fn saw_round_trip(&mut self, time: Duration) {
        self.round_trip = Some(self.round_trip.map_or(time, |known| known.min(time)));
    }

    /// The transport guesses at the bandwidth. What was measured counts more.
    pub fn heard_bandwidth(&mut self, bytes_per_second: f64) {
        if !self.is_measured && bytes_per_second.is_finite() && bytes_per_second > 0.0 {
            let known = self.bandwidth_bytes_per_second.unwrap_or(0.0);
            self.bandwidth_bytes_per_second = Some(known.max(bytes_per_second));
        }
    }

    /// The first bytes on a link were answered after a time. The link was getting up to speed meanwhile, which takes round
    /// trips that say nothing of its bandwidth. Answers whether there was enough time beside those to tell.
    pub fn saw_first_bytes(&mut self, bytes: u64, time: Duration) -> bool {
        let windows = (bytes as f64 / FIRST_WINDOW_BYTES + 1.0).log2().ceil();
        let waiting = self.round_trip().mul_f64(windows.max(1.0));
        let telling = time.saturating_sub(waiting);
        let is_telling = telling >= FIRST_TELLING;
        // No less than this, at any rate.
        let time = if is_telling { telling } else { time };
        self.heard_bandwidth(bytes as f64 / time.max(Duration::from_micros(1)).as_secs_f64());
        is_telling
    }

    /// So many bytes were sent and answered in a time.
    pub fn saw_bytes(&mut self, bytes: u64, time: Duration) {
        let round_trip = self.round_trip().as_secs_f64();
        let whole = time.as_secs_f64();
        let time = whole - round_trip;
        let is_short = time < TELLING_SECONDS.max(round_trip * TELLING_SHARE);
        if is_short || bytes < TELLING_BYTES {
            // No less than this, at any rate.
            let known = self.bandwidth_bytes_per_second.unwrap_or(0.0);
            if whole > 0.0 && bytes as f64 / whole > known {
                self.bandwidth_bytes_per_second = Some(bytes as f64 / whole);
            }
            return;
        }
        let measured = bytes as f64 / time;
        let known = self.bandwidth_bytes_per_second.filter(|_| self.is_measured);
        let mixed = known.map_or(measured, |known| known + (measured - known) * NEW_WEIGHT);
        self.bandwidth_bytes_per_second = Some(mixed);
        self.is_measured = true;
    }

    /// Time there and back, or none if unknown.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or_default()
    }

    /// Time that bytes take, without the round trip; none if the bandwidth is unknown.
    #[must_use]
    pub fn time_of(&self, bytes: f64) -> Option<Duration> {
        let bandwidth = self.bandwidth_bytes_per_second?;
        Duration::try_from_secs_f64(bytes / bandwidth).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_counts_more_than_guesses() {
        let mut link = LinkEstimate::default();
        link.saw_round_trip(Duration::from_millis(30));
        link.saw_round_trip(Duration::from_millis(10));
        link.saw_round_trip(Duration::from_millis(20));
        assert_eq!(link.round_trip(), Duration::from_millis(10));
        link.heard_bandwidth(5e6);
        link.saw_bytes(1_000_000, Duration::from_millis(110));
        assert_eq!(link.bandwidth_bytes_per_second, Some(1e7));
        link.heard_bandwidth(9e9);
        link.saw_bytes(100, Duration::from_millis(500));
        assert_eq!(link.bandwidth_bytes_per_second, Some(1e7));
        link.saw_bytes(1_000_000, Duration::from_millis(60));
        assert_eq!(link.bandwidth_bytes_per_second, Some(1.6e7));
    }

    #[test]
    fn a_slow_start_is_not_taken_for_a_slow_link() {
        let mut link = LinkEstimate::default();
        link.saw_round_trip(Duration::from_millis(90));
        // Four round trips to get up to speed, and 100 ms of sending at 1.25 MB/s.
        let is_telling = link.saw_first_bytes(125_000, Duration::from_millis(4 * 90 + 100));
        let found = link.bandwidth_bytes_per_second.unwrap();
        assert!(is_telling && (found / 1.25e6 - 1.0).abs() < 0.01, "{found}");
        // What took hardly longer than getting up to speed says no more than that it is so fast.
        let mut link = LinkEstimate::default();
        link.saw_round_trip(Duration::from_millis(90));
        assert!(!link.saw_first_bytes(125_000, Duration::from_millis(4 * 90 + 10)));
        let found = link.bandwidth_bytes_per_second.unwrap();
        assert!(found < 0.4e6, "{found}");
    }
}
