//! Fuzzes the reading of frames: `cargo +nightly fuzz run frames` in `runtime-shim/protocol`. The input is a channel and its
//! stream, whose checksums are put right before it is read a second time, so that the fuzzer gets behind them.

#![no_main]

#[path = "../../tests/frames/check.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check::check(input));
