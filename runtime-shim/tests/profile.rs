//! `run --profile-to`, and rewriting with what it found.

mod shell;

use std::fs;

use shell::{migratize, run, status, text};
use wasm_migratize::{Migratizer, Optimize, Profile, ProfileError};

/// Two functions that are alike but for how long they run: `$busy` and `$idle`, functions 1 and 2.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func $busy (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.xor (i32.mul (local.get $sum) (i32.const 31)) (i32.load (i32.and (local.get $n) (i32.const 0xfffc)))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func $idle (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.xor (i32.mul (local.get $sum) (i32.const 33)) (i32.load (i32.and (local.get $n) (i32.const 0xfffc)))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "_start")
        (call $exit (i32.add (i32.const 5)
            (i32.or (call $busy (i32.const 500000000)) (call $idle (i32.const 10)))))))"#;
const BUSY: usize = 0;
const IDLE: usize = 1;

/// Sizes of the functions of the module, after rewriting.
fn sizes(migratizer: &Migratizer, original: &[u8]) -> Vec<usize> {
    let report = migratizer.rewrite(original).expect("it can be").report;
    let functions = report.functions.iter();
    functions.map(|function| function.bytes_after).collect()
}

fn goal(goal: Optimize) -> Migratizer {
    let mut migratizer = Migratizer::new();
    migratizer.optimize(goal);
    migratizer
}

#[test]
fn busy_functions_are_made_fast_and_others_small() {
    let directory = tempfile::tempdir().expect("there is room");
    let at = directory.path();
    let original = migratize(at, "program.wasm", PROGRAM);
    let output = run(at, "run program.wasm");
    let expected = status(&output);
    let output = run(
        at,
        "run program.wasm --profile-to p.json --profile-every 2ms",
    );
    assert_eq!(status(&output), expected, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("samples written to `p.json`"));

    let profile: Profile =
        serde_json::from_slice(&fs::read(at.join("p.json")).expect("it is there"))
            .expect("it is a profile");
    let mut migratizer = Migratizer::new();
    migratizer.profile(profile);
    let found = sizes(&migratizer, &original);
    let (small, fast) = (
        sizes(&goal(Optimize::Size), &original),
        sizes(&goal(Optimize::Speed), &original),
    );
    assert!(small[BUSY] < fast[BUSY] && small[IDLE] < fast[IDLE]);
    assert_eq!((found[BUSY], found[IDLE]), (fast[BUSY], small[IDLE]));

    // A snapshot of the first variant goes on in that one.
    let rewritten = migratizer.rewrite(&original).expect("it can be").wasm;
    fs::write(at.join("faster.wasm"), rewritten).expect("there is room");
    run(at, "run program.wasm --snapshot-at 50");
    let output = run(at, "resume program.snapshot --module faster.wasm");
    assert_eq!(status(&output), expected, "{}", text(&output.stderr));

    let other = wat::parse_str("(module (func))").expect("the text is valid");
    let error = migratizer
        .rewrite(&other)
        .expect_err("it is another program");
    assert!(matches!(
        error,
        wasm_migratize::Error::Profile(ProfileError::OtherProgram { .. })
    ));
}

#[test]
fn a_guest_without_a_sample_is_told_of() {
    let directory = shell::directory();
    let line = "run program.wasm --profile-to p.json --profile-every 10s";
    let output = run(directory.path(), line);
    assert_eq!(status(&output), 7);
    assert!(text(&output.stderr).contains("no profile was written"));
    assert!(!directory.path().join("p.json").exists());
}
