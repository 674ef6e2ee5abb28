//! Means, medians, and how well a median is known.

/// Geometric mean of ratios.
#[must_use]
pub fn geometric_mean(ratios: &[f64]) -> f64 {
    let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (logs / count(ratios.len())).exp()
}

/// Median of some measurements.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Ratios of measurements that were taken together.
pub(super) fn paired_ratios(values: &[f64], base: &[f64]) -> Vec<f64> {
    let pairs = values.iter().zip(base);
    pairs.map(|(value, base)| value / base).collect()
}

/// Does the median of what these were drawn from lie within `tolerance` of theirs, with about 95% certainty?
///
/// By the ranks of the values alone: the number of values below the true median has a binomial distribution.
pub(super) fn is_settled(mut values: Vec<f64>, tolerance: f64) -> bool {
    values.sort_by(f64::total_cmp);
    let size = values.len();
    let reach = count(size).sqrt();
    // Ranks of the ends of the interval; with less than six values there are none.
    let low = count(size) / 2.0 - reach;
    if low < 0.0 || size < 6 {
        return false;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank below the count of values"
    )]
    let low = low.floor() as usize;
    let (low, high) = (values[low], values[size - 1 - low]);
    let middle = values[size / 2];
    high - middle <= tolerance * middle && middle - low <= tolerance * middle
}

#[expect(
    clippy::cast_precision_loss,
    reason = "there are few measurements, and few programs"
)]
fn count(size: usize) -> f64 {
    size as f64
}

#[cfg(test)]
mod tests {
    use super::{geometric_mean, is_settled, median, paired_ratios};

    #[test]
    fn means() {
        assert!((geometric_mean(&[0.5, 2.0, 1.0]) - 1.0).abs() < 1e-12);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert_eq!(paired_ratios(&[2.0, 3.0], &[1.0, 2.0]), [2.0, 1.5]);
    }

    #[test]
    fn agreement_settles_and_disagreement_does_not() {
        assert!(is_settled(vec![1.0; 6], 0.01));
        assert!(!is_settled(vec![1.0; 5], 0.01));
        let spread: Vec<f64> = (0..20).map(|value| 1.0 + f64::from(value) / 20.0).collect();
        assert!(!is_settled(spread.clone(), 0.01));
        assert!(is_settled(spread, 0.3));
        // One value that is far off does not matter among many.
        let mut outlier = vec![1.0; 12];
        outlier[3] = 50.0;
        assert!(is_settled(outlier, 0.01));
    }
}
