//! How many pages a guest writes in a time: a curve through what was measured.
//!
//! A guest that writes the same few pages over and over has a curve that soon is flat, one that walks through its memory a
//! straight one. Between samples the curve is straight; behind the last it goes on as between the last two, but not beyond the
//! guest's pages.

use std::time::Duration;

use crate::convergence::GuestSample;

/// Pages written at least once, as a function of time.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkingSet {
    /// Seconds and pages, ascending, from (0, 0) on.
    points: Vec<(f64, f64)>,
    /// The guest's pages.
    most: f64,
}

impl WorkingSet {
    /// The curve through a guest's samples.
    #[must_use]
    pub fn new(guest: &GuestSample) -> Self {
        let mut points = vec![(0.0, 0.0)];
        for sample in &guest.working_set {
            let (last_time, last_pages) = *points.last().expect("it begins with a point");
            let time = sample.interval.as_secs_f64();
            if time > last_time {
                // More time, no fewer pages: what was measured at different moments may say otherwise.
                points.push((time, (sample.pages as f64).max(last_pages)));
            }
        }
        let measured = points.last().expect("it begins with a point").1;
        Self {
            points,
            most: (guest.touched_pages as f64).max(measured),
        }
    }

    /// Pages written at least once in this time.
    #[must_use]
    pub fn pages_after(&self, time: Duration) -> f64 {
        let time = time.as_secs_f64();
        let after = self.points.partition_point(|(at, _)| *at < time);
        let (left, right) = match after {
            0 => return 0.0,
            _ if self.points.len() == 1 => return 0.0,
            _ if after < self.points.len() => (self.points[after - 1], self.points[after]),
            _ => (self.points[after - 2], self.points[after - 1]),
        };
        let slope = (right.1 - left.1) / (right.0 - left.0);
        (left.1 + (time - left.0) * slope).clamp(0.0, self.most)
    }

    /// Pages written anew in a second, as far as is known: over the longest interval.
    #[must_use]
    pub fn pages_per_second(&self) -> Option<f64> {
        let (time, pages) = *self.points.last()?;
        (time > 0.0).then(|| pages / time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convergence::DirtySample;

    fn curve(touched_pages: u64, samples: &[(u64, u64)]) -> WorkingSet {
        let sample = |&(millis, pages)| DirtySample {
            pages,
            interval: Duration::from_millis(millis),
        };
        WorkingSet::new(&GuestSample {
            touched_pages,
            working_set: samples.iter().map(sample).collect(),
            ..GuestSample::default()
        })
    }

    #[test]
    fn the_curve_bends_and_ends() {
        let curve = curve(1000, &[(10, 100), (100, 190)]);
        for (millis, pages) in [
            (0, 0.0),
            (5, 50.0),
            (10, 100.0),
            (55, 145.0),
            (100, 190.0),
            (200, 290.0),
            (10_000, 1000.0),
        ] {
            let found = curve.pages_after(Duration::from_millis(millis));
            assert!((found - pages).abs() < 1e-6, "{millis} ms: {found}");
        }
        assert_eq!(curve.pages_per_second(), Some(1900.0));
    }

    #[test]
    fn contradictory_and_missing_samples_do_no_harm() {
        let odd = curve(50, &[(10, 100), (10, 7), (20, 90)]);
        assert_eq!(odd.pages_after(Duration::from_secs(1)), 100.0);
        let none = curve(50, &[]);
        assert_eq!(none.pages_after(Duration::from_secs(1)), 0.0);
        assert_eq!(none.pages_per_second(), None);
    }
}
