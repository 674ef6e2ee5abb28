// Renaming: files and directories, over others, with slashes at the end, and below themselves.
//@ elsewhere = "inode numbers are those of another host"
#include "wasi.h"

#define rename_is(old, new, error) is(path_rename(ROOT, P(old), ROOT, P(new)), error)

PROGRAM {
  mkdir("source");
  rename_is("source", "target", OK);
  holds(!exists("source"));
  is(open_error(ROOT, NOFOLLOW, "source", O_DIRECTORY, 0), NOENT);
  is(open_error(ROOT, NOFOLLOW, "target", O_DIRECTORY, 0), OK);
  // Over an empty directory, but not over a full one or a file.
  mkdir("source");
  rename_is("source", "target", OK);
  mkdir("source");
  create("target/file", "");
  rename_is("source", "target", NOTEMPTY);
  rename_is("source", "target/file", NOTDIR);
  holds(exists("source"));
  unlink("target/file");
  rename_is("source/", "moved", OK);
  rename_is("moved", "source/", OK);
  rename_is("source/", "target/", OK);
  rename_is("target", "target/below", INVAL);
  rename_is("target", "target", OK);

  create("one", "1");
  rename_is("one", "two", OK);
  is(open_error(ROOT, NOFOLLOW, "one", 0, 0), NOENT);
  create("three", "333");
  fd_t overwritten = open_file("three", 0), moved = open_file("two", 0);
  rename_is("two", "three", OK);
  is(stat_path("three").size, 1);
  read_is(overwritten, 9, "333");
  read_is(moved, 9, "1");
  is(stat_fd(moved).inode, stat_path("three").inode);
  rename_is("three", "target", ISDIR);
  rename_is("three", "target/three", OK);
  rename_is("target/three", "three", OK);
  rename_is("three/", "four", NOTDIR);
  if (!is_oracle()) {
    // A slash follows names of directories only.
    rename_is("three", "four/", NOTDIR);
    rename_is("three", "target/", NOTDIR);
  }
  holds(exists("three"));
  rename_is("missing", "four", NOENT);
  rename_is("three", "missing/four", NOENT);
  rename_is("three", "../four", PERM);
  rename_is("../x", "four", PERM);
  is(path_rename(99, P("three"), ROOT, P("four")), BADF);
  is(path_rename(ROOT, P("three"), 99, P("four")), BADF);
  differs(path_rename(moved, P("three"), ROOT, P("four")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  differs(path_rename(ROOT, P("three"), moved, P("four")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  // A link is renamed itself; two names of one file stay two.
  ok(path_symlink(P("three"), ROOT, P("link")));
  rename_is("link", "renamed", OK);
  is(stat_path("renamed").type, SYMBOLIC_LINK);
  ok(path_link(ROOT, NOFOLLOW, P("three"), ROOT, P("hard")));
  rename_is("three", "hard", OK);
  holds(exists("three") && exists("hard"));
}
