// Closing: once, streams too; what is open beside stays open.
#include "wasi.h"

PROGRAM {
  create("file", "text");
  fd_t dir = open_dir(".");
  fd_t a = open_file("file", 0), b = open_file("file", 0);
  ok(fd_close(a));
  is(fd_close(a), BADF);
  fdstat_t stat;
  is(fd_fdstat_get(a, &stat), BADF);
  is(fd_fdstat_set_flags(a, 0), BADF);
  read_is(b, 9, "text");
  is(fd_close(99), BADF);
  is(fd_close(0xffffffff), BADF);
  ok(fd_close(0));
  is(read_error(0), BADF);
  ok(fd_close(1));
  is(write_error(1), BADF);
  ok(fd_close(ROOT));
  is(fd_fdstat_get(ROOT, &stat), BADF);
  // What was opened through a directory does not need it any more.
  ok(fd_fdstat_get(dir, &stat));
  is(stat.type, DIRECTORY);
  is(seek(b, 1, SET), 1);
  read_is(b, 9, "ext");
  is(open_error(dir, NOFOLLOW, "file", 0, 0), OK);
  create_at(__LINE__, dir, "new", "new");
}
