//! Directories.

use crate::guest::{
    BADF, CREATE, Guest, INVAL, NAMETOOLONG, NOTCAPABLE, NOTDIR, RESULT, ROOT, directory,
};

#[test]
fn preopened_directories_can_be_found() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let result = u64::from(RESULT);
    assert_eq!(guest.call("fd_prestat_get", &[ROOT.into(), result]), 0);
    assert_eq!(
        (guest.bytes(result, 1)[0], guest.u32_at(result + 4)),
        (0, 1)
    );
    let name = guest.put(&[0; 4]);
    assert_eq!(
        guest.call("fd_prestat_dir_name", &[ROOT.into(), name, 0]),
        NAMETOOLONG
    );
    assert_eq!(
        guest.call("fd_prestat_dir_name", &[ROOT.into(), name, 2]),
        0
    );
    assert_eq!(guest.bytes(name, 2), b"/\0");
    let dir = guest.open_directory(ROOT, ".").expect("it can be opened");
    for fd in [0, dir, 99] {
        assert_eq!(
            guest.call("fd_prestat_get", &[fd.into(), result]),
            BADF,
            "{fd}"
        );
    }
    assert_eq!(guest.close(ROOT), 0, "a preopened directory can be closed");
    assert!(
        guest.open(dir, "file", CREATE).is_ok(),
        "and others stay open"
    );
    assert_eq!(guest.call("fd_prestat_get", &[ROOT.into(), result]), BADF);
}

#[test]
fn entries_come_in_pieces_of_any_size() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "sub"), 0);
    for index in 0..50 {
        let name = format!("file.{index:02}");
        let fd = guest.open(ROOT, &name, CREATE).expect("it can be created");
        assert_eq!(guest.close(fd), 0);
    }
    let mut expected = vec![(".".to_owned(), 3), ("..".to_owned(), 3)];
    expected.extend((0..50).map(|index| (format!("file.{index:02}"), 4)));
    expected.push(("sub".to_owned(), 3));
    for length in [40, 256, 4000] {
        assert_eq!(
            guest.list(ROOT, length, 0, usize::MAX),
            expected,
            "{length}"
        );
    }
    assert_eq!(guest.list(ROOT, 256, 50, usize::MAX), expected[50..]);
    assert_eq!(guest.list(ROOT, 256, 1000, usize::MAX), []);
    assert_eq!(guest.path_call("path_remove_directory", ROOT, "sub"), 0);
    assert_eq!(
        guest.list(ROOT, 256, 0, usize::MAX).len(),
        52,
        "beginning anew sees changes"
    );
}

#[test]
fn only_directories_with_the_right_have_entries() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let file = guest.open(ROOT, "file", CREATE).expect("it can be created");
    let buffer = guest.put(&[0; 64]);
    let read = |guest: &mut Guest, fd: u32| {
        guest.call("fd_readdir", &[fd.into(), buffer, 64, 0, RESULT.into()])
    };
    assert_eq!(read(&mut guest, file), NOTDIR);
    assert_eq!(read(&mut guest, 99), BADF);
    let bare = guest
        .open_with(ROOT, 0, ".", 0, [0, 0], 0)
        .expect("it can be opened");
    assert_eq!(read(&mut guest, bare), NOTCAPABLE);
    assert_eq!(
        guest.call("fd_fdstat_set_rights", &[bare.into(), 1 << 14, 0]),
        NOTCAPABLE
    );
    assert_eq!(guest.call("fd_fdstat_set_flags", &[ROOT.into(), 64]), INVAL);
}
