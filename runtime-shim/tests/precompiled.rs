//! Code that was compiled ahead: what it runs, and what is refused.

mod shell;

use std::fs;
use std::path::Path;

use shell::{directory, run, status, text};

/// Runs a line that must be refused for this reason.
fn refused(directory: &Path, line: &str, reason: &str) {
    let output = run(directory, line);
    let said = text(&output.stderr);
    assert_eq!(status(&output), 1, "{line}: {said}");
    assert!(said.contains(reason), "{line}: {said}");
    assert!(!said.contains("snapshot written"), "{line}: {said}");
}

/// Has a file of code say something else of itself.
fn forge(directory: &Path, from: &str, to: &str) {
    let bytes = fs::read(directory.join("code")).expect("it was made");
    let end = bytes
        .windows(2)
        .position(|two| two == b"}\n")
        .expect("it has a head");
    let head = text(&bytes[..end]);
    assert!(head.contains(from), "{head}");
    let forged = [head.replace(from, to).as_bytes(), &bytes[end..]].concat();
    fs::write(directory.join("forged"), forged).expect("there is room");
}

#[test]
fn code_runs_as_the_module_does() {
    let directory = directory();
    let run = |line: &str| run(directory.path(), line);
    for target in ["", &format!(" --target {}", std::env::consts::ARCH)] {
        let made = run(&format!("compile program.wasm -o code{target}"));
        assert_eq!(status(&made), 0, "{}", text(&made.stderr));
        let straight = run("run program.wasm --precompiled code");
        assert_eq!(
            (status(&straight), text(&straight.stdout)),
            (7, "result 5\n")
        );
        let stopped = run("run program.wasm --precompiled code --snapshot-at 40");
        assert_eq!(status(&stopped), 75, "{}", text(&stopped.stderr));
        // From code to the compiler, and back.
        let resumed = run("resume program.snapshot --snapshot-at 40 --snapshot second");
        assert_eq!(status(&resumed), 75, "{}", text(&resumed.stderr));
        let ended = run("resume second --precompiled code");
        assert_eq!((status(&ended), text(&ended.stdout)), (7, "result 5\n"));
    }
}

#[test]
fn code_that_is_not_for_here_is_refused() {
    let directory = directory();
    let at = directory.path();
    refused(at, "compile plain.wasm -o code", "not migratized");
    assert_eq!(status(&run(at, "compile program.wasm -o code")), 0);
    fs::write(at.join("other.wasm"), {
        // The same program with one more section is another module.
        let mut wasm = fs::read(at.join("program.wasm")).expect("it is there");
        wasm.extend([0, 2, 1, b'x']);
        wasm
    })
    .expect("there is room");
    for (line, reason) in [
        ("run other.wasm --precompiled code", "another module"),
        ("run program.wasm --precompiled program.wasm", "not code"),
        (
            "run program.wasm --precompiled missing",
            "cannot run the code in `missing`",
        ),
        (
            "run program.wasm --precompiled code --canonicalize-nans",
            "compile --canonicalize-nans",
        ),
        (
            "run program.wasm --precompiled code --deterministic-relaxed-simd",
            "compile --deterministic-relaxed-simd",
        ),
    ] {
        refused(at, line, reason);
    }
    let here = format!("\"machine\":\"{}\"", std::env::consts::ARCH);
    forge(at, &here, "\"machine\":\"pulley32be\"");
    refused(
        at,
        "run program.wasm --precompiled forged",
        "compiled for pulley32be",
    );
    forge(at, "wasm-migrate code 1", "wasm-migrate code 2");
    refused(at, "run program.wasm --precompiled forged", "version 2");

    // The engine's own settings.
    forge(
        at,
        "\"deterministic_relaxed_simd\":false",
        "\"deterministic_relaxed_simd\":true",
    );
    refused(
        at,
        "run program.wasm --precompiled forged",
        "other settings",
    );
    assert_eq!(status(&run(at, "run program.wasm --snapshot-at 40")), 75);
    refused(
        at,
        "resume program.snapshot --precompiled forged",
        "other settings",
    );
    assert_eq!(
        status(&run(at, "resume program.snapshot --precompiled code")),
        7
    );
}

#[test]
fn damaged_code_is_refused() {
    let directory = directory();
    let at = directory.path();
    assert_eq!(status(&run(at, "compile program.wasm -o code")), 0);
    let whole = fs::read(at.join("code")).expect("it was made");
    for (place, length) in [
        (0, whole.len()),
        (400, whole.len()),
        (whole.len() / 2, whole.len()),
        (1, 600),
        (1, 100),
    ] {
        let mut bytes = whole[..length].to_vec();
        bytes[place] ^= 1;
        fs::write(at.join("damaged"), bytes).expect("there is room");
        refused(at, "run program.wasm --precompiled damaged", "code");
    }
    fs::write(at.join("damaged"), &whole[..whole.len() - 1]).expect("there is room");
    refused(at, "run program.wasm --precompiled damaged", "damaged");
}
