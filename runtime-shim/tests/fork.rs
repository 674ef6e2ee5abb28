//! `wasm-migrate fork`, and what else the command line says.

mod shell;

use std::fs;
use std::process::Stdio;

use shell::{command, directory, run, status, text};

#[test]
fn forks_go_on_each_for_itself() {
    let directory = directory();
    run(directory.path(), "run program.wasm --snapshot-at 5000");
    let output = run(directory.path(), "fork program.snapshot -n 3 --json");
    // The guest's own status is 7.
    assert_eq!(status(&output), 1, "{}", text(&output.stderr));
    let ended: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let ended = ended.as_array().expect("a list");
    assert_eq!(ended.len(), 3);
    for (number, fork) in (1..).zip(ended) {
        assert_eq!(
            (&fork["fork"], &fork["status"]),
            (&number.into(), &7.into())
        );
        assert_eq!(fork["epoch"], 1 + number);
        let path = directory
            .path()
            .join(fork["stdout"].as_str().expect("a path"));
        assert_eq!(fs::read_to_string(path).expect("it is there"), "result 5\n");
    }
    let again = run(directory.path(), "fork program.snapshot -n 1");
    assert_eq!(status(&again), 1);
    assert!(
        text(&again.stderr).contains("--output"),
        "{}",
        text(&again.stderr)
    );

    let output = run(
        directory.path(),
        "fork program.snapshot -n 2 -j 1 -o stopped -- --snapshot-at 10 --snapshot stopped/at-{n}",
    );
    // An option that is given twice.
    assert_eq!(status(&output), 1);
    let output = run(
        directory.path(),
        "fork program.snapshot -n 2 -j 1 -o again -- --snapshot-at 10",
    );
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("fork 2 (epoch 3): stopped"),
        "{}",
        text(&output.stdout)
    );
    let output = run(directory.path(), "verify --json again/2.snapshot");
    let verified: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(verified["epoch"], 3);
    let output = run(directory.path(), "resume again/2.snapshot --epoch 3");
    assert_eq!(status(&output), 1);
    assert!(text(&output.stderr).contains("host 3 has run this guest already"));
}

#[test]
fn notes_can_be_kept_back() {
    let directory = directory();
    let output = run(
        directory.path(),
        "run program.wasm --snapshot-at 5000 --quiet",
    );
    assert_eq!((status(&output), text(&output.stderr)), (75, ""));
    let output = run(directory.path(), "resume missing.snapshot --quiet");
    assert_eq!(status(&output), 1);
    assert!(text(&output.stderr).contains("error"));
}

#[test]
fn there_are_manual_pages() {
    let directory = directory();
    let output = run(directory.path(), "man");
    assert_eq!(status(&output), 0);
    assert!(
        text(&output.stdout).contains("wasm\\-migrate"),
        "{}",
        text(&output.stdout)
    );
    let output = command(directory.path(), "man -o pages")
        .stdout(Stdio::null())
        .output()
        .expect("the program can be started");
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let page = fs::read_to_string(directory.path().join("pages/wasm-migrate-resume.1"));
    assert!(page.expect("it is there").contains("snapshot"));
}

#[test]
fn the_doctor_says_what_is_there() {
    let directory = directory();
    let output = run(directory.path(), "doctor --json");
    assert_eq!(status(&output), 0, "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert!(report["page_bytes"].as_u64() >= Some(4096), "{report}");
    assert!(report["tracking"]["soft_dirty"].is_boolean(), "{report}");
    let can_wait = report["tracking"]["userfaultfd_missing"].as_bool();
    assert_eq!(can_wait, Some(report["post_copy_problem"].is_null()));
    assert!(report["compile_cache"]["works"].is_boolean(), "{report}");
    assert!(report["engines"].is_array(), "{report}");
    let output = run(directory.path(), "doctor");
    assert_eq!(status(&output), 0);
    assert!(text(&output.stdout).contains("finding written pages"));
    assert!(text(&output.stdout).contains("post-copy"));
}
