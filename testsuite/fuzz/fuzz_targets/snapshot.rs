//! Fuzzes the reading of snapshots: `cargo +nightly fuzz run snapshot` in `testsuite`. The input is a
//! snapshot whose checksums are put right before it is read, so that the fuzzer gets behind them.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testsuite::snapshots::check(input.to_vec()));
