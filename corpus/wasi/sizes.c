// Sizes: set and reserved, with zeros where nothing was written, and offsets that stay.
#include "wasi.h"

PROGRAM {
  fd_t file = open_file("file", CREAT);
  is(stat_fd(file).size, 0);
  ok(fd_filestat_set_size(file, 100));
  is(stat_fd(file).size, 100);
  is(seek(file, 0, CUR), 0);
  write_text(file, "abcdef");
  ok(fd_filestat_set_size(file, 3));
  is(stat_fd(file).size, 3);
  is(seek(file, 0, CUR), 6);
  ok(fd_filestat_set_size(file, 5));
  is(seek(file, 0, SET), 0);
  char bytes[9];
  buffer_t buffer = {bytes, 9};
  uint32_t size;
  ok(fd_read(file, &buffer, 1, &size));
  is(size, 5);
  is(memcmp(bytes, "abc\0\0", 5), 0);
  ok(fd_filestat_set_size(file, 0));
  ok(fd_advise(file, 10, 50, 0));
  is(stat_fd(file).size, 0);
  // A host may not be able to reserve.
  uint32_t error = fd_allocate(file, 0, 100);
  if (error != NOTSUP) {
    ok(error);
    is(stat_fd(file).size, 100);
    ok(fd_allocate(file, 10, 10));
    is(stat_fd(file).size, 100);
    ok(fd_allocate(file, 90, 20));
    is(stat_fd(file).size, 110);
    is(fd_allocate(file, 0, 0), INVAL);
    is(fd_allocate(99, 0, 1), BADF);
    is(fd_allocate(1, 0, 1), SPIPE);
  }
  fd_t reader = open_with("file", 0, R_READ | R_FILESTAT_GET, 0);
  differs(fd_filestat_set_size(reader, 1), NOTCAPABLE, INVAL, "rights hold");
  is(fd_filestat_set_size(99, 1), BADF);
  differs(fd_filestat_set_size(1, 1), INVAL, BADF, "a stream has no size");
  for (uint32_t advice = 0; advice <= 5; advice++) ok(fd_advise(file, 0, 0, advice));
  ends(fd_advise(file, 0, 0, 6), INVAL, "an advice that does not exist is an error");
  is(fd_advise(99, 0, 0, 0), BADF);
  differs(fd_advise(1, 0, 0, 0), SPIPE, BADF, "a stream has no offsets");
  ok(fd_sync(file));
  ok(fd_datasync(file));
  is(fd_sync(99), BADF);
  is(fd_datasync(99), BADF);
}
