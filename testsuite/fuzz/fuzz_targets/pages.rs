//! Fuzzes the unpacking of pages: `cargo +nightly fuzz run pages` in `testsuite`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| testsuite::pages::check(input));
