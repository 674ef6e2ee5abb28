// Symbolic links: made, read, followed only if asked, in circles, to nowhere, and with slashes at their ends.
//@ elsewhere = "inode numbers are those of another host"
#include "wasi.h"

#define symlink_is(target, path, error) is(path_symlink(P(target), ROOT, P(path)), error)

PROGRAM {
  create("file", "text");
  mkdir("dir");
  create("dir/inner", "inner");
  symlink_is("file", "link", OK);
  symlink_is("file", "link", EXIST);
  symlink_is("other", "file", EXIST);
  symlink_is("other", "dir", EXIST);
  symlink_is("dir", "dir-link", OK);
  symlink_is("nowhere", "dangling", OK);
  symlink_is("circle", "circle", OK);
  symlink_is("b", "a", OK);
  symlink_is("a", "b", OK);
  symlink_is("../file", "dir/up", OK);
  symlink_is("link", "link-to-link", OK);
  symlink_is("x", "missing/x", NOENT);
  symlink_is("x", "file/x", NOTDIR);
  symlink_is("x", "new/", NOENT);
  symlink_is("x", "dir/", EXIST);
  is(path_symlink(P("x"), ROOT, P("file/")), NOTDIR);
  symlink_is("", "empty", NOENT);
  symlink_is("/", "root", PERM);
  symlink_is("/etc/passwd", "passwd", PERM);
  is(path_symlink(P("x"), 99, P("y")), BADF);
  differs(path_symlink(P("x"), 1, P("y")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");

  char target[10];
  uint32_t used = 99;
  memset(target, '!', sizeof target);
  ok(path_readlink(ROOT, P("link"), target, sizeof target, &used));
  is(used, 4);
  is(memcmp(target, "file!!!!!!", 10), 0);
  // What does not fit is cut off.
  ok(path_readlink(ROOT, P("link"), target + 5, 2, &used));
  is(used, 2);
  is(memcmp(target, "file!fi!!!", 10), 0);
  ok(path_readlink(ROOT, P("dir/up"), target, sizeof target, &used));
  is(used, 7);
  ok(path_readlink(ROOT, P("dir-link/up"), target, sizeof target, &used));
  is(used, 7);
  is(path_readlink(ROOT, P("file"), target, sizeof target, &used), INVAL);
  is(path_readlink(ROOT, P("dir"), target, sizeof target, &used), INVAL);
  is(path_readlink(ROOT, P("missing"), target, sizeof target, &used), NOENT);
  is(path_readlink(99, P("link"), target, sizeof target, &used), BADF);
  differs(path_readlink(2, P("link"), target, sizeof target, &used), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");

  is(open_error(ROOT, NOFOLLOW, "link", 0, 0), LOOP);
  is(open_error(ROOT, NOFOLLOW, "dir-link", 0, 0), LOOP);
  is(open_error(ROOT, NOFOLLOW, "dangling", 0, 0), LOOP);
  is(open_error(ROOT, NOFOLLOW, "circle", 0, 0), LOOP);
  is(open_error(ROOT, FOLLOW, "circle", 0, 0), LOOP);
  is(open_error(ROOT, FOLLOW, "a", 0, 0), LOOP);
  is(open_error(ROOT, FOLLOW, "dangling", 0, 0), NOENT);
  uint32_t error = open_error(ROOT, NOFOLLOW, "dir-link", O_DIRECTORY, 0);
  holds(error == LOOP || error == NOTDIR);
  error = open_error(ROOT, NOFOLLOW, "dangling", O_DIRECTORY, 0);
  holds(error == LOOP || error == NOTDIR);
  is(open_error(ROOT, FOLLOW, "link", O_DIRECTORY, 0), NOTDIR);
  is(open_error(ROOT, FOLLOW, "dir-link", O_DIRECTORY, 0), OK);
  is(open_error(ROOT, NOFOLLOW, "dir-link/inner", 0, 0), OK);
  is(open_error(ROOT, NOFOLLOW, "link/inner", 0, 0), NOTDIR);
  fd_t fd;
  ok(path_open(ROOT, FOLLOW, P("link-to-link"), 0, R_FILE, 0, 0, &fd));
  read_is(fd, 9, "text");
  ok(path_open(ROOT, FOLLOW, P("dir/up"), 0, R_FILE, 0, 0, &fd));
  read_is(fd, 2, "te");
  // The descriptor stays with the file, whatever becomes of the link.
  unlink("dir/up");
  ok(path_symlink(P("inner"), ROOT, P("dir/up")));
  read_is(fd, 9, "xt");
  is(stat_fd(fd).inode, stat_path("file").inode);
  ok(path_open(ROOT, FOLLOW, P("dir/up"), 0, R_FILE, 0, 0, &fd));
  read_is(fd, 9, "inner");
  // Creating through a link makes what it leads to.
  ok(path_open(ROOT, FOLLOW, P("dangling"), CREAT, R_FILE, 0, 0, &fd));
  write_text(fd, "made");
  is(stat_path("nowhere").size, 4);
  is(open_error(ROOT, FOLLOW, "link", CREAT | EXCL, R_READ), EXIST);
  // Removing a link leaves the rest.
  unlink("link");
  holds(exists("file"));
  unlink("dir-link");
  holds(exists("dir"));
}
