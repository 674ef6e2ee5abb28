// Offsets and sizes beyond 32 bits, in a file that is nearly all hole.
//@ elsewhere = "the file is too large to be shipped"
#include "wasi.h"

#define FAR (UINT64_C(5) << 30)

PROGRAM {
  fd_t file = open_file("file", CREAT);
  is(seek(file, FAR, SET), FAR);
  write_text(file, "far");
  is(stat_fd(file).size, FAR + 3);
  is(seek(file, 0, CUR), FAR + 3);
  is(seek(file, -2, CUR), FAR + 1);
  read_is(file, 9, "ar");
  char bytes[4];
  buffer_t buffer = {bytes, 4};
  uint32_t size;
  ok(fd_pread(file, &buffer, 1, FAR - 1, &size));
  is(size, 4);
  is(memcmp(bytes, "\0far", 4), 0);
  buffer = (buffer_t){"near", 4};
  ok(fd_pwrite(file, &buffer, 1, UINT64_C(1) << 32, &size));
  is(seek(file, INT64_C(1) << 32, SET), UINT64_C(1) << 32);
  read_is(file, 4, "near");
  is(seek(file, 0, END), FAR + 3);
  ok(fd_filestat_set_size(file, (UINT64_C(1) << 32) + 2));
  is(seek(file, -2, END), UINT64_C(1) << 32);
  read_is(file, 9, "ne");
  ok(fd_filestat_set_size(file, 0));
}
