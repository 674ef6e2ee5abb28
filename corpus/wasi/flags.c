// Flags of descriptors: given on opening, changed, kept; and those that do not exist.
#include "wasi.h"

PROGRAM {
  fd_t file = open_with("file", CREAT, R_FILE, NONBLOCK);
  is(fdstat(file).flags, NONBLOCK);
  write_text(file, "text");
  is(seek(file, 0, SET), 0);
  read_is(file, 9, "text");
  read_is(file, 9, "");
  ok(fd_fdstat_set_flags(file, 0));
  is(fdstat(file).flags, 0);
  ok(fd_fdstat_set_flags(file, APPEND));
  is(fdstat(file).flags, APPEND);
  ends(fd_fdstat_set_flags(file, 32), INVAL, "a flag that does not exist is an error");
  ends(fd_fdstat_set_flags(file, 0x10000), INVAL, "a flag that does not exist is an error");
  is(fd_fdstat_set_flags(99, 0), BADF);
  const uint32_t synchronous[] = {SYNC, DSYNC, RSYNC};
  for (int i = 0; i < 3 && !is_oracle(); i++) {
    // Linux knows them when it opens a file only.
    is(fd_fdstat_set_flags(file, APPEND | synchronous[i]), NOTSUP);
    fd_t fd = open_with("file", 0, R_FILE, APPEND | synchronous[i]);
    is(fdstat(fd).flags, APPEND | synchronous[i]);
    is(fd_fdstat_set_flags(fd, APPEND), NOTSUP);
    ok(fd_fdstat_set_flags(fd, synchronous[i]));
    is(fdstat(fd).flags, synchronous[i]);
    write_text(fd, "x");
    ok(fd_close(fd));
  }
  is(fdstat(file).flags, APPEND);
  fd_t fd;
  ends(path_open(ROOT, NOFOLLOW, P("file"), 0, R_READ, 0, 32, &fd), INVAL, "a flag that does not exist is an error");
  // Streams keep theirs, too.
  is(fdstat(1).flags & NONBLOCK, 0);
  if (!is_oracle()) {
    ok(fd_fdstat_set_flags(1, NONBLOCK));
    is(fdstat(1).flags, NONBLOCK);
    ok(fd_fdstat_set_flags(1, 0));
  }
}
