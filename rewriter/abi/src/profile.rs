//! Where a program spends its time, as samples of the places at which it was stopped.
//!
//! Places are in the original module, so a profile that was taken with one variant serves to make any other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Version of the file.
const VERSION: u32 = 1;

/// Samples of one program; a JSON file, see the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    version: u32,
    /// BLAKE3 digest of the original module's bytes, in hexadecimal.
    original: String,
    samples: Vec<Sample>,
}

/// How often the innermost frame of a stopped program was at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Function index in the original module.
    pub function: u32,
    /// Index into the function's safe points.
    pub safe_point: u32,
    /// How many samples.
    pub count: u64,
}

/// Why a profile is of no use for a module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It has another version.
    #[error("the profile has version {0}, expected {VERSION}: take it anew with this version")]
    Version(u32),
    /// It is of another program.
    #[error(
        "the profile is of another program: it names the original {found}, this module is {expected}"
    )]
    OtherProgram {
        /// Digest in the profile.
        found: String,
        /// Digest of the module.
        expected: String,
    },
    /// It says nothing.
    #[error("the profile holds no samples: let the program run longer")]
    Empty,
}

impl Profile {
    /// A profile of the program whose original has this BLAKE3 digest.
    #[must_use]
    pub fn new(original: &[u8; 32], counts: &BTreeMap<(u32, u32), u64>) -> Self {
        let sample = |(&(function, safe_point), &count)| Sample {
            function,
            safe_point,
            count,
        };
        Self {
            version: VERSION,
            original: hexadecimal(original),
            samples: counts.iter().map(sample).collect(),
        }
    }

    /// The functions in which the program was found most often, as many as it takes to have `part` of all samples.
    ///
    /// # Errors
    /// The profile is not of the program whose original has this digest, or is empty.
    pub fn hot_functions(
        &self,
        original: &[u8; 32],
        part: f64,
    ) -> Result<BTreeSet<u32>, ProfileError> {
        if self.version != VERSION {
            return Err(ProfileError::Version(self.version));
        }
        let expected = hexadecimal(original);
        if self.original != expected {
            let found = self.original.clone();
            return Err(ProfileError::OtherProgram { found, expected });
        }
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for sample in &self.samples {
            let count = counts.entry(sample.function).or_default();
            *count = count.saturating_add(sample.count);
        }
        let all = counts
            .values()
            .fold(0, |sum: u64, count| sum.saturating_add(*count));
        if all == 0 {
            return Err(ProfileError::Empty);
        }
        let mut ordered: Vec<(u32, u64)> = counts.into_iter().collect();
        // Stable: functions found equally often stay in order.
        ordered.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
        let wanted = all as f64 * part;
        let mut held = 0_u64;
        let hot = ordered.into_iter().take_while(|(_, count)| {
            #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
            let is_wanted = (held as f64) < wanted;
            held = held.saturating_add(*count);
            is_wanted
        });
        Ok(hot.map(|(function, _)| function).collect())
    }
}

fn hexadecimal(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::{Profile, ProfileError};

    const ORIGINAL: [u8; 32] = [7; 32];

    fn profile(counts: &[((u32, u32), u64)]) -> Profile {
        Profile::new(
            &ORIGINAL,
            &counts.iter().copied().collect::<BTreeMap<_, _>>(),
        )
    }

    #[test]
    fn the_functions_with_most_samples_are_hot() {
        let profile = profile(&[((3, 0), 50), ((3, 2), 30), ((5, 1), 15), ((9, 0), 5)]);
        let hot = |part| profile.hot_functions(&ORIGINAL, part);
        assert_eq!(hot(0.8), Ok(BTreeSet::from([3])));
        assert_eq!(hot(0.81), Ok(BTreeSet::from([3, 5])));
        assert_eq!(hot(1.0), Ok(BTreeSet::from([3, 5, 9])));
    }

    #[test]
    fn profiles_of_no_use_are_refused() {
        assert_eq!(
            profile(&[]).hot_functions(&ORIGINAL, 0.9),
            Err(ProfileError::Empty)
        );
        let other = profile(&[((1, 0), 1)]).hot_functions(&[8; 32], 0.9);
        assert!(matches!(other, Err(ProfileError::OtherProgram { .. })));
        let huge = profile(&[((1, 0), u64::MAX), ((2, 0), u64::MAX)]);
        assert!(huge.hot_functions(&ORIGINAL, 0.9).is_ok());
    }
}
