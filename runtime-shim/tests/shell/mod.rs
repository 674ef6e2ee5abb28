//! A directory with a program in it, and `wasm-migrate` run there.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// Computes a Fibonacci number, prints its last digit, and exits with status 7.
const PROGRAM: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read"
        (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 100) "result ?\n")
    (func $fib (export "fib") (param i32) (result i32)
        (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add
                (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "trap") (unreachable))
    (func (export "read_line") (result i32)
        (i32.store (i32.const 0) (i32.const 200))
        (i32.store (i32.const 4) (i32.const 50))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.load (i32.const 8)))
    (func $main (export "_start")
        (i32.store8 (i32.const 107)
            (i32.add (i32.const 48) (i32.rem_u (call $fib (i32.const 20)) (i32.const 10))))
        (i32.store (i32.const 0) (i32.const 100))
        (i32.store (i32.const 4) (i32.const 9))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $exit (i32.const 7))))"#;

/// A directory with the program in it, original and migratized.
pub(crate) fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    let original = migratize(directory.path(), "program.wasm", PROGRAM);
    fs::write(directory.path().join("plain.wasm"), original).expect("there is room");
    directory
}

/// Puts a migratized program into a directory; returns the original.
pub(crate) fn migratize(directory: &Path, name: &str, program: &str) -> Vec<u8> {
    let original = wat::parse_str(program).expect("the text is valid");
    let migratized = wasm_migratize::Migratizer::new().rewrite(&original);
    let migratized = migratized.expect("it can be").wasm;
    fs::write(directory.join(name), migratized).expect("there is room");
    original
}

pub(crate) fn command(directory: &Path, line: &str) -> Command {
    with_arguments(directory, line.split(' '))
}

pub(crate) fn with_arguments<'a>(
    directory: &Path,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasm-migrate"));
    command
        .current_dir(directory)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

pub(crate) fn run(directory: &Path, line: &str) -> Output {
    command(directory, line)
        .output()
        .expect("the program can be started")
}

pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().expect("it exits")
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints text")
}
