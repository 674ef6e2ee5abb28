//! Guests recorded and rebuilt.

use wasm_migrate::wasi::{DescriptorFault, RestoreError, StandaloneFiles, WasiBuilder, WasiCtx};

use crate::guest::{
    ALL, APPEND, BADF, CREATE, FD_READ, FD_SEEK, Guest, RESULT, ROOT, builder, directory,
};

#[test]
fn everything_is_as_it_was() {
    let directory = directory();
    let wasi = builder(directory.path())
        .args(vec!["program".to_owned()])
        .env("A", "B")
        .build();
    let mut guest = Guest::with(wasi);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "dir"), 0);
    let dir = guest.open_directory(ROOT, "dir").expect("it can be opened");
    let reader = guest.open(dir, "read", CREATE).expect("it can be created");
    guest
        .write(reader, b"0123456789")
        .expect("it can be written");
    guest.seek(reader, 4, 0).expect("it can be moved");
    assert_eq!(
        guest.call(
            "fd_fdstat_set_rights",
            &[reader.into(), FD_READ | FD_SEEK, 0]
        ),
        0
    );
    let log = guest
        .open_with(dir, 0, "log", CREATE, [ALL, 0], APPEND)
        .expect("it can be created");
    guest.write(log, b"before ").expect("it can be written");
    assert_eq!(
        guest.call("fd_renumber", &[1, log.into()]),
        0,
        "closes the log"
    );
    let log = guest
        .open_with(dir, 0, "log", 0, [ALL, 0], APPEND)
        .expect("it can be opened");
    assert_eq!(log, 1);
    let [old, old_length] = guest.text("dir");
    let [new, new_length] = guest.text("moved");
    let root = u64::from(ROOT);
    assert_eq!(
        guest.call(
            "path_rename",
            &[root, old, old_length, root, new, new_length]
        ),
        0
    );
    let first = guest.list(dir, 100, 0, 3);
    assert_eq!(guest.call("clock_time_get", &[1, 0, RESULT.into()]), 0);
    let time = guest.u64_at(RESULT.into());

    let mut moved = guest
        .moved(builder(directory.path()))
        .expect("it can be rebuilt");
    assert_eq!(moved.call("clock_time_get", &[1, 0, RESULT.into()]), 0);
    assert!(moved.u64_at(RESULT.into()) > time);
    assert_eq!(
        moved.call("args_sizes_get", &[RESULT.into(), u64::from(RESULT) + 4]),
        0
    );
    assert_eq!(
        (moved.result(), moved.u32_at(u64::from(RESULT) + 4)),
        (1, 8)
    );
    assert_eq!(
        moved.call("environ_sizes_get", &[RESULT.into(), u64::from(RESULT) + 4]),
        0
    );
    assert_eq!(
        (moved.result(), moved.u32_at(u64::from(RESULT) + 4)),
        (1, 4)
    );
    assert_eq!(moved.read(reader, 3), Ok(b"456".to_vec()));
    assert_eq!(moved.write(reader, b"x"), Err(BADF));
    assert_eq!(moved.write(log, b"after"), Ok(5));
    let log = std::fs::read(directory.path().join("moved/log")).expect("it is there");
    assert_eq!(log, b"before after");
    assert_eq!(moved.write(6, b"to standard output, renumbered"), Ok(30));
    assert_eq!(moved.call("fd_fdstat_get", &[7, RESULT.into()]), BADF);
    assert_eq!(first.len(), 3);
    let rest = moved.list(dir, 100, 3, usize::MAX);
    assert_eq!(rest, [("read".to_owned(), 4)], "the directory is read on");
    assert_eq!(moved.call("fd_prestat_get", &[root, RESULT.into()]), 0);
    let open = |bytes: Vec<u8>| -> Vec<(u32, &str)> {
        let listed = WasiCtx::list(&bytes).expect("it is a record");
        let descriptors = listed.descriptors.into_iter();
        descriptors.map(|open| (open.fd, open.kind)).collect()
    };
    assert_eq!(open(moved.snapshot()), open(guest.snapshot()));
}

#[test]
fn what_has_changed_meanwhile_is_listed() {
    let directory = directory();
    let elsewhere = crate::guest::directory();
    let mut guest = Guest::with(
        builder(directory.path())
            .preopen(elsewhere.path(), "/data")
            .expect("it is there")
            .build(),
    );
    for name in ["missing", "grown", "kind", "same"] {
        let fd = guest.open(ROOT, name, CREATE).expect("it can be created");
        guest.write(fd, name.as_bytes()).expect("it can be written");
    }
    guest
        .open(4, "unmapped", CREATE)
        .expect("it can be created");
    let bytes = guest.snapshot();
    let path = |name: &str| directory.path().join(name);
    std::fs::remove_file(path("missing")).expect("it is there");
    std::fs::write(path("grown"), "grown up").expect("there is room");
    std::fs::remove_file(path("kind")).expect("it is there");
    std::fs::create_dir(path("kind")).expect("there is room");
    let Err(RestoreError::Descriptors { problems }) =
        WasiCtx::restore(builder(directory.path()), &bytes)
    else {
        panic!("it was rebuilt from changed files")
    };
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.fd, problem.path.as_str()))
        .collect();
    let expected = [
        (Some(4), "/data"),
        (Some(5), "/missing"),
        (Some(6), "/grown"),
        (Some(7), "/kind"),
        (Some(9), "/data/unmapped"),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        problems[0].fault,
        DescriptorFault::NotMapped("/data".to_owned())
    );
    assert!(matches!(problems[1].fault, DescriptorFault::Unreachable(_)));
    assert_eq!(
        problems[2].fault,
        DescriptorFault::SizeChanged {
            recorded: 5,
            found: 8
        }
    );
    assert!(matches!(
        problems[3].fault,
        DescriptorFault::OtherKind | DescriptorFault::Unreachable(_)
    ));
}

#[test]
fn a_directory_that_is_no_longer_used_need_not_be_mapped() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    assert_eq!(guest.close(ROOT), 0);
    let mut moved = guest.moved(WasiBuilder::new()).expect("nothing is missing");
    assert_eq!(moved.close(ROOT), BADF);
    assert!(moved.moved(WasiBuilder::new()).is_ok(), "and once more");
}

#[test]
fn damaged_records_are_refused() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    guest.open(ROOT, "file", CREATE).expect("it can be created");
    guest.list(ROOT, 256, 0, usize::MAX);
    let bytes = guest.snapshot();
    let restore = |bytes: &[u8]| WasiCtx::restore(builder(directory.path()), bytes);
    assert!(restore(&bytes).is_ok());
    assert!(matches!(restore(&[]), Err(RestoreError::Malformed(_))));
    let mut newer = bytes.clone();
    newer[0] = 99;
    assert_eq!(
        restore(&newer).err(),
        Some(RestoreError::Version { found: 99 })
    );
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(restore(&longer), Err(RestoreError::Malformed(_))));
    for length in 1..bytes.len() {
        assert!(
            matches!(restore(&bytes[..length]), Err(RestoreError::Malformed(_))),
            "{length}"
        );
    }
    // Whatever a byte becomes, there is an answer and no panic.
    for index in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[index] ^= change;
            let _ = restore(&damaged);
            let _ = WasiCtx::list(&damaged);
            let _ = StandaloneFiles::read(&damaged);
        }
    }
}
