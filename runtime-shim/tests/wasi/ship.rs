//! Files that go along with a guest, files that are checked at its destination, and records that want more
//! than they may.

use std::io::Write as _;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;

use tempfile::TempDir;
use wasm_migrate::wasi::{
    ChangedFiles, CheckFiles, DescriptorFault, FilePolicy, RestoreError, ShipFiles, WasiBuilder,
    WasiCtx,
};

use crate::guest::{
    ALL, APPEND, CREATE, FD_READ, FD_SEEK, Guest, RESULT, ROOT, builder, directory,
};

/// The right to ask what a file is.
const FILESTAT_GET: u64 = 1 << 21;

fn with_policy(directory: &TempDir, files: FilePolicy) -> WasiBuilder {
    builder(directory.path()).files(files)
}

fn policy(ship: ShipFiles) -> FilePolicy {
    FilePolicy {
        ship,
        ..FilePolicy::default()
    }
}

fn checking(check: CheckFiles) -> FilePolicy {
    FilePolicy {
        check,
        ..FilePolicy::default()
    }
}

fn faults(restored: Result<WasiCtx, RestoreError>) -> Vec<(Option<u32>, String, DescriptorFault)> {
    match restored {
        Err(RestoreError::Descriptors { problems }) => problems
            .into_iter()
            .map(|problem| (problem.fd, problem.path, problem.fault))
            .collect(),
        other => panic!("expected faults of files, found {other:?}"),
    }
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).expect("it is there")
}

#[test]
fn a_removed_file_goes_along_and_stays_one_file() {
    let source = directory();
    let target = directory();
    let mut guest = Guest::new(&source);
    let writer = guest
        .open_with(ROOT, 0, "f", CREATE, [ALL, 0], APPEND)
        .expect("it can be created");
    let reader = guest
        .open_with(ROOT, 0, "f", 0, [FD_READ | FD_SEEK | FILESTAT_GET, 0], 0)
        .expect("it can be opened");
    guest.write(writer, b"0123456789").expect("there is room");
    assert_eq!(guest.read(reader, 4), Ok(b"0123".to_vec()));
    let times = [writer.into(), 0, 1_234_567_890_123, 4];
    assert_eq!(guest.call("fd_filestat_set_times", &times), 0);
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "f"), 0);
    let mut moved = guest.moved(builder(target.path())).expect("it can move");
    assert_eq!(
        moved.call("fd_filestat_get", &[reader.into(), RESULT.into()]),
        0
    );
    assert_eq!(moved.u64_at(u64::from(RESULT) + 48), 1_234_567_890_123);
    assert_eq!(moved.write(writer, b"abc"), Ok(3));
    assert_eq!(moved.read(reader, 99), Ok(b"456789abc".to_vec()));
    assert_eq!(
        moved.call("fd_filestat_get", &[reader.into(), RESULT.into()]),
        0
    );
    assert_eq!(moved.u64_at(u64::from(RESULT) + 24), 0, "it has no name");
    let mut again = moved.moved(builder(target.path())).expect("and again");
    assert_eq!(again.seek(reader, 0, 0), Ok(0));
    assert_eq!(again.read(reader, 99), Ok(b"0123456789abc".to_vec()));
    assert_eq!(
        std::fs::read_dir(target.path())
            .expect("it is there")
            .count(),
        0
    );
}

#[test]
fn a_removed_directory_stays_one() {
    let source = directory();
    let mut guest = Guest::new(&source);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "d"), 0);
    let dir = guest.open_directory(ROOT, "d").expect("it is there");
    assert_eq!(guest.path_call("path_remove_directory", ROOT, "d"), 0);
    let mut moved = guest.moved(builder(source.path())).expect("it can move");
    let [path, length] = moved.text("x");
    let arguments = [dir.into(), 0, path, length, RESULT.into()];
    assert_eq!(moved.call("path_filestat_get", &arguments), 44, "NOENT");
}

#[test]
fn a_file_that_another_program_renamed_is_found() {
    let source = directory();
    std::fs::create_dir(source.path().join("below")).expect("there is room");
    let mut guest = Guest::new(&source);
    let fd = guest.open(ROOT, "old", CREATE).expect("it can be created");
    guest.write(fd, b"1").expect("there is room");
    std::fs::rename(source.path().join("old"), source.path().join("below/new"))
        .expect("it can be renamed");
    std::fs::write(source.path().join("old"), "another").expect("there is room");
    let mut moved = guest.moved(builder(source.path())).expect("it can move");
    assert_eq!(moved.write(fd, b"2"), Ok(1));
    assert_eq!(read(source.path().join("below/new")), b"12");
    assert_eq!(read(source.path().join("old")), b"another");
}

#[test]
fn open_files_go_along_to_an_empty_directory() {
    let source = directory();
    let target = directory();
    std::fs::create_dir(source.path().join("sub")).expect("there is room");
    symlink("sub", source.path().join("link")).expect("there is room");
    let mut guest = Guest::with(with_policy(&source, policy(ShipFiles::Open)).build());
    let fd = guest
        .open(ROOT, "link/file", CREATE)
        .expect("it can be created");
    guest.open(ROOT, "sub/file", 0).expect("it is there");
    guest.write(fd, &[7; 100_000]).expect("there is room");
    std::fs::write(source.path().join("closed"), "stays").expect("there is room");
    let mut moved = guest.moved(builder(target.path())).expect("it can move");
    assert_eq!(moved.write(fd, b"end"), Ok(3));
    let found = read(target.path().join("sub/file"));
    assert_eq!(found.len(), 100_003);
    assert!(found.ends_with(b"\x07end"));
    assert!(!target.path().join("closed").exists());
    assert_eq!(read(source.path().join("sub/file")).len(), 100_000);
}

#[test]
fn whole_directories_go_along() {
    let source = directory();
    let target = directory();
    let path = |name: &str| source.path().join(name);
    std::fs::create_dir_all(path("a/empty")).expect("there is room");
    std::fs::write(path("a/file"), "contents").expect("there is room");
    std::fs::hard_link(path("a/file"), path("b")).expect("there is room");
    symlink("a/file", path("link")).expect("there is room");
    symlink("/etc/passwd", path("absolute")).expect("there is room");
    let mut guest = Guest::with(with_policy(&source, policy(ShipFiles::Dirs)).build());
    let dir = guest.open_directory(ROOT, "a").expect("it is there");
    assert_eq!(guest.list(dir, 100, 0, 3).len(), 3);
    let mut moved = guest.moved(builder(target.path())).expect("it can move");
    let rest = moved.list(dir, 100, 3, usize::MAX);
    assert_eq!(rest, [("file".to_owned(), 4)]);
    assert_eq!(read(target.path().join("b")), b"contents");
    assert_eq!(read(target.path().join("link")), b"contents");
    assert!(target.path().join("a/empty").is_dir());
    assert!(target.path().join("absolute").symlink_metadata().is_err());
    let modified = |path: std::path::PathBuf| {
        let metadata = path.metadata().expect("it is there");
        (metadata.mtime(), metadata.mtime_nsec(), metadata.mode())
    };
    assert_eq!(
        modified(path("a/file")),
        modified(target.path().join("a/file"))
    );
}

#[test]
fn what_is_in_the_way_is_overwritten_only_if_wanted() {
    let source = directory();
    let target = directory();
    let mut guest = Guest::with(with_policy(&source, policy(ShipFiles::Open)).build());
    for name in ["different", "equal", "missing"] {
        let fd = guest.open(ROOT, name, CREATE).expect("it can be created");
        guest.write(fd, b"guest's").expect("there is room");
    }
    let bytes = guest.snapshot();
    std::fs::write(target.path().join("different"), "other's").expect("there is room");
    std::fs::write(target.path().join("equal"), "guest's").expect("there is room");
    let found = faults(WasiCtx::restore(builder(target.path()), &bytes));
    assert_eq!(
        found,
        [(None, "/different".to_owned(), DescriptorFault::InTheWay)]
    );
    assert!(
        !target.path().join("missing").exists(),
        "nothing is touched"
    );
    let restore = |changed| {
        let files = FilePolicy {
            changed,
            ..FilePolicy::default()
        };
        WasiCtx::restore(with_policy(&target, files), &bytes).expect("it can be rebuilt")
    };
    drop(restore(ChangedFiles::Keep));
    assert_eq!(read(target.path().join("different")), b"other's");
    assert_eq!(read(target.path().join("missing")), b"guest's");
    drop(restore(ChangedFiles::Overwrite));
    assert_eq!(read(target.path().join("different")), b"guest's");
}

#[test]
fn checks_find_what_they_look_for() {
    let source = directory();
    let mut guest = Guest::with(with_policy(&source, checking(CheckFiles::Hash)).build());
    let fd = guest.open(ROOT, "file", CREATE).expect("it can be created");
    guest.write(fd, b"before").expect("there is room");
    let bytes = guest.snapshot();
    let path = source.path().join("file");
    let restore = |check| WasiCtx::restore(with_policy(&source, checking(check)), &bytes);
    for check in [CheckFiles::Size, CheckFiles::Modified, CheckFiles::Hash] {
        assert!(restore(check).is_ok(), "{check:?}");
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&path, "after.").expect("there is room");
    assert!(restore(CheckFiles::Size).is_ok());
    let fault = |check| faults(restore(check)).remove(0).2;
    assert!(matches!(
        fault(CheckFiles::Modified),
        DescriptorFault::TimeChanged { .. }
    ));
    assert_eq!(fault(CheckFiles::Hash), DescriptorFault::ContentsChanged);
    std::fs::write(&path, "longer than before").expect("there is room");
    let kept = FilePolicy {
        changed: ChangedFiles::Keep,
        ..FilePolicy::default()
    };
    assert!(matches!(
        fault(CheckFiles::Size),
        DescriptorFault::SizeChanged { .. }
    ));
    assert!(WasiCtx::restore(with_policy(&source, kept), &bytes).is_ok());

    let unhashed = Guest::new(&source).snapshot();
    let mut plain = Guest::with(WasiCtx::restore(builder(source.path()), &unhashed).expect("fine"));
    plain.open(ROOT, "file", 0).expect("it is there");
    let found = faults(WasiCtx::restore(
        with_policy(&source, checking(CheckFiles::Hash)),
        &plain.snapshot(),
    ));
    assert_eq!(found[0].2, DescriptorFault::NotHashed);
}

#[test]
fn limits_hold_on_both_sides() {
    let source = directory();
    let limited = |bytes| FilePolicy {
        ship_bytes_max: bytes,
        ship: ShipFiles::Open,
        ..FilePolicy::default()
    };
    let mut guest = Guest::with(with_policy(&source, limited(1000)).build());
    let fd = guest.open(ROOT, "file", CREATE).expect("it can be created");
    guest.write(fd, &[0; 1001]).expect("there is room");
    let error = guest.wasi().snapshot().expect_err("it is too large");
    assert_eq!(
        error.problems[0].fault,
        DescriptorFault::TooLarge { bytes_max: 1000 }
    );
    assert_eq!(guest.write(fd, b"x"), Ok(1), "the guest goes on");
    let mut larger = Guest::with(with_policy(&source, limited(2000)).build());
    larger.open(ROOT, "file", 0).expect("it is there");
    let restored = WasiCtx::restore(with_policy(&source, limited(1000)), &larger.snapshot());
    assert_eq!(
        restored.err(),
        Some(RestoreError::TooMuchShipped {
            bytes: 1002,
            bytes_max: 1000
        })
    );
}

#[test]
fn a_named_pipe_is_connected_again_if_it_is_empty() {
    let source = directory();
    let path = source.path().join("pipe");
    let status = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(status.expect("there is a program mkfifo").success());
    let mut guest = Guest::new(&source);
    // Neither opening it nor opening it again waits for a writer.
    let fd = guest
        .open_with(ROOT, 0, "pipe", 0, [FD_READ, 0], 0)
        .expect("it can be opened");
    let mut writer = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("there is a reader");
    writer.write_all(b"in transit").expect("there is room");
    let error = guest.wasi().snapshot().expect_err("there are data in it");
    assert_eq!(error.problems[0].fault, DescriptorFault::InTransit(10));
    assert_eq!(guest.read(fd, 99), Ok(b"in transit".to_vec()));
    let mut moved = guest.moved(builder(source.path())).expect("it is empty");
    writer.write_all(b"more").expect("there is room");
    assert_eq!(moved.read(fd, 99), Ok(b"more".to_vec()));
    let bytes = moved.snapshot();
    std::fs::remove_file(&path).expect("it is there");
    std::fs::write(&path, "").expect("there is room");
    let found = faults(WasiCtx::restore(builder(source.path()), &bytes));
    assert_eq!(found[0].2, DescriptorFault::OtherKind);
}

/// Records name paths; here their bytes are changed to others of the same length.
fn forged(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut forged = bytes.to_vec();
    let mut count = 0;
    for at in 0..=forged.len() - from.len() {
        if forged[at..].starts_with(from.as_bytes()) {
            forged[at..at + from.len()].copy_from_slice(to.as_bytes());
            count += 1;
        }
    }
    assert!(count > 0, "the record does not name {from}");
    forged
}

#[test]
fn no_path_of_a_record_leads_out() {
    let outer = directory();
    let inside = outer.path().join("inside");
    std::fs::create_dir(&inside).expect("there is room");
    std::fs::write(outer.path().join("secrets"), "").expect("there is room");
    symlink("../secrets", inside.join("exit_link")).expect("there is room");
    symlink("..", inside.join("up")).expect("there is room");
    let mut guest = Guest::with(builder(&inside).build());
    guest
        .open(ROOT, "insidefile", CREATE)
        .expect("it can be created");
    guest
        .open(ROOT, "exit_lin.", CREATE)
        .expect("it can be created");
    let bytes = guest.snapshot();
    let restore = |bytes: &[u8]| WasiCtx::restore(builder(&inside), bytes);
    assert!(restore(&bytes).is_ok());
    for path in ["../secrets", "up/secrets", "/etc/hosts"] {
        let found = faults(restore(&forged(&bytes, "insidefile", path)));
        assert!(
            matches!(found[0].2, DescriptorFault::Unreachable(_)),
            "{path:?}: {found:?}"
        );
    }
    let found = faults(restore(&forged(&bytes, "exit_lin.", "exit_link")));
    assert!(matches!(found[0].2, DescriptorFault::Unreachable(_)));
}

#[test]
fn no_shipped_file_leads_out() {
    let source = directory();
    let outer = directory();
    let inside = outer.path().join("inside");
    std::fs::create_dir(&inside).expect("there is room");
    symlink("..", inside.join("up")).expect("there is room");
    std::fs::create_dir(source.path().join("dd")).expect("there is room");
    std::fs::write(source.path().join("dd/file"), "x").expect("there is room");
    let mut guest = Guest::with(with_policy(&source, policy(ShipFiles::Open)).build());
    guest.open(ROOT, "dd/file", 0).expect("it is there");
    let bytes = guest.snapshot();
    let restore = |bytes: &[u8]| WasiCtx::restore(builder(&inside), bytes);
    for path in ["../file", "/d/file", "dd/../e", "dd/fil\0", "dd//fil"] {
        let restored = restore(&forged(&bytes, "dd/file", path));
        assert!(
            matches!(restored, Err(RestoreError::Malformed(_))),
            "{path:?}: {restored:?}"
        );
    }
    let restored = restore(&forged(&bytes, "dd/file", "up/file"));
    assert!(restored.is_err(), "{restored:?}");
    assert!(!outer.path().join("file").exists());
    assert_eq!(std::fs::read_dir(&inside).expect("it is there").count(), 1);
}

#[test]
fn damaged_contents_are_refused_before_anything_is_written() {
    let source = directory();
    let target = directory();
    let mut guest = Guest::with(with_policy(&source, policy(ShipFiles::Open)).build());
    for name in ["a", "b"] {
        let fd = guest.open(ROOT, name, CREATE).expect("it can be created");
        guest
            .write(fd, format!("contents of {name}").as_bytes())
            .expect("there is room");
    }
    let bytes = guest.snapshot();
    // The packed contents stand last.
    for index in bytes.len() - 60..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[index] ^= 0x20;
        if WasiCtx::restore(builder(target.path()), &damaged).is_err() {
            let left = std::fs::read_dir(target.path())
                .expect("it is there")
                .count();
            assert_eq!(left, 0, "byte {index}");
        } else {
            for name in ["a", "b"] {
                let path = target.path().join(name);
                assert_eq!(read(&path), format!("contents of {name}").as_bytes());
                std::fs::remove_file(path).expect("it is there");
            }
        }
    }
}

#[test]
fn a_record_is_listed_without_its_files() {
    let source = directory();
    let mut guest = Guest::with(
        with_policy(&source, policy(ShipFiles::Open))
            .args(vec!["program".to_owned(), "x".to_owned()])
            .env("A", "b")
            .build(),
    );
    let fd = guest
        .open_with(ROOT, 0, "f", CREATE, [ALL, 0], APPEND)
        .expect("it can be created");
    guest.write(fd, b"12345").expect("there is room");
    let gone = guest.open(ROOT, "gone", CREATE).expect("it can be created");
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "gone"), 0);
    let bytes = guest.snapshot();
    drop(source);
    let listed = WasiCtx::list(&bytes).expect("it is whole");
    assert_eq!(listed.args, ["program", "x"]);
    assert_eq!(listed.env, ["A=b"]);
    assert_eq!((listed.shipped_files, listed.shipped_bytes), (1, 5));
    let kinds: Vec<_> = listed
        .descriptors
        .iter()
        .map(|it| (it.fd, it.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            (0, "stdin"),
            (1, "stdout"),
            (2, "stderr"),
            (ROOT, "preopen"),
            (fd, "file"),
            (gone, "removed file")
        ]
    );
    let file = &listed.descriptors[4];
    assert_eq!(file.path.as_deref(), Some("/f"));
    assert_eq!((file.offset, file.size), (Some(5), Some(5)));
    assert_eq!((file.access, file.is_shipped), (Some("rw"), true));
    assert_eq!(file.flags, ["append"]);
    assert!(file.rights.contains(&"fd_write"));
    assert!(WasiCtx::list(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn a_write_only_file_without_a_name_keeps_its_contents() {
    let source = directory();
    let mut guest = Guest::new(&source);
    let write_only = 1 << 6 | FD_SEEK;
    let fd = guest
        .open_with(ROOT, 0, "w", CREATE, [write_only, 0], 0)
        .expect("it can be created");
    guest.write(fd, b"abc").expect("there is room");
    let kept = std::fs::File::open(source.path().join("w")).expect("it is there");
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "w"), 0);
    let mut moved = guest.moved(builder(source.path())).expect("it can move");
    assert_eq!(moved.write(fd, b"d"), Ok(1));
    assert_eq!(moved.seek(fd, 0, 2), Ok(4));
    let mut bytes = [0; 8];
    let length = kept.read_at(&mut bytes, 0).expect("it is open");
    assert_eq!(
        &bytes[..length],
        b"abc",
        "the guest has its own from now on"
    );
}
