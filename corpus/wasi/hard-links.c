// Hard links: one file by several names, not of directories, not over something, not by following.
//@ elsewhere = "inode numbers are those of another host"
#include "wasi.h"

#define link_is(old, new, error) is(path_link(ROOT, NOFOLLOW, P(old), ROOT, P(new)), error)

PROGRAM {
  fd_t file = open_with("file", CREAT, R_READ | R_WRITE | R_FILESTAT_GET, 0);
  link_is("file", "link", OK);
  fd_t link = open_with("link", 0, R_READ | R_WRITE | R_FILESTAT_GET, 0);
  filestat_t a = stat_fd(file), b = stat_fd(link);
  is(memcmp(&a, &b, sizeof a), 0);
  is(a.links, 2);
  fdstat_t c = fdstat(file), d = fdstat(link);
  holds(c.type == d.type && c.flags == d.flags && c.base == d.base && c.inheriting == d.inheriting);
  write_text(file, "text");
  read_is(link, 9, "text");
  ok(fd_close(link));
  unlink("link");
  is(stat_fd(file).links, 1);
  mkdir("dir");
  fd_t dir = open_dir("dir");
  ok(path_link(ROOT, NOFOLLOW, P("file"), dir, P("link")));
  ok(path_link(dir, NOFOLLOW, P("link"), ROOT, P("back")));
  is(stat_path("back").inode, a.inode);
  // The first name can go: the file stays.
  unlink("file");
  is(stat_fd(file).links, 2);
  write_text(file, "more");
  is(stat_path("dir/link").size, 8);
  ok(path_rename(dir, P("link"), ROOT, P("file")));
  link_is("file", "back", EXIST);
  link_is("file", "file", EXIST);
  link_is("file", "dir", EXIST);
  link_is("dir", "link", PERM);
  link_is("missing", "link", NOENT);
  link_is("file", "missing/link", NOENT);
  link_is("file", "new/", NOENT);
  link_is("file/", "new", NOTDIR);
  link_is("file", "../link", PERM);
  link_is("../x", "link", PERM);
  is(path_link(99, NOFOLLOW, P("file"), ROOT, P("new")), BADF);
  is(path_link(ROOT, NOFOLLOW, P("file"), 99, P("new")), BADF);
  differs(path_link(file, NOFOLLOW, P("file"), ROOT, P("new")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  differs(path_link(ROOT, NOFOLLOW, P("file"), file, P("new")), NOTDIR, BADF, "a stream or file is not a bad descriptor where a directory is needed");
  // Links can be linked themselves, be they dangling or a circle.
  ok(path_symlink(P("nowhere"), ROOT, P("dangling")));
  link_is("dangling", "second", OK);
  is(stat_path("second").type, SYMBOLIC_LINK);
  is(stat_path("second").inode, stat_path("dangling").inode);
  ok(path_symlink(P("circle"), ROOT, P("circle")));
  link_is("circle", "third", OK);
  link_is("file", "dangling", EXIST);
  is(path_link(ROOT, FOLLOW, P("dangling"), ROOT, P("fourth")), INVAL);
  is(path_link(ROOT, FOLLOW, P("file"), ROOT, P("fourth")), INVAL);
  holds(!exists("fourth"));
}
