//! A few random modules in all ways; `scripts/differential` runs as many as wanted.

use testsuite::differential::{CheckOutcome, check, generate};
use testsuite::random_bytes;

#[test]
fn a_few_random_modules() {
    let (mut passed, mut all_stops) = (0, 0);
    for seed in 0..20 {
        match check(&random_bytes(seed, 4_000)) {
            CheckOutcome::Passed { stops } => {
                passed += 1;
                all_stops += stops;
            }
            CheckOutcome::Skipped(_) => {}
            CheckOutcome::Failed {
                way, difference, ..
            } => {
                panic!("seed {seed} ({way}): {difference}");
            }
        }
    }
    assert!(
        passed > 15 && all_stops > 500,
        "{passed} modules, {all_stops} stops"
    );
}

#[test]
fn the_same_input_makes_the_same_module() {
    let input = random_bytes(42, 4_000);
    assert_eq!(generate(&input), generate(&input));
}
