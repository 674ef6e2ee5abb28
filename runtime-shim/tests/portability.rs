//! Snapshots that say that they come from a processor of another kind.

mod shell;

use std::fs;
use std::path::Path;

use shell::{directory, run, status, text};
use wasm_migrate::{ReadOptions, Snapshot, WriteOptions};

/// A guest in a loop of `operations`, which have a local 0 of type `ty`.
fn program(directory: &Path, ty: &str, operations: &str) {
    let text = format!(
        r#"(module (memory 1) (data (i32.const 8) "\32") (func (export "run") (result i32) (local {ty} i32)
            (loop $again
                {operations}
                (br_if $again (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.load (i32.const 8)))))
            (local.get 1)))"#
    );
    let original = wat::parse_str(text).expect("the text is valid");
    let output = wasm_migratize::Migratizer::new().rewrite(&original);
    let wasm = output.expect("it can be").wasm;
    fs::write(directory.join("guest.wasm"), wasm).expect("there is room");
}

/// Has the snapshot say that it was taken on another processor.
fn pretend(directory: &Path) {
    let path = directory.join("guest.snapshot");
    let mut snapshot = Snapshot::read(&path, &ReadOptions::default()).expect("it was just written");
    let section = snapshot.sections.get_mut("processor").expect("it is there");
    let said = text(&section.bytes).replace(std::env::consts::ARCH, "pdp11");
    assert!(said.contains("pdp11"), "{said}");
    section.bytes = said.into_bytes();
    snapshot
        .write(&path, WriteOptions::default())
        .expect("there is room");
}

#[test]
fn relaxed_simd_goes_to_other_processors_only_if_it_is_deterministic() {
    let directory = directory();
    program(
        directory.path(),
        "v128",
        "(local.set 0 (i8x16.relaxed_swizzle (local.get 0) (i8x16.splat (local.get 1))))",
    );
    let run = |line: &str| run(directory.path(), line);
    run("run guest.wasm --invoke run --snapshot-at 5");
    assert_eq!(status(&run("resume guest.snapshot")), 0);
    pretend(directory.path());
    for line in [
        "resume guest.snapshot",
        "resume guest.snapshot --deterministic-relaxed-simd",
    ] {
        let refused = run(line);
        let said = text(&refused.stderr);
        assert_eq!(status(&refused), 1, "{said}");
        assert!(said.contains("pdp11"), "{said}");
        assert!(said.contains("--deterministic-relaxed-simd"), "{said}");
    }

    run("run guest.wasm --invoke run --snapshot-at 5 --deterministic-relaxed-simd");
    pretend(directory.path());
    run("resume guest.snapshot --snapshot-at 2 --snapshot guest.snapshot");
    // The setting went along.
    pretend(directory.path());
    let resumed = run("resume guest.snapshot");
    assert_eq!(status(&resumed), 0, "{}", text(&resumed.stderr));
    assert_eq!(text(&resumed.stdout), "50\n");
}

#[test]
fn nans_of_other_processors_are_warned_of() {
    let directory = directory();
    let run = |line: &str| run(directory.path(), line);
    for (ty, operations, options, is_warned) in [
        ("f64", "(local.set 0 (f64.sqrt (local.get 0)))", "", true),
        (
            "f64",
            "(local.set 0 (f64.sqrt (local.get 0)))",
            " --canonicalize-nans",
            false,
        ),
        ("i64", "(i32.store (i32.const 0) (local.get 1))", "", false),
    ] {
        program(directory.path(), ty, operations);
        let start = format!("run guest.wasm --invoke run --snapshot-at 5{options}");
        run(&start);
        pretend(directory.path());
        let resumed = run("resume guest.snapshot");
        let said = text(&resumed.stderr);
        assert_eq!(
            (status(&resumed), said.contains("--canonicalize-nans")),
            (0, is_warned),
            "{operations}{options}: {said}"
        );
    }
}
