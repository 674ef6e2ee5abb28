// The append flag: writes go to the end wherever the offset is, until it is switched off.
#include "wasi.h"

PROGRAM {
  fd_t file = open_with("file", CREAT, R_FILE, APPEND);
  is(fdstat(file).flags, APPEND);
  for (int i = 0; i < 5; i++) write_text(file, "0123456789");
  is(seek(file, 0, SET), 0);
  read_is(file, 12, "012345678901");
  is(seek(file, 0, SET), 0);
  write_text(file, "tail");
  is(seek(file, 0, CUR), 54);
  is(stat_fd(file).size, 54);
  is(seek(file, 50, SET), 50);
  read_is(file, 9, "tail");
  // POSIX writes at the offset, Linux at the end; the descriptor's offset stays either way.
  buffer_t buffer = {"+++", 3};
  uint32_t size;
  ok(fd_pwrite(file, &buffer, 1, 0, &size));
  is(size, 3);
  is(seek(file, 0, CUR), 54);
  uint64_t end = seek(file, 0, END);
  holds(end == 54 || end == 57);
  ok(fd_fdstat_set_flags(file, 0));
  is(fdstat(file).flags, 0);
  is(seek(file, 0, SET), 0);
  write_text(file, "head");
  is(seek(file, 0, CUR), 4);
  is(stat_fd(file).size, end);
  ok(fd_fdstat_set_flags(file, APPEND));
  is(seek(file, 2, SET), 2);
  write_text(file, "!");
  is(stat_fd(file).size, end + 1);
  is(seek(file, 0, SET), 0);
  if (end == 54) read_is(file, 6, "head45");
  is(seek(file, -1, END), end);
  read_is(file, 9, "!");
  // Another descriptor appends what lies behind by then.
  fd_t other = open_with("file", 0, R_WRITE | R_SEEK, APPEND);
  write_text(file, "a");
  write_text(other, "b");
  write_text(file, "c");
  is(seek(file, -3, END), end + 1);
  read_is(file, 9, "abc");
  // It can be had together with emptying the file, too.
  fd_t empty = open_with("file", TRUNC | CREAT, R_FILE, APPEND);
  is(stat_fd(empty).size, 0);
  write_text(file, "x");
  write_text(empty, "y");
  is(seek(empty, 0, SET), 0);
  read_is(empty, 9, "xy");
}
