//! Fuzzes the differential check: `cargo +nightly fuzz run differential` in `testsuite`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testsuite::differential::check(input).unwrap());
