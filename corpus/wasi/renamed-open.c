// Files and directories that are renamed while they are open, and directories above them.
//@ elsewhere = "inode numbers are those of another host"
#include "wasi.h"

PROGRAM {
  mkdir("a");
  mkdir("a/b");
  create("a/b/file", "0123456789");
  fd_t file = open_file("a/b/file", 0), dir = open_dir("a/b");
  fd_t below;
  ok(path_open(dir, NOFOLLOW, P("file"), 0, R_FILE, 0, 0, &below));
  read_is(file, 3, "012");
  ok(path_rename(ROOT, P("a/b/file"), ROOT, P("a/b/renamed")));
  read_is(file, 3, "345");
  read_is(below, 3, "012");
  ok(path_rename(ROOT, P("a"), ROOT, P("elsewhere")));
  read_is(file, 3, "678");
  read_is(below, 3, "345");
  is(open_error(dir, NOFOLLOW, "renamed", 0, 0), OK);
  create("file", "another");
  ok(path_rename(ROOT, P("elsewhere/b/renamed"), ROOT, P("file")));
  read_is(file, 9, "9");
  write_text(file, "end");
  is(stat_path("file").size, 13);
  is(stat_path("file").inode, stat_fd(below).inode);
  ok(path_rename(ROOT, P("elsewhere/b"), ROOT, P("top")));
  ok(path_rename(ROOT, P("file"), dir, P("again")));
  is(stat_path("top/again").inode, stat_fd(file).inode);
  ok(path_create_directory(dir, P("new")));
  is(stat_path("top/new").type, DIRECTORY);
  read_is(below, 99, "6789end");
}
