// Two preopened directories: files go from one to the other, links do not lead across.
//@ dirs = ["/", "other"]
//@ elsewhere = "inode numbers are those of another host"
#include "wasi.h"

enum { OTHER = ROOT + 1 };

PROGRAM {
  create("file", "text");
  fd_t file = open_file("file", 0);
  read_is(file, 2, "te");
  ok(path_rename(ROOT, P("file"), OTHER, P("moved")));
  holds(!exists("file"));
  read_is(file, 9, "xt");
  filestat_t stat = stat_at(__LINE__, OTHER, NOFOLLOW, "moved");
  is(stat.inode, stat_fd(file).inode);
  ok(path_link(OTHER, NOFOLLOW, P("moved"), ROOT, P("hard")));
  is(stat_path("hard").inode, stat.inode);
  is(stat_path("hard").links, 2);
  ok(path_symlink(P("../other/moved"), ROOT, P("link")));
  is(open_error(ROOT, FOLLOW, "link", 0, R_READ), PERM);
  ok(path_create_directory(OTHER, P("dir")));
  ok(path_rename(OTHER, P("dir"), ROOT, P("dir")));
  is(stat_path("dir").type, DIRECTORY);
  is(path_unlink_file(OTHER, P("hard")), NOENT);
  ok(path_unlink_file(OTHER, P("moved")));
  is(seek(file, 0, SET), 0);
  read_is(file, 9, "text");
}
