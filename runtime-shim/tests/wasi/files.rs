//! Open files.

use crate::guest::{
    AGAIN, ALL, APPEND, BADF, CREATE, FAULT, FD_READ, FD_SEEK, FD_WRITE, FILESTAT_SET_SIZE, Guest,
    INVAL, ISDIR, NONBLOCK, NOTCAPABLE, NOTSUP, RESULT, ROOT, SPIPE, SYNC, TRUNCATE, builder,
    directory,
};

#[test]
fn reads_and_writes_through_several_buffers() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let fd = guest.open(ROOT, "file", CREATE).expect("it can be created");
    // More buffers than one write gathers, empty ones among them.
    let lengths: Vec<usize> = (0..40).map(|index| index % 3).collect();
    let total: usize = lengths.iter().sum();
    let (list, _) = guest.buffers(&lengths);
    assert_eq!(
        guest.call("fd_write", &[fd.into(), list, 40, RESULT.into()]),
        0
    );
    assert_eq!(
        guest.result(),
        24,
        "the first 16 buffers that are not empty"
    );
    assert_eq!(guest.write(fd, b"rest"), Ok(4));
    assert_eq!(guest.seek(fd, 20, 0), Ok(20));
    let (list, pointers) = guest.buffers(&[2, 0, 3, 100]);
    assert_eq!(
        guest.call("fd_read", &[fd.into(), list, 4, RESULT.into()]),
        0
    );
    assert_eq!(guest.result(), 8);
    assert_eq!(guest.bytes(pointers[2], 3), b"\0\0r");
    assert_eq!(guest.bytes(pointers[3], 4), b"est\0");
    assert_eq!(guest.read(fd, 10), Ok(Vec::new()), "the end");
    assert_eq!(guest.read(fd, 0), Ok(Vec::new()));
    assert!(total > 24);
}

#[test]
fn reads_and_writes_at_offsets_leave_the_offset_alone() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let fd = guest.open(ROOT, "file", CREATE).expect("it can be created");
    guest.write(fd, b"0123456789").expect("it can be written");
    guest.seek(fd, 3, 0).expect("it can be moved");
    let (list, pointers) = guest.buffers(&[2, 2]);
    assert_eq!(
        guest.call("fd_pread", &[fd.into(), list, 2, 7, RESULT.into()]),
        0
    );
    assert_eq!(guest.result(), 3);
    assert_eq!(guest.bytes(pointers[0], 2), b"78");
    assert_eq!(guest.bytes(pointers[1], 1), b"9");
    let data = guest.put(b"AB");
    let list = u32::try_from(data).expect("it fits").to_le_bytes();
    let list = guest.put(&[list, 2_u32.to_le_bytes()].concat());
    assert_eq!(
        guest.call("fd_pwrite", &[fd.into(), list, 1, 4, RESULT.into()]),
        0
    );
    assert_eq!(guest.call("fd_tell", &[fd.into(), RESULT.into()]), 0);
    assert_eq!(guest.u64_at(RESULT.into()), 3);
    assert_eq!(guest.read(fd, 4), Ok(b"3AB6".to_vec()));
    assert_eq!(guest.seek(fd, -1, 2), Ok(9));
    assert_eq!(guest.seek(fd, -20, 1), Err(INVAL));
    assert_eq!(guest.seek(fd, -1, 0), Err(INVAL));
    assert_eq!(guest.seek(fd, 0, 3), Err(INVAL));
}

#[test]
fn appending_can_be_switched_off() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let fd = guest
        .open_with(ROOT, 0, "file", CREATE, [ALL, ALL], APPEND | SYNC)
        .expect("it can be created");
    assert_eq!(guest.call("fd_fdstat_get", &[fd.into(), RESULT.into()]), 0);
    assert_eq!(guest.bytes(RESULT.into(), 1), [4], "a regular file");
    assert_eq!(
        u32::from(guest.u16_at(u64::from(RESULT) + 2)),
        APPEND | SYNC
    );
    guest.write(fd, b"ab").expect("it can be written");
    guest.seek(fd, 0, 0).expect("it can be moved");
    guest.write(fd, b"cd").expect("it can be written");
    assert_eq!(
        guest.call("fd_fdstat_set_flags", &[fd.into(), SYNC.into()]),
        0
    );
    guest.seek(fd, 0, 0).expect("it can be moved");
    guest.write(fd, b"X").expect("it can be written");
    assert_eq!(
        std::fs::read(directory.path().join("file")).expect("it is there"),
        b"Xbcd"
    );
    let emptied = guest
        .open_with(ROOT, 0, "file", CREATE | TRUNCATE, [ALL, ALL], APPEND)
        .expect("it can be emptied and appended to at once");
    guest.write(fd, b"1").expect("it can be written");
    guest.write(emptied, b"2").expect("it can be written");
    assert_eq!(
        std::fs::read(directory.path().join("file")).expect("it is there"),
        b"\x0012"
    );
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), 0]), NOTSUP);
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), 32]), INVAL);
}

#[test]
fn sizes_and_times_can_be_set() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let fd = u64::from(guest.open(ROOT, "file", CREATE).expect("it can be created"));
    let stat = u64::from(RESULT);
    assert_eq!(guest.call("fd_allocate", &[fd, 0, 100]), 0);
    assert_eq!(guest.call("fd_allocate", &[fd, 10, 10]), 0);
    assert_eq!(guest.call("fd_filestat_get", &[fd, stat]), 0);
    assert_eq!(
        (guest.bytes(stat + 16, 1)[0], guest.u64_at(stat + 24)),
        (4, 1)
    );
    assert_eq!(guest.u64_at(stat + 32), 100);
    assert_eq!(guest.call("fd_allocate", &[fd, 0, 0]), INVAL);
    assert_eq!(guest.call("fd_filestat_set_size", &[fd, 7]), 0);
    let accessed = guest.u64_at(stat + 40);
    assert_eq!(
        guest.call("fd_filestat_set_times", &[fd, 1, 1_234_567_890_123, 4]),
        0
    );
    assert_eq!(guest.call("fd_filestat_get", &[fd, stat]), 0);
    assert_eq!(guest.u64_at(stat + 32), 7);
    assert_eq!(
        (guest.u64_at(stat + 40), guest.u64_at(stat + 48)),
        (accessed, 1_234_567_890_123)
    );
    for flags in [3, 12, 16] {
        assert_eq!(
            guest.call("fd_filestat_set_times", &[fd, 0, 0, flags]),
            INVAL
        );
    }
    assert_eq!(guest.call("fd_filestat_set_times", &[fd, 0, 0, 2 | 8]), 0);
    assert_eq!(guest.call("fd_filestat_get", &[fd, stat]), 0);
    assert!(guest.u64_at(stat + 48) > 1_700_000_000_000_000_000, "now");
    assert_eq!(guest.call("fd_advise", &[fd, 0, 7, 3]), 0);
    assert_eq!(guest.call("fd_advise", &[fd, 0, 7, 6]), INVAL);
    assert_eq!(guest.call("fd_sync", &[fd]), 0);
    assert_eq!(guest.call("fd_datasync", &[fd]), 0);
}

#[test]
fn rights_can_be_dropped_but_not_regained() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let asked = FD_READ | FD_WRITE | FD_SEEK;
    let fd = guest
        .open_with(ROOT, 0, "file", CREATE, [asked, 0], 0)
        .expect("it can be created");
    assert_eq!(guest.rights(fd), [asked, 0]);
    guest.write(fd, b"abc").expect("it can be written");
    assert_eq!(
        guest.call("fd_fdstat_set_rights", &[fd.into(), FD_SEEK, 0]),
        0
    );
    assert_eq!(guest.rights(fd), [FD_SEEK, 0]);
    assert_eq!(guest.write(fd, b"abc"), Err(BADF));
    assert_eq!(guest.read(fd, 1), Err(BADF));
    assert_eq!(
        guest.call("fd_fdstat_set_rights", &[fd.into(), asked, 0]),
        NOTCAPABLE
    );
    assert_eq!(
        guest.call("fd_filestat_get", &[fd.into(), RESULT.into()]),
        NOTCAPABLE
    );
    assert_eq!(
        guest.seek(fd, 0, 1),
        Ok(3),
        "the right to seek includes asking"
    );

    let reader = guest
        .open_with(ROOT, 0, "file", 0, [FD_READ, 0], 0)
        .expect("it can be opened");
    assert_eq!(guest.write(reader, b"x"), Err(BADF));
    assert_eq!(guest.read(reader, 9), Ok(b"abc".to_vec()));
    assert_eq!(guest.seek(reader, 0, 1), Err(NOTCAPABLE));
    assert_eq!(
        guest.call("fd_filestat_set_size", &[reader.into(), 0]),
        NOTCAPABLE
    );
    let sizer = guest.open_with(ROOT, 0, "file", 0, [FILESTAT_SET_SIZE, 0], 0);
    let sizer = sizer.expect("it can be opened");
    assert_eq!(guest.call("fd_filestat_set_size", &[sizer.into(), 1]), 0);
}

#[test]
fn directories_and_streams_are_not_files() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let (list, _) = guest.buffers(&[4]);
    let (fd, result) = (u64::from(ROOT), u64::from(RESULT));
    for (name, arguments) in [
        ("fd_read", vec![fd, list, 1, result]),
        ("fd_write", vec![fd, list, 1, result]),
        ("fd_pread", vec![fd, list, 1, 0, result]),
        ("fd_pwrite", vec![fd, list, 1, 0, result]),
        ("fd_seek", vec![fd, 0, 1, result]),
        ("fd_tell", vec![fd, result]),
        ("fd_allocate", vec![fd, 0, 1]),
        ("fd_advise", vec![fd, 0, 1, 0]),
        ("fd_filestat_set_size", vec![fd, 0]),
    ] {
        let expected = match name {
            "fd_read" | "fd_pread" => ISDIR,
            _ => BADF,
        };
        assert_eq!(guest.call(name, &arguments), expected, "{name}");
        let mut of_nothing = arguments.clone();
        of_nothing[0] = 99;
        assert_eq!(guest.call(name, &of_nothing), BADF, "{name}");
    }
    assert_eq!(guest.seek(1, 0, 1), Err(SPIPE));
    assert_eq!(guest.call("fd_pread", &[0, list, 1, 0, result]), SPIPE);
    assert_eq!(guest.call("fd_filestat_set_size", &[1, 0]), INVAL);
    assert_eq!(
        guest.call("fd_filestat_set_times", &[1, 0, 0, 2]),
        NOTCAPABLE
    );
    assert_eq!(guest.read(1, 1), Err(BADF));
    assert_eq!(guest.write(0, b"x"), Err(BADF));
    assert_eq!(guest.call("fd_sync", &[1]), 0);
    assert_eq!(guest.call("fd_filestat_get", &[1, result]), 0);
    assert_eq!(guest.u64_at(result + 32), 0);
}

#[test]
fn bad_pointers_are_faults_before_any_effect() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let fd = u64::from(guest.open(ROOT, "file", CREATE).expect("it can be created"));
    guest
        .write(fd.try_into().expect("it fits"), b"abc")
        .expect("it can be written");
    let outside = u64::from(u32::MAX - 1);
    let (list, _) = guest.buffers(&[3]);
    let result = u64::from(RESULT);
    assert_eq!(guest.call("fd_seek", &[fd, 1, 0, result]), 0);
    assert_eq!(guest.call("fd_read", &[fd, list, 1, outside]), FAULT);
    assert_eq!(guest.call("fd_read", &[fd, outside, 1, result]), FAULT);
    assert_eq!(guest.call("fd_write", &[fd, list, 1, outside]), FAULT);
    assert_eq!(guest.call("fd_write", &[fd, outside, 1, result]), FAULT);
    assert_eq!(guest.call("fd_tell", &[fd, outside]), FAULT);
    assert_eq!(
        guest.call("path_open", &[3, 0, outside, 9, 1, 0, 0, 0, result]),
        FAULT
    );
    assert_eq!(guest.call("fd_tell", &[fd, result]), 0);
    assert_eq!(guest.u64_at(result), 1, "nothing was read or written");
    let wild = guest.put(&[0xff; 8]);
    assert_eq!(guest.call("fd_write", &[fd, wild, 1, result]), FAULT);
    // A good buffer before a bad one is neither filled nor written.
    let good = guest.put(&[7; 2]);
    let pointer = u32::try_from(good).expect("it fits").to_le_bytes();
    let both = [pointer, 2_u32.to_le_bytes(), [0xff; 4], [1, 0, 0, 0]];
    let both = guest.put(&both.concat());
    for name in ["fd_read", "fd_write"] {
        assert_eq!(guest.call(name, &[fd, both, 2, result]), FAULT, "{name}");
    }
    for name in ["fd_pread", "fd_pwrite"] {
        assert_eq!(guest.call(name, &[fd, both, 2, 0, result]), FAULT, "{name}");
    }
    assert_eq!(guest.bytes(good, 2), [7, 7]);
    assert_eq!(guest.call("fd_tell", &[fd, result]), 0);
    assert_eq!(guest.u64_at(result), 1);
    assert_eq!(
        std::fs::read(directory.path().join("file")).expect("it is there"),
        b"abc"
    );
}

#[test]
fn numbers_are_reused_and_moved() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let one = guest.open(ROOT, "one", CREATE).expect("it can be created");
    let two = guest.open(ROOT, "two", CREATE).expect("it can be created");
    assert_eq!((one, two), (4, 5));
    guest.write(one, b"1").expect("it can be written");
    assert_eq!(guest.call("fd_renumber", &[one.into(), two.into()]), 0);
    assert_eq!(guest.close(one), BADF);
    assert_eq!(guest.call("fd_renumber", &[two.into(), one.into()]), BADF);
    assert_eq!(guest.seek(two, 0, 1), Ok(1));
    assert_eq!(guest.open(ROOT, "two", 0), Ok(one));
    assert_eq!(
        guest.call("fd_renumber", &[1, u64::from(two)]),
        0,
        "a stream moves too"
    );
    assert_eq!(guest.write(two, b"hello"), Ok(5));
    assert_eq!(guest.write(1, b"x"), Err(BADF));
}

#[test]
fn streams_are_passed_on_at_once() {
    let directory = directory();
    let (reader, writer) = std::io::pipe().expect("there is a pipe");
    let input = std::io::Cursor::new(b"some input".to_vec());
    let wasi = builder(directory.path())
        .stdin(Box::new(input))
        .stdout(Box::new(writer))
        .build();
    let mut guest = Guest::with(wasi);
    assert_eq!(guest.read(0, 4), Ok(b"some".to_vec()));
    assert_eq!(guest.read(0, 100), Ok(b" input".to_vec()));
    assert_eq!(guest.read(0, 100), Ok(Vec::new()));
    assert_eq!(guest.write(1, b"output"), Ok(6));
    assert_eq!(guest.write(2, b"thrown away"), Ok(11));
    let mut bytes = [0; 6];
    std::io::Read::read_exact(&mut &reader, &mut bytes).expect("it is there already");
    assert_eq!(&bytes, b"output");
}

#[test]
fn a_pipe_without_data_says_so_if_asked_not_to_wait() {
    let directory = directory();
    let path = directory.path().join("pipe");
    let status = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(status.expect("there is a program mkfifo").success());
    let mut guest = Guest::new(&directory);
    let fd = guest
        .open_with(
            ROOT,
            0,
            "pipe",
            0,
            [FD_READ | FD_WRITE | 1 << 3, 0],
            NONBLOCK,
        )
        .expect("it can be opened");
    assert_eq!(guest.read(fd, 4), Err(AGAIN));
    assert_eq!(guest.write(fd, b"data"), Ok(4));
    assert_eq!(guest.read(fd, 2), Ok(b"da".to_vec()));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[fd.into(), 0]), 0);
    assert_eq!(
        guest.read(fd, 9),
        Ok(b"ta".to_vec()),
        "no more than there is"
    );
}
