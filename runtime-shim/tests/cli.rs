//! The command line: exit statuses, messages, and a program that moves between processes.

mod shell;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use shell::{command, directory, migratize, run, status, text, with_arguments};

#[test]
fn the_guest_exit_status_is_passed_on() {
    let directory = directory();
    let output = run(directory.path(), "run program.wasm");
    assert_eq!((status(&output), text(&output.stdout)), (7, "result 5\n"));
    let output = run(directory.path(), "run program.wasm --invoke fib -- 10");
    assert_eq!((status(&output), text(&output.stdout)), (0, "55\n"));
    let output = run(directory.path(), "run program.wasm --invoke trap");
    assert_eq!(status(&output), 134);
    assert!(text(&output.stderr).contains("unreachable"));
}

#[test]
fn mistakes_are_told() {
    let directory = directory();
    for (line, expected, message) in [
        ("run", 2, "<MODULE>"),
        ("run program.wasm --snapshot-after soon", 2, "unit"),
        ("run program.wasm --snapshot-at 0", 2, "0"),
        ("run missing.wasm", 1, "cannot read `missing.wasm`"),
        ("run plain.wasm", 1, "wasm-migratize in.wasm -o out.wasm"),
        (
            "run program.wasm --invoke nothing",
            1,
            "exports no function `nothing`",
        ),
        (
            "run program.wasm --invoke fib",
            1,
            "takes 1 arguments, 0 are given",
        ),
        (
            "run program.wasm --invoke fib -- ten",
            1,
            "`ten` is not a value of type i32",
        ),
        ("resume program.wasm", 1, "not a snapshot"),
        (
            "inspect missing.snapshot",
            1,
            "cannot read `missing.snapshot`",
        ),
    ] {
        let output = run(directory.path(), line);
        assert_eq!(status(&output), expected, "{line}");
        assert!(
            text(&output.stderr).contains(message),
            "{line}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn a_program_moves_between_processes() {
    let directory = directory();
    let output = run(directory.path(), "run program.wasm --snapshot-at 5000");
    assert_eq!((status(&output), text(&output.stdout)), (75, ""));
    assert!(text(&output.stderr).contains("wasm-migrate resume program.snapshot"));

    let output = run(
        directory.path(),
        "resume program.snapshot --snapshot-at 5000 --snapshot 2.snapshot",
    );
    assert_eq!((status(&output), text(&output.stdout)), (75, ""));
    for _ in 0..2 {
        // The same snapshot can be resumed again.
        let output = run(directory.path(), "resume 2.snapshot");
        assert_eq!((status(&output), text(&output.stdout)), (7, "result 5\n"));
    }
}

#[test]
fn a_snapshot_can_be_looked_at() {
    let directory = directory();
    run(directory.path(), "run program.wasm --snapshot-at 1000");
    let output = run(directory.path(), "inspect program.snapshot");
    assert_eq!(status(&output), 0);
    for part in [
        "fib (function 3)",
        "at a call",
        "operand 0: i32 = ",
        "0: 1 pages of 65536 bytes",
        "arguments: program.wasm",
        "0: stdin, rights fd_read",
    ] {
        assert!(
            text(&output.stdout).contains(part),
            "{part}: {}",
            text(&output.stdout)
        );
    }
    let output = run(directory.path(), "inspect --json program.snapshot");
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let stack = listing["stack"].as_array().expect("a list");
    assert_eq!(stack.last().expect("there are frames")["name"], "main");
    let descriptors = &listing["wasi"]["descriptors"];
    assert_eq!(descriptors[1]["kind"], "stdout");
    let rights = descriptors[1]["rights"].as_array().expect("a list");
    assert!(rights.contains(&"fd_write".into()), "{rights:?}");
    let map = &listing["memories"][0]["map"];
    let expected = serde_json::json!([
        {"kind": "stored", "start": 0, "bytes": 4096}, {"kind": "zero", "start": 4096, "bytes": 61440},
    ]);
    assert_eq!(map["runs"], expected, "{map}");
    let output = run(directory.path(), "inspect program.snapshot --map");
    for part in [
        "4.00 KiB stored in 1 run, 60.00 KiB zero in 1 run",
        "0x00001000..0x00010000 zero",
    ] {
        assert!(
            text(&output.stdout).contains(part),
            "{part}: {}",
            text(&output.stdout)
        );
    }

    let output = run(
        directory.path(),
        "inspect program.snapshot --memory 0x60..0x6d",
    );
    let line = "00000060  00 00 00 00 72 65 73 75 6c 74 20 3f 0a           |....result ?.|";
    assert!(
        text(&output.stdout).contains(line),
        "{}",
        text(&output.stdout)
    );

    let output = run(
        directory.path(),
        "inspect program.snapshot --json --memory 0x64..+6",
    );
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let expected = serde_json::json!({"memory": 0, "start": 100, "bytes": "726573756c74"});
    assert_eq!(listing["view"], expected);
    let output = run(directory.path(), "inspect program.snapshot --memory 1:0..4");
    assert_eq!(status(&output), 1);
    assert!(text(&output.stderr).contains("there is no memory 1"));

    fs::remove_file(directory.path().join("program.wasm")).expect("it is there");
    let output = run(directory.path(), "inspect program.snapshot");
    assert_eq!(status(&output), 0);
    assert!(text(&output.stdout).contains("give --module"));
}

/// Stores in its memory, and has names for everything.
const NAMED: &str = r#"(module
    (memory 1)
    (global $total (mut i64) (i64.const 0))
    (func $sum (export "sum") (param $count i32) (result i64) (local $step i32)
        (loop $l
            (local.set $step (i32.add (local.get $step) (i32.const 3)))
            (global.set $total (i64.add (global.get $total) (i64.extend_i32_u (local.get $step))))
            (i64.store offset=8192 (i32.and (local.get $count) (i32.const 0xff8)) (global.get $total))
            (br_if $l (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))
        (global.get $total)))"#;

#[test]
fn values_have_the_names_of_the_program() {
    let directory = directory();
    migratize(directory.path(), "named.wasm", NAMED);
    let line = "run named.wasm --invoke sum --snapshot-at 40 -- 1000";
    assert_eq!(status(&run(directory.path(), line)), 75);
    let output = run(directory.path(), "inspect named.snapshot");
    for part in [
        "local 0 count: i32 = ",
        "local 1 step: i32 = ",
        "0: total: i64 = ",
    ] {
        assert!(
            text(&output.stdout).contains(part),
            "{part}: {}",
            text(&output.stdout)
        );
    }
    let line = "resume named.snapshot --snapshot-at 40 --snapshot later";
    assert_eq!(status(&run(directory.path(), line)), 75);
    let output = run(directory.path(), "diff named.snapshot later");
    assert_eq!(status(&output), 1, "{}", text(&output.stderr));
    for part in [
        "-      local 1 step: i32 = ",
        "global 0\n  - total: i64 = ",
        "memory 0: 1 page of 4096 bytes changed\n  0x2000..0x3000\n",
    ] {
        assert!(
            text(&output.stdout).contains(part),
            "{part}: {}",
            text(&output.stdout)
        );
    }
}

#[test]
fn names_from_a_snapshot_do_nothing_to_the_terminal() {
    let directory = directory();
    let line = [
        "run",
        "program.wasm",
        "--snapshot-at",
        "1000",
        "--",
        "\x1b[2Jboo\nentry",
    ];
    let output = with_arguments(directory.path(), line).output();
    let output = output.expect("the program can be started");
    assert_eq!(status(&output), 75);
    let output = run(directory.path(), "inspect program.snapshot");
    assert!(text(&output.stdout).contains("arguments: program.wasm \\u{1b}[2Jboo\\nentry\n"));
    assert!(!output.stdout.contains(&0x1b));
    fs::rename(
        directory.path().join("program.wasm"),
        directory.path().join("\x1b[31m.wasm"),
    )
    .expect("it is there");
    let line = ["run", "\x1b[31m.wasm", "--invoke", "nothing"];
    let output = with_arguments(directory.path(), line).output();
    let output = output.expect("the program can be started");
    assert_eq!(status(&output), 1);
    assert!(!output.stderr.contains(&0x1b), "{}", text(&output.stderr));
}

#[test]
fn a_snapshot_opens_no_directory_unasked() {
    let directory = directory();
    let at = directory.path();
    fs::create_dir(at.join("data")).expect("there is room");
    let line = "run program.wasm --dir data::/d --snapshot-at 1000";
    assert_eq!(status(&run(at, line)), 75);
    let output = run(at, "resume program.snapshot");
    assert_eq!(status(&output), 1);
    for part in ["--dir data::/d", "--same-dirs", "\"/d\" is not mapped"] {
        assert!(
            text(&output.stderr).contains(part),
            "{part}: {}",
            text(&output.stderr)
        );
    }
    for options in ["--same-dirs", "--dir data::/d", "--dir .::/d"] {
        let output = run(at, &format!("resume program.snapshot {options}"));
        assert_eq!((status(&output), text(&output.stdout)), (7, "result 5\n"));
    }
    let output = run(at, "resume program.snapshot --same-dirs --dir data::/d");
    assert_eq!(status(&output), 2);
}

#[test]
fn a_snapshot_names_ordinary_files_alone_as_its_module() {
    let directory = directory();
    let at = directory.path();
    run(at, "run program.wasm --snapshot-at 1000");
    fs::remove_file(at.join("program.wasm")).expect("it is there");
    std::os::unix::fs::symlink("/dev/zero", at.join("program.wasm")).expect("there is room");
    for line in [
        "resume program.snapshot",
        "coredump program.snapshot -o core",
    ] {
        let output = run(at, line);
        assert_eq!(status(&output), 1);
        assert!(
            text(&output.stderr).contains("no ordinary file"),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(status(&run(at, "inspect program.snapshot")), 0);
}

#[test]
fn less_memory_can_be_allowed() {
    let directory = directory();
    let at = directory.path();
    run(at, "run program.wasm --snapshot-at 1000");
    for (line, expected) in [
        ("resume program.snapshot --memory-limit 64K", 7),
        ("resume program.snapshot --memory-limit 32K", 1),
        ("inspect program.snapshot --memory-limit 32K", 0),
    ] {
        let output = run(at, line);
        assert_eq!(
            status(&output),
            expected,
            "{line}: {}",
            text(&output.stderr)
        );
        let is_told = text(&output.stderr).contains("65536 bytes of memory, more than the 32768");
        assert_eq!(is_told, expected == 1, "{}", text(&output.stderr));
    }
}

#[test]
fn a_snapshot_becomes_a_core_dump() {
    let directory = directory();
    run(directory.path(), "run program.wasm --snapshot-at 1000");
    let output = run(
        directory.path(),
        "coredump program.snapshot -o program.coredump",
    );
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let dump = fs::read(directory.path().join("program.coredump")).expect("it is there");
    wasmparser::validate(&dump).expect("a core dump is a module");
    let (mut frames, mut data) = (Vec::new(), 0);
    for payload in wasmparser::Parser::new(0).parse_all(&dump) {
        match payload.expect("it is valid") {
            wasmparser::Payload::CustomSection(section) => {
                if let wasmparser::KnownCustom::CoreDumpStack(stack) = section.as_known() {
                    frames = stack.frames;
                }
            }
            wasmparser::Payload::DataSection(section) => data = section.count(),
            _ => {}
        }
    }
    let listing = run(directory.path(), "inspect --json program.snapshot");
    let listing: serde_json::Value = serde_json::from_slice(&listing.stdout).expect("it is JSON");
    let stack = listing["stack"].as_array().expect("a list");
    assert_eq!(frames.len(), stack.len());
    for (frame, listed) in frames.iter().zip(stack) {
        assert_eq!(listed["function"], frame.funcidx);
        assert_eq!(listed["offset"], frame.codeoffset);
    }
    // The innermost frame of `fib` that waits for its second call has the first one's result.
    let has_operand = |frame: &wasmparser::CoreDumpStackFrame| {
        matches!(frame.stack[..], [wasmparser::CoreDumpValue::I32(_)])
    };
    assert!(frames.iter().any(has_operand));
    assert_eq!(data, 1);
}

#[test]
fn snapshots_are_verified_and_compared() {
    let directory = directory();
    run(directory.path(), "run program.wasm --snapshot-at 1000");
    run(
        directory.path(),
        "resume program.snapshot --snapshot-at 500 --snapshot later.snapshot",
    );
    let output = run(directory.path(), "verify --json later.snapshot");
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(verified["epoch"], 2);

    let output = run(directory.path(), "diff program.snapshot program.snapshot");
    assert_eq!(status(&output), 0, "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout), "nothing changed\n");
    let output = run(
        directory.path(),
        "diff --json program.snapshot later.snapshot",
    );
    assert_eq!(status(&output), 1, "{}", text(&output.stderr));
    let difference: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert!(
        difference["equal_frames"].as_u64() >= Some(1),
        "{difference}"
    );
    assert_eq!(difference["memories"], serde_json::json!([]));
    assert_eq!(difference["frames_after"][0]["name"], "fib", "{difference}");
    let output = run(directory.path(), "diff program.snapshot later.snapshot");
    for part in ["  - #0 fib (function 3)", "  + #0 fib (function 3)"] {
        assert!(
            text(&output.stdout).contains(part),
            "{}",
            text(&output.stdout)
        );
    }
    let output = run(directory.path(), "diff program.snapshot missing");
    assert_eq!(status(&output), 2, "that is no difference");

    let path = directory.path().join("later.snapshot");
    let mut bytes = fs::read(&path).expect("it is there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).expect("there is room");
    for line in ["verify later.snapshot", "resume later.snapshot"] {
        let output = run(directory.path(), line);
        assert_eq!(status(&output), 1);
        assert!(text(&output.stderr).contains("page index is damaged"));
    }
}

/// Counts to a number in the innermost loop of two, for a few seconds; its result depends on every step.
const LONG: &str = r#"(module
    (memory 4)
    (func (export "count") (param $steps i32) (result i32) (local $sum i32) (local $i i32)
        (loop $l
            (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $i)))
            (i32.store (i32.and (local.get $sum) (i32.const 0x3fffc)) (local.get $i))
            (br_if $l (i32.lt_s
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $steps))))
        (i32.add (local.get $sum) (i32.load (i32.const 0x1000)))))"#;

#[test]
fn a_killed_process_loses_at_most_one_interval() {
    checkpoints_survive_kills("auto");
}

#[test]
fn checkpoints_need_no_help_of_the_kernel() {
    checkpoints_survive_kills("hash");
}

fn checkpoints_survive_kills(tracking: &str) {
    let directory = tempfile::tempdir().expect("there is room");
    migratize(directory.path(), "long.wasm", LONG);
    let plain = "run long.wasm --invoke count -- 500000000";
    let checkpointed = format!(
        "run long.wasm --invoke count --checkpoint-every 40ms --keep 2 --dirty-tracking {tracking} \
         -- 500000000"
    );
    let checkpointed = checkpointed.as_str();
    let expected = run(directory.path(), plain).stdout;
    let checkpoints = || {
        let entries = fs::read_dir(directory.path()).expect("it can be listed");
        let names = entries.map(|entry| entry.expect("it can be read").file_name());
        let is_checkpoint = |name: &str| name.starts_with("long.snapshot.checkpoint.");
        let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
        names.retain(|name| is_checkpoint(name));
        names.retain(|name| !name.ends_with(".tmp") && !name.ends_with(".lock"));
        names.sort();
        names
    };
    for round in 0..2 {
        let mut child = command(directory.path(), checkpointed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let before = checkpoints();
        let start = std::time::Instant::now();
        while checkpoints() == before && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
        let left = checkpoints().len();
        assert!(
            (1..=10).contains(&left),
            "round {round}: {left} checkpoints"
        );
    }
    let others = checkpointed.replace("500000000", "500000001");
    let output = run(directory.path(), &others);
    assert_eq!(status(&output), 1);
    assert!(text(&output.stderr).contains("--fresh"));

    let output = run(directory.path(), checkpointed);
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("going on from checkpoint"));
    assert_eq!(output.stdout, expected);
    assert_eq!(checkpoints(), [""; 0], "they are removed at the end");
}

#[test]
fn a_guest_that_waits_for_input_can_be_moved() {
    let directory = directory();
    let mut waiting = command(directory.path(), "run program.wasm --invoke read_line")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    // An open pipe: the end of the input would end the wait.
    let input = waiting.stdin.take().expect("it is a pipe");
    // Long enough to be waiting on most machines; the test holds if it is not there yet.
    std::thread::sleep(Duration::from_millis(500));
    let id = waiting.id().to_string();
    let sent = Command::new("kill")
        .args(["-USR1", &id])
        .status()
        .expect("there is a kill");
    assert!(sent.success());
    assert_eq!(waiting.wait().expect("it ends").code(), Some(75));
    drop(input);

    let mut resumed = command(directory.path(), "resume program.snapshot")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    resumed
        .stdin
        .take()
        .expect("it is a pipe")
        .write_all(b"hello\n")
        .expect("it reads");
    let output = resumed.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "6\n")
    );
}

#[test]
fn a_snapshot_that_cannot_be_written_does_not_end_the_guest() {
    let directory = directory();
    let output = run(
        directory.path(),
        "run program.wasm --snapshot-at 1000 --snapshot missing/s.snapshot",
    );
    assert_eq!((status(&output), text(&output.stdout)), (7, "result 5\n"));
    assert!(text(&output.stderr).contains("the guest goes on"));
}

#[test]
fn shells_get_completions() {
    let directory = directory();
    let output = run(directory.path(), "completions bash");
    assert_eq!(status(&output), 0);
    assert!(text(&output.stdout).contains("--snapshot-after"));
}
