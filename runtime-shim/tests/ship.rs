//! Guests in pipes: what is printed comes out once and in order, and whatever breaks, at most one side runs the
//! guest and it is never lost.

mod shell;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use shell::{command, directory, run, status, text};

const ME: &str = env!("CARGO_BIN_EXE_wasm-migrate");
const WHOLE: &str = "one\ntwo\nthree 17\n";

/// Prints a line, computes, prints a second, reads input, prints the third with what it read, and exits with 9.
const TALKER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "one\ntwo\nthree ??\n")
    (func $say (param i32 i32)
        (i32.store (i32.const 0) (local.get 0))
        (i32.store (i32.const 4) (local.get 1))
        (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
    (func $spin (param i32)
        (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "_start")
        (call $say (i32.const 100) (i32.const 4))
        (call $spin (i32.const 400000))
        (call $say (i32.const 104) (i32.const 4))
        (i32.store (i32.const 0) (i32.const 114))
        (i32.store (i32.const 4) (i32.const 2))
        (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (call $say (i32.const 108) (i32.const 9))
        (call $exit (i32.const 9))))"#;

fn talker() -> tempfile::TempDir {
    let directory = directory();
    let original = wat::parse_str(TALKER).expect("the text is valid");
    let migratized = wasm_migratize::Migratizer::new().rewrite(&original);
    let path = directory.path().join("talker.wasm");
    fs::write(path, migratized.expect("it can be").wasm).expect("there is room");
    directory
}

/// Runs a line of shell in which `$ME` is `wasm-migrate`, with this input.
fn shell(directory: &Path, line: &str, input: &str) -> Output {
    let mut child = Command::new("bash")
        .current_dir(directory)
        .env("ME", ME)
        .args(["-c", line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let written = child
        .stdin
        .take()
        .expect("it is a pipe")
        .write_all(input.as_bytes());
    // It need not read any.
    drop(written);
    child.wait_with_output().expect("it ends")
}

fn has_snapshot(directory: &Path) -> bool {
    directory.join("talker.snapshot").exists()
}

#[test]
fn a_pipe_carries_the_guest_and_what_it_prints() {
    let directory = talker();
    let at = directory.path();
    let line = "$ME run talker.wasm --snapshot-at 100 --snapshot-to - </dev/null | ($ME resume - --quiet; echo $?)";
    let output = shell(at, line, "");
    // At the end of the pipe there is nothing to read.
    assert_eq!(
        text(&output.stdout),
        "one\ntwo\nthree ??\n9\n",
        "{}",
        text(&output.stderr)
    );
    assert!(has_snapshot(at), "it is kept");
    let statuses = "set -o pipefail; $ME run talker.wasm --snapshot-at 100 --snapshot-to - --no-keep | $ME resume - \
        --snapshot-at 100 --snapshot-to - --no-keep | $ME resume -; echo ${PIPESTATUS[@]}";
    let output = shell(at, statuses, "");
    assert_eq!(
        text(&output.stdout),
        "one\ntwo\nthree ??\n75 75 9\n",
        "{}",
        text(&output.stderr)
    );
    assert!(!has_snapshot(at), "it is not kept");

    // A guest that ends before it is sent.
    let line = "$ME run talker.wasm --snapshot-to - | $ME resume -; echo ${PIPESTATUS[@]}";
    let output = shell(at, line, "17");
    assert_eq!(
        text(&output.stdout),
        format!("{WHOLE}9 9\n"),
        "{}",
        text(&output.stderr)
    );

    // A plain snapshot, and a module that comes along.
    run(at, "run talker.wasm --snapshot-at 100");
    let output = shell(at, "cat talker.snapshot | $ME resume -", "");
    assert_eq!(
        (status(&output), text(&output.stdout)),
        (9, "two\nthree ??\n")
    );
    let line = "$ME run talker.wasm --snapshot-at 100 --snapshot-to - --with-module | \
        (sleep 0.3; mv talker.wasm away.wasm; $ME resume -)";
    let output = shell(at, line, "");
    assert_eq!(
        (status(&output), text(&output.stdout)),
        (9, "one\ntwo\nthree ??\n")
    );
    assert!(!at.join("talker.wasm").exists());
}

#[test]
fn a_command_takes_the_guest_over() {
    let directory = talker();
    let at = directory.path();
    let line =
        "$ME run talker.wasm --snapshot-at 100 --snapshot-command '$ME resume - --ack'; echo $?";
    let output = shell(at, line, "17");
    assert_eq!(
        text(&output.stdout),
        format!("{WHOLE}9\n"),
        "{}",
        text(&output.stderr)
    );
    assert!(!has_snapshot(at), "it runs elsewhere");
}

#[test]
fn a_guest_that_is_not_taken_goes_on() {
    let directory = talker();
    let at = directory.path();
    for (taker, reason) in [
        ("true", ""),
        ("qemu-pdp11 $ME resume - --ack", "was not found"),
        ("./talker.wasm resume - --ack", "cannot be executed"),
        ("exec head -c 100 >/dev/null", ""),
        ("echo hello; cat >/dev/null", "hello"),
        (
            "$ME resume - --ack --module program.wasm",
            "another program",
        ),
        (
            "$ME resume - --ack --stack-size 64K --verify-with missing",
            "missing",
        ),
        // It takes nothing, not even its end, and then is silent.
        (
            "exec 2>/dev/null; sleep 20 & exec sleep 20",
            "nothing moved",
        ),
        (
            "exec 2>/dev/null; cat >/dev/null; sleep 20",
            "nothing moved",
        ),
        // It is killed when it has the whole guest, and before it can have said so.
        ("timeout 0.2 cat >/dev/null", "without a word"),
    ] {
        let line = format!(
            "$ME run talker.wasm --snapshot-at 100 --ship-timeout 1s --snapshot-command '{taker}'; echo $?"
        );
        let output = shell(at, &line, "17");
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(out, format!("{WHOLE}9\n"), "{taker}: {error}");
        assert!(error.contains("did not take the guest"), "{taker}: {error}");
        assert!(error.contains("the guest goes on"), "{taker}: {error}");
        assert!(error.contains(reason), "{taker}: {error}");
        assert!(!has_snapshot(at), "{taker}: it would be resumed twice");
    }
}

#[test]
fn a_guest_that_is_let_go_and_not_heard_of_is_kept() {
    let directory = talker();
    let at = directory.path();
    fs::write(at.join("ready"), "wasm-migrate: ready\n").expect("there is room");
    let line = "$ME run talker.wasm --snapshot-at 100 --snapshot-command 'cat ready; timeout 0.5 cat >/dev/null'; echo $?";
    let output = shell(at, line, "17");
    assert_eq!(text(&output.stdout), "one\n1\n", "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("is kept in"),
        "{}",
        text(&output.stderr)
    );
    let output = shell(at, "$ME resume talker.snapshot", "17");
    assert_eq!(
        (status(&output), text(&output.stdout)),
        (9, "two\nthree 17\n")
    );
}

#[test]
fn a_broken_pipe_names_the_file_that_is_kept() {
    let directory = talker();
    let at = directory.path();
    for end in ["--no-keep", "--with-module"] {
        let line = format!(
            "$ME run talker.wasm --snapshot-at 100 --snapshot-to - {end} | head -c 20 >/dev/null; echo ${{PIPESTATUS[0]}}"
        );
        let output = shell(at, &line, "");
        let error = text(&output.stderr);
        // A small stream may have gone before the reader does.
        match text(&output.stdout) {
            "1\n" => {
                assert!(error.contains("is kept in `talker.snapshot`"), "{error}");
                let output = run(at, "resume talker.snapshot");
                assert_eq!(text(&output.stdout), "two\nthree ??\n");
            }
            other => assert_eq!(other, "75\n", "{error}"),
        }
    }
    // No one reads at all.
    let mut child = command(
        at,
        "run talker.wasm --snapshot-at 50000 --snapshot-to - --no-keep",
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("the program can be started");
    let mut first = [0; 19];
    let mut stream = child.stdout.take().expect("it is a pipe");
    stream.read_exact(&mut first).expect("it prints");
    assert_eq!(&first[15..], b"one\n");
    drop(stream);
    let output = child.wait_with_output().expect("it ends");
    let error = text(&output.stderr);
    assert_eq!(status(&output), 1, "{error}");
    assert!(error.contains("is kept in `talker.snapshot`"), "{error}");
    assert!(has_snapshot(at));
}

#[test]
fn half_a_guest_does_not_run() {
    let directory = talker();
    let at = directory.path();
    let stream = shell(
        at,
        "$ME run talker.wasm --snapshot-at 100 --snapshot-to - --with-module",
        "",
    );
    assert_eq!(status(&stream), 75);
    let bytes = stream.stdout;
    let mut cuts: Vec<usize> = (0..40).chain(bytes.len() - 20..bytes.len()).collect();
    cuts.push(bytes.len() / 2);
    for cut in cuts {
        fs::write(at.join("cut"), &bytes[..cut]).expect("there is room");
        let output = shell(at, "$ME resume - <cut", "");
        let printed = text(&output.stdout);
        assert_eq!(status(&output), 1, "{cut}: {}", text(&output.stderr));
        assert!(["", "one\n"].contains(&printed), "{cut}: {printed}");
    }
    fs::write(at.join("whole"), &bytes).expect("there is room");
    let output = shell(at, "$ME resume - <whole", "");
    assert_eq!(
        (status(&output), text(&output.stdout)),
        (9, "one\ntwo\nthree ??\n")
    );
}
