//! Files by path.

use crate::guest::{
    ALL, BADF, CREATE, DIRECTORY, EXCLUSIVE, EXIST, FD_READ, FD_WRITE, Guest, ILSEQ, INVAL, ISDIR,
    LOOP, NOENT, NOTCAPABLE, NOTDIR, NOTEMPTY, O_DIRECTORY, PATH_FILESTAT_SET_SIZE, PERM, RESULT,
    ROOT, TRUNCATE, directory,
};

/// Renames or links: both take two directories and two paths.
fn two_paths(guest: &mut Guest, name: &str, old: &str, new: &str) -> u32 {
    let [old, old_length] = guest.text(old);
    let [new, new_length] = guest.text(new);
    let root = u64::from(ROOT);
    match name {
        "path_link" => guest.call(name, &[root, 0, old, old_length, root, new, new_length]),
        _ => guest.call(name, &[root, old, old_length, root, new, new_length]),
    }
}

fn symlink(guest: &mut Guest, target: &str, path: &str) -> u32 {
    let [target, target_length] = guest.text(target);
    let [path, length] = guest.text(path);
    guest.call(
        "path_symlink",
        &[target, target_length, ROOT.into(), path, length],
    )
}

fn touch(guest: &mut Guest, path: &str) {
    let fd = guest.open(ROOT, path, CREATE).expect("it can be created");
    assert_eq!(guest.close(fd), 0);
}

#[test]
fn paths_lead_around_but_not_out() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "dir"), 0);
    assert_eq!(
        guest.path_call("path_create_directory", ROOT, "dir/nested"),
        0
    );
    assert_eq!(
        guest.path_call("path_create_directory", ROOT, "dir/nested"),
        EXIST
    );
    touch(&mut guest, "dir/nested/file");
    let mut open = |path: &str| guest.open_with(ROOT, 0, path, 0, [0, 0], 0);
    assert!(open("dir/.//nested/../../dir/nested/../nested///./file").is_ok());
    assert_eq!(open("/dir/nested/file"), Err(PERM));
    assert_eq!(open("dir/nested/../../../x/dir/nested/file"), Err(PERM));
    assert!(matches!(
        open("dir/nested/file\0"),
        Err(INVAL | ILSEQ | NOENT)
    ));
    assert_eq!(open("dir/nested/file/"), Err(NOTDIR));
    assert_eq!(open("dir/nested/file///"), Err(NOTDIR));
    assert!(open("dir/nested/").is_ok());
    assert!(open("dir/nested///").is_ok());
    assert_eq!(open("missing"), Err(NOENT));
    assert_eq!(open(""), Err(NOENT));
    let bytes = guest.put(b"\xff");
    let arguments = [u64::from(ROOT), 0, bytes, 1, 0, 0, 0, 0, RESULT.into()];
    assert_eq!(guest.call("path_open", &arguments), ILSEQ);
}

#[test]
fn opening_takes_flags_and_rights_seriously() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let fd = guest
        .open(ROOT, "file", CREATE | EXCLUSIVE)
        .expect("it can be created");
    guest.write(fd, b"abc").expect("it can be written");
    assert_eq!(guest.open(ROOT, "file", CREATE | EXCLUSIVE), Err(EXIST));
    assert_eq!(guest.open(ROOT, "file", O_DIRECTORY), Err(NOTDIR));
    assert_eq!(
        guest.open(ROOT, "file", O_DIRECTORY | TRUNCATE),
        Err(NOTDIR)
    );
    assert_eq!(
        std::fs::read(directory.path().join("file")).expect("it is there"),
        b"abc",
        "what is no directory stays as it is"
    );
    assert_eq!(guest.open(ROOT, "file", CREATE | O_DIRECTORY), Err(INVAL));
    assert_eq!(guest.open(ROOT, "file", 16), Err(INVAL));
    assert_eq!(guest.open_with(ROOT, 2, "file", 0, [0, 0], 0), Err(INVAL));
    assert_eq!(guest.open_with(ROOT, 0, "file", 0, [0, 0], 32), Err(INVAL));
    assert_eq!(guest.open(fd, "file", 0), Err(NOTDIR));
    assert_eq!(guest.open(99, "file", 0), Err(BADF));
    assert_eq!(
        guest.open_with(ROOT, 0, ".", O_DIRECTORY, [FD_READ | FD_WRITE, 0], 0),
        Err(ISDIR)
    );
    assert!(
        guest
            .open_with(ROOT, 0, "file", TRUNCATE, [0, 0], 0)
            .is_ok()
    );
    assert_eq!(
        std::fs::read(directory.path().join("file")).expect("it is there"),
        b""
    );

    let [base, inheriting] = guest.rights(ROOT);
    let dir = guest
        .open_with(ROOT, 0, ".", 0, [base, inheriting], 0)
        .expect("with its own rights");
    assert_eq!(guest.rights(dir), [base, inheriting]);
    let lesser = base & !PATH_FILESTAT_SET_SIZE;
    assert_eq!(
        guest.call("fd_fdstat_set_rights", &[dir.into(), lesser, FD_READ]),
        0
    );
    assert_eq!(
        guest.open_with(dir, 0, "file", TRUNCATE, [0, 0], 0),
        Err(PERM)
    );
    assert_eq!(
        guest.open_with(dir, 0, "file", 0, [FD_READ | FD_WRITE, 0], 0),
        Err(NOTCAPABLE)
    );
    assert!(
        guest
            .open_with(dir, 0, "file", 0, [FD_READ, FD_READ], 0)
            .is_ok()
    );
    let bare = guest
        .open_with(ROOT, 0, ".", 0, [0, 0], 0)
        .expect("without rights");
    assert_eq!(
        guest.open_with(bare, 0, "file", 0, [0, 0], 0),
        Err(NOTCAPABLE)
    );
    assert_eq!(
        guest.path_call("path_create_directory", bare, "x"),
        NOTCAPABLE
    );
    assert_eq!(
        guest.path_call("path_unlink_file", bare, "file"),
        NOTCAPABLE
    );
}

#[test]
fn symbolic_links_are_followed_only_if_asked_and_never_out() {
    let outside = directory();
    std::fs::write(outside.path().join("secret"), "secret").expect("there is room");
    let directory = directory();
    let host = directory.path();
    std::os::unix::fs::symlink(outside.path(), host.join("absolute")).expect("it can be made");
    let up = format!(
        "../{}",
        outside
            .path()
            .file_name()
            .expect("it has one")
            .to_string_lossy()
    );
    std::os::unix::fs::symlink(up, host.join("up")).expect("it can be made");
    let mut guest = Guest::new(&directory);
    for path in ["absolute/secret", "up/secret", "absolute", "up"] {
        assert_eq!(
            guest.open_with(ROOT, 1, path, 0, [FD_READ, 0], 0),
            Err(PERM),
            "{path}"
        );
        let [path, length] = guest.text(path);
        let arguments = [u64::from(ROOT), 1, path, length, RESULT.into()];
        assert_eq!(guest.call("path_filestat_get", &arguments), PERM);
    }

    assert_eq!(symlink(&mut guest, "target", "link"), 0);
    assert_eq!(symlink(&mut guest, "target", "link"), EXIST);
    assert_eq!(symlink(&mut guest, "/etc/passwd", "root"), PERM);
    assert_eq!(symlink(&mut guest, "target", "missing/"), NOENT);
    assert_eq!(guest.open(ROOT, "link", 0), Err(LOOP));
    assert_eq!(
        guest.open_with(ROOT, 1, "link", 0, [0, 0], 0),
        Err(NOENT),
        "it dangles"
    );
    assert_eq!(guest.path_call("path_create_directory", ROOT, "target"), 0);
    assert!(
        guest
            .open_with(ROOT, 1, "link", O_DIRECTORY, [0, 0], 0)
            .is_ok()
    );
    assert!(matches!(
        guest.open_with(ROOT, 0, "link", O_DIRECTORY, [0, 0], 0),
        Err(LOOP | NOTDIR)
    ));
    assert_eq!(symlink(&mut guest, "circle", "circle"), 0);
    assert_eq!(guest.open_with(ROOT, 1, "circle", 0, [0, 0], 0), Err(LOOP));

    let [path, length] = guest.text("link");
    let buffer = guest.put(&[0; 16]);
    let root = u64::from(ROOT);
    let mut read_link = |length_max| {
        guest.call(
            "path_readlink",
            &[root, path, length, buffer, length_max, RESULT.into()],
        )
    };
    assert_eq!(read_link(16), 0);
    assert_eq!(read_link(4), 0);
    assert_eq!(guest.result(), 4);
    assert_eq!(guest.bytes(buffer, 8), b"target\0\0");
    let [path, length] = guest.text("target");
    let arguments = [root, path, length, buffer, 16, RESULT.into()];
    assert_eq!(guest.call("path_readlink", &arguments), INVAL);
}

#[test]
fn links_share_the_file() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    touch(&mut guest, "file");
    assert_eq!(two_paths(&mut guest, "path_link", "file", "link"), 0);
    let mut inode = |path: &str| {
        let [path, length] = guest.text(path);
        let arguments = [u64::from(ROOT), 0, path, length, RESULT.into()];
        assert_eq!(guest.call("path_filestat_get", &arguments), 0);
        (
            guest.u64_at(u64::from(RESULT) + 8),
            guest.u64_at(u64::from(RESULT) + 24),
        )
    };
    assert_eq!(inode("file"), inode("link"));
    assert_eq!(inode("file").1, 2);
    assert_eq!(two_paths(&mut guest, "path_link", "file", "link"), EXIST);
    assert_eq!(two_paths(&mut guest, "path_link", "file", "file"), EXIST);
    assert_eq!(two_paths(&mut guest, "path_link", "file", "other/"), NOENT);
    assert_eq!(
        two_paths(&mut guest, "path_link", "missing", "other"),
        NOENT
    );
    assert_eq!(two_paths(&mut guest, "path_link", "file", "../out"), PERM);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "dir"), 0);
    assert_eq!(two_paths(&mut guest, "path_link", "dir", "other"), PERM);
    assert_eq!(symlink(&mut guest, "nowhere", "dangling"), 0);
    assert_eq!(two_paths(&mut guest, "path_link", "dangling", "other"), 0);
    let [old, old_length] = guest.text("file");
    let [new, new_length] = guest.text("new");
    let root = u64::from(ROOT);
    let followed = [root, 1, old, old_length, root, new, new_length];
    assert_eq!(guest.call("path_link", &followed), INVAL);
}

#[test]
fn renaming_follows_the_rules() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    let rename = |guest: &mut Guest, old, new| two_paths(guest, "path_rename", old, new);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "source"), 0);
    assert_eq!(rename(&mut guest, "source/", "target"), 0);
    assert_eq!(rename(&mut guest, "target", "source/"), 0);
    assert_eq!(rename(&mut guest, "source/", "target/"), 0);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "source"), 0);
    assert_eq!(
        rename(&mut guest, "source", "target"),
        0,
        "onto an empty directory"
    );
    assert_eq!(guest.open_directory(ROOT, "source"), Err(NOENT));
    touch(&mut guest, "target/file");
    assert_eq!(guest.path_call("path_create_directory", ROOT, "source"), 0);
    assert_eq!(rename(&mut guest, "source", "target"), NOTEMPTY);
    assert_eq!(rename(&mut guest, "source", "target/file"), NOTDIR);
    touch(&mut guest, "one");
    touch(&mut guest, "two");
    assert_eq!(rename(&mut guest, "one", "two"), 0);
    assert_eq!(rename(&mut guest, "one", "two"), NOENT);
    assert_eq!(rename(&mut guest, "two", "source"), ISDIR);
    assert_eq!(rename(&mut guest, "two", "../out"), PERM);
    assert_eq!(rename(&mut guest, "two/", "three"), NOTDIR);
    assert_eq!(rename(&mut guest, "two", "three/"), NOTDIR);
    assert_eq!(rename(&mut guest, "two", "source/"), NOTDIR);
    for (path, expected) in [("two/", NOTDIR), ("source/", 0)] {
        let [path, length] = guest.text(path);
        let root = u64::from(ROOT);
        let arguments = [root, 0, path, length, RESULT.into()];
        assert_eq!(guest.call("path_filestat_get", &arguments), expected);
        let arguments = [root, 0, path, length, 0, 0, 8];
        assert_eq!(guest.call("path_filestat_set_times", &arguments), expected);
    }
}

#[test]
fn removing_tells_files_from_directories() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    touch(&mut guest, "file");
    assert_eq!(guest.path_call("path_create_directory", ROOT, "dir"), 0);
    touch(&mut guest, "dir/file");
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "dir"), ISDIR);
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "dir/"), ISDIR);
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "file/"), NOTDIR);
    assert_eq!(
        guest.path_call("path_remove_directory", ROOT, "file"),
        NOTDIR
    );
    assert_eq!(
        guest.path_call("path_remove_directory", ROOT, "file/"),
        NOTDIR
    );
    assert_eq!(
        guest.path_call("path_remove_directory", ROOT, "dir"),
        NOTEMPTY
    );
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "dir/file"), 0);
    assert_eq!(guest.path_call("path_remove_directory", ROOT, "dir/"), 0);
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "file"), 0);
    assert_eq!(guest.path_call("path_unlink_file", ROOT, "file"), NOENT);
    assert_eq!(guest.path_call("path_create_directory", ROOT, "dir//"), 0);
    assert_eq!(guest.path_call("path_remove_directory", ROOT, "dir"), 0);
    assert_eq!(guest.path_call("path_remove_directory", ROOT, "../x"), PERM);
    assert_eq!(guest.path_call("path_remove_directory", ROOT, "/"), PERM);
}

#[test]
fn times_of_links_and_of_files() {
    let directory = directory();
    let mut guest = Guest::new(&directory);
    touch(&mut guest, "file");
    assert_eq!(symlink(&mut guest, "file", "link"), 0);
    let [path, length] = guest.text("link");
    let root = u64::from(ROOT);
    for (lookup, time) in [(0, 1_000_000_007), (1, 2_000_000_009)] {
        let arguments = [root, lookup, path, length, 0, time, 4];
        assert_eq!(guest.call("path_filestat_set_times", &arguments), 0);
    }
    for (lookup, kind, time) in [(0, 7, 1_000_000_007), (1, 4, 2_000_000_009)] {
        let stat = u64::from(RESULT);
        assert_eq!(
            guest.call("path_filestat_get", &[root, lookup, path, length, stat]),
            0
        );
        assert_eq!(
            (guest.bytes(stat + 16, 1)[0], guest.u64_at(stat + 48)),
            (kind, time)
        );
    }
    let both = [root, 0, path, length, 0, 0, 12];
    assert_eq!(guest.call("path_filestat_set_times", &both), INVAL);
    assert_eq!(guest.rights(ROOT), [DIRECTORY, ALL]);
}
