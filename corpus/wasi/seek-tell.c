// Offsets: set, asked for, beyond the end, never before the beginning, and not of streams and directories.
#include "wasi.h"

PROGRAM {
  fd_t file = open_with("file", CREAT, R_READ | R_WRITE | R_SEEK | R_TELL | R_FILESTAT_GET, 0);
  uint64_t position = 9;
  ok(fd_tell(file, &position));
  is(position, 0);
  char data[100] = {1};
  is(write_bytes(__LINE__, file, data, 100), 100);
  ok(fd_tell(file, &position));
  is(position, 100);
  is(seek(file, -50, CUR), 50);
  is(seek(file, 0, SET), 0);
  is(seek(file, 1000, CUR), 1000);
  is(stat_fd(file).size, 100);
  position = 7;
  is(fd_seek(file, -2000, CUR, &position), INVAL);
  is(fd_seek(file, -1, SET, &position), INVAL);
  is(fd_seek(file, -101, END, &position), INVAL);
  ends(fd_seek(file, 0, 3, &position), INVAL, "a whence that does not exist is an error");
  is(position, 7);
  ok(fd_tell(file, &position));
  is(position, 1000);
  is(strlen(read_bytes(__LINE__, file, 1)), 0);
  is(seek(file, -100, END), 0);
  is(strlen(read_bytes(__LINE__, file, 60)), 1);
  is(seek(file, 0, CUR), 60);
  is(seek(file, 0, END), 100);
  is(seek(file, INT64_C(1) << 40, SET), UINT64_C(1) << 40);
  ok(fd_tell(file, &position));
  is(position, UINT64_C(1) << 40);
  is(fd_seek(99, 0, CUR, &position), BADF);
  is(fd_tell(99, &position), BADF);
  for (fd_t stream = 0; stream < 3; stream++) {
    is(fd_seek(stream, 0, CUR, &position), SPIPE);
    is(fd_seek(stream, 0, SET, &position), SPIPE);
    is(fd_tell(stream, &position), SPIPE);
  }
}
