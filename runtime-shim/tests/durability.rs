//! Snapshots and checkpoints when the disk is full, the directory cannot be written, or the process is killed at any
//! moment: there is the old one or the new one, and the guest goes on or can be resumed.

mod shell;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use shell::{command, directory, migratize, run, status, text};
use tempfile::TempDir;

/// Touches 16 MiB, no page like another, then computes `steps` rounds that depend on all before.
const GUEST: &str = r#"(module
    (memory 256)
    (func (export "count") (param $steps i32) (result i64) (local $state i64) (local $at i32)
        (loop $fill
            (i64.store (local.get $at) (i64.extend_i32_u (i32.add (local.get $at) (i32.const 1))))
            (br_if $fill (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const 0x1000000))))
        (local.set $state (i64.const 88172645463325252))
        (loop $work
            (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const 13))))
            (local.set $state (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 7))))
            (local.set $at (i32.and (i32.wrap_i64 (local.get $state)) (i32.const 0xfffff8)))
            (local.set $state (i64.add
                (i64.load (local.get $at)) (i64.rotl (local.get $state) (i64.const 17))))
            (i64.store (local.get $at) (local.get $state))
            (br_if $work (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
        (local.get $state)))"#;

const LINE: &str = "run guest.wasm --invoke count --compress none";
/// Work for seconds.
const STEPS: &str = " -- 10000000";
/// Passages of safe points after which its memory is full and it works.
const WORKS: u64 = 5_000;

fn with_guest() -> TempDir {
    let directory = directory();
    migratize(directory.path(), "guest.wasm", GUEST);
    directory
}

fn line(options: &str) -> String {
    format!("{LINE} {options}{STEPS}")
}

/// What the guest prints when nobody disturbs it.
fn expected(directory: &Path) -> Vec<u8> {
    run(directory, &format!("{LINE}{STEPS}")).stdout
}

fn start(directory: &Path, line: &str) -> Child {
    command(directory, line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started")
}

/// Names of what is there but modules.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("it can be listed");
    let names = entries.map(|entry| entry.expect("it can be read").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    names.filter(|name| !name.ends_with(".wasm")).collect()
}

/// Numbers of the checkpoints `c.checkpoint.*`.
fn checkpoints(directory: &Path) -> BTreeSet<u64> {
    let names = names(directory).into_iter();
    names
        .filter_map(|name| name.strip_prefix("c.checkpoint.")?.parse().ok())
        .collect()
}

fn wait_until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "it does not come about"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_snapshot_or_the_new_one() {
    let directory = with_guest();
    let at = directory.path();
    assert_eq!(
        status(&run(
            at,
            &line(&format!("--snapshot s --snapshot-at {WORKS}"))
        )),
        75
    );
    let old = fs::read(at.join("s")).expect("it is there");
    for round in 0..12 {
        fs::write(at.join("s"), &old).expect("there is room");
        let mut child = start(
            at,
            &line(&format!("--snapshot s --snapshot-at {}", WORKS + 50_000)),
        );
        // From the moment at which a file appears beside the old one, at later and later times.
        let is_writing = |name: &String| name.starts_with("s.") && name.ends_with(".tmp");
        wait_until(|| {
            names(at).iter().any(is_writing) || fs::read(at.join("s")).is_ok_and(|new| new != old)
        });
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().expect("it is a child");
        child.wait().expect("it was killed");
        let verified = run(at, "verify s");
        assert_eq!(
            status(&verified),
            0,
            "round {round}: {}",
            text(&verified.stderr)
        );
        for name in names(at).into_iter().filter(is_writing) {
            fs::remove_file(at.join(name)).expect("it is there");
        }
    }
    let resumed = run(at, "resume s");
    assert_eq!(resumed.stdout, expected(at), "{}", text(&resumed.stderr));
}

#[test]
fn checkpoints_survive_kills_at_random_moments() {
    let directory = with_guest();
    let at = directory.path();
    let line = line("--checkpoint-every 30ms --keep 3 --snapshot c");
    for round in 0..6 {
        let before = checkpoints(at).last().copied();
        let mut child = start(at, &line);
        wait_until(|| checkpoints(at).last().copied() > before);
        std::thread::sleep(Duration::from_millis(round * 7));
        child.kill().expect("it is a child");
        child.wait().expect("it was killed");
        let left = checkpoints(at);
        let newest = left.last().expect("one was there");
        let verified = run(at, &format!("verify c.checkpoint.{newest}"));
        assert_eq!(
            status(&verified),
            0,
            "round {round}: {}",
            text(&verified.stderr)
        );
        // Three, and those that they build on, of this process; no more of the one before.
        assert!(left.len() <= 2 * (3 + 7), "round {round}: {left:?}");
    }
    let output = run(at, &line);
    assert_eq!(output.stdout, expected(at), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("going on from checkpoint"));
    assert_eq!(
        names(at),
        BTreeSet::new(),
        "a lock or a partial file is left"
    );
}

#[test]
fn two_processes_do_not_share_checkpoints() {
    let directory = with_guest();
    let at = directory.path();
    let line = line("--checkpoint-every 20ms --snapshot c");
    let mut first = start(at, &line);
    wait_until(|| at.join("c.checkpoint.1").exists());
    let second = run(at, &line);
    assert_eq!(status(&second), 1);
    assert!(
        text(&second.stderr).contains("another process leaves checkpoints"),
        "{}",
        text(&second.stderr)
    );
    first.kill().expect("it is a child");
    first.wait().expect("it was killed");
    assert_eq!(
        status(&run(at, &line)),
        0,
        "a killed process lets go of them"
    );
}

#[test]
fn a_snapshot_makes_checkpoints_useless() {
    let directory = with_guest();
    let at = directory.path();
    let mut child = start(at, &line("--checkpoint-every 20ms --snapshot s"));
    wait_until(|| at.join("s.checkpoint.1").exists());
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-USR1", &id]).status();
    assert!(sent.expect("there is a kill").success());
    assert_eq!(child.wait().expect("it ends").code(), Some(75));
    // Else the same command would have the guest run from a checkpoint, while the snapshot is resumed elsewhere.
    assert_eq!(names(at), ["s".to_owned()].into());
    assert_eq!(run(at, "resume s").stdout, expected(at));
}

/// A small file system in memory, gone when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where file systems cannot be mounted.
    fn mount(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).expect("there is room");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(&at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            problem => {
                println!("skipped: no file system can be mounted here: {problem:?}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = Command::new("mount")
            .args(["-o", &options])
            .arg(&self.0)
            .status();
        assert!(done.expect("there is a mount").success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What is left over lies in a temporary directory.
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_leaves_the_old_snapshot_and_the_guest() {
    let directory = with_guest();
    let at = directory.path();
    let Some(disk) = SmallDisk::mount(at.join("disk"), "size=20m") else {
        return;
    };
    let old = run(
        at,
        &line(&format!("--snapshot disk/s --snapshot-at {WORKS}")),
    );
    assert_eq!(status(&old), 75, "{}", text(&old.stderr));
    let kept = fs::read(disk.0.join("s")).expect("it is there");
    let output = run(
        at,
        &line(&format!(
            "--snapshot disk/s --snapshot-at {}",
            WORKS + 50_000
        )),
    );
    assert_eq!((status(&output), &output.stdout), (0, &expected(at)));
    for part in ["the guest goes on", "No space left"] {
        assert!(
            text(&output.stderr).contains(part),
            "{}",
            text(&output.stderr)
        );
    }
    assert!(fs::read(disk.0.join("s")).expect("it is there") == kept);
    assert_eq!(
        names(&disk.0),
        ["s".to_owned()].into(),
        "nothing half is left"
    );
}

#[test]
fn a_disk_that_fills_up_leaves_older_checkpoints() {
    let directory = with_guest();
    let at = directory.path();
    // Room for one that holds everything, not for two.
    let Some(disk) = SmallDisk::mount(at.join("disk"), "size=30m") else {
        return;
    };
    let line = line("--snapshot disk/c --checkpoint-every 20ms --dirty-tracking hash");
    let mut child = command(at, &line)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    wait_until(|| checkpoints(&disk.0).contains(&1));
    std::thread::sleep(Duration::from_millis(200));
    child.kill().expect("it is a child");
    let killed = child.wait_with_output().expect("it was killed");
    let output = run(at, &line);
    assert_eq!(output.stdout, expected(at), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("going on from checkpoint"));
    let told = [killed.stderr, output.stderr].concat();
    let problem = "a checkpoint was not written, the guest goes on";
    assert!(text(&told).contains(problem), "{}", text(&told));
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let directory = with_guest();
    let at = directory.path();
    let Some(disk) = SmallDisk::mount(at.join("disk"), "size=40m") else {
        return;
    };
    fs::write(disk.0.join("s"), "an older file").expect("there is room");
    disk.remount("ro");
    let output = run(
        at,
        &line(&format!("--snapshot disk/s --snapshot-at {WORKS}")),
    );
    assert_eq!((status(&output), &output.stdout), (0, &expected(at)));
    for part in ["cannot write `disk/s`", "the guest goes on", "Read-only"] {
        assert!(
            text(&output.stderr).contains(part),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(
        fs::read(disk.0.join("s")).expect("it is there"),
        b"an older file"
    );
    // Checkpoints are what the user wants: a guest without them is not begun.
    let output = run(at, &line("--snapshot disk/s --checkpoint-every 1s"));
    assert_eq!(status(&output), 1);
    assert!(
        text(&output.stderr).contains("checkpoints cannot be left at `disk/s.checkpoint.*`"),
        "{}",
        text(&output.stderr)
    );
}
