// A file is cut off on opening if the directory may set sizes by path, whatever is handed on.
#include "wasi.h"

PROGRAM {
  create("file", "content");
  fd_t dir = open_dir(".");
  fdstat_t stat = fdstat(dir);
  is(stat.type, DIRECTORY);
  is(stat.flags, 0);
  is(stat.base & R_SET_SIZE, 0);
  ok(open_error(dir, NOFOLLOW, "file", TRUNC, 0));
  is(stat_path("file").size, 0);
  if (!(stat.base & R_PATH_SET_SIZE)) return;
  create("file", "content");
  ok(fd_fdstat_set_rights(dir, stat.base, stat.inheriting & ~R_SET_SIZE));
  ok(open_error(dir, NOFOLLOW, "file", TRUNC, 0));
  is(stat_path("file").size, 0);
  create("file", "content");
  ok(fd_fdstat_set_rights(dir, stat.base & ~R_PATH_SET_SIZE, 0));
  is(fdstat(dir).base & R_PATH_SET_SIZE, 0);
  is(open_error(dir, NOFOLLOW, "file", TRUNC, 0), PERM);
  is(stat_path("file").size, 7);
}
