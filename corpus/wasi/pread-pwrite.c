// Reading and writing at offsets: the descriptor's own offset stays, lists of buffers, ends, holes, append.
#include "wasi.h"

static uint32_t put(fd_t fd, const char *text, uint64_t offset) {
  buffer_t buffer = {text, strlen(text)};
  uint32_t size = 99;
  ok(fd_pwrite(fd, &buffer, 1, offset, &size));
  return size;
}

PROGRAM {
  fd_t file = open_with("file", CREAT, R_READ | R_SEEK | R_WRITE | R_TELL | R_FILESTAT_GET, 0);
  is(put(file, "abcdef", 4), 6);
  is(put(file, "0123", 0), 4);
  is(seek(file, 3, SET), 3);
  char bytes[8];
  memset(bytes, '!', 8);
  buffer_t places[] = {{bytes, 2}, {bytes + 2, 0}, {bytes + 3, 5}};
  uint32_t size;
  ok(fd_pread(file, places, 3, 5, &size));
  holds(size == 2 || size == 5);
  is(memcmp(bytes, size == 5 ? "bc!def!!" : "bc!!!!!!", 8), 0);
  ok(fd_pread(file, places + 2, 1, 9, &size));
  is(size, 1);
  is(bytes[3], 'f');
  ok(fd_pread(file, places, 3, 10, &size));
  is(size, 0);
  ok(fd_pread(file, places, 3, 1 << 20, &size));
  is(size, 0);
  ok(fd_pread(file, places, 0, 0, &size));
  is(size, 0);
  is(seek(file, 0, CUR), 3);
  read_is(file, 9, "3abcdef");
  buffer_t parts[] = {{"", 0}, {"XY", 2}, {"Z", 1}};
  ok(fd_pwrite(file, parts, 3, 0, &size));
  holds(size == 2 || size == 3);
  if (size == 2) is(put(file, "Z", 2), 1);
  is(put(file, "", 100), 0);
  ok(fd_pwrite(file, parts, 0, 100, &size));
  is(size, 0);
  is(stat_fd(file).size, 10);
  is(put(file, "end", 12), 3);
  is(stat_fd(file).size, 15);
  is(seek(file, 0, CUR), 10);
  is(seek(file, 0, SET), 0);
  read_is(file, 10, "XYZ3abcdef");
  is(fd_pread(file, places, 3, UINT64_C(1) << 63, &size), INVAL);
  is(fd_pwrite(file, parts, 3, UINT64_C(1) << 63, &size), INVAL);
  is(fd_pread(99, places, 3, 0, &size), BADF);
  is(fd_pwrite(99, parts, 3, 0, &size), BADF);
  fd_t writer = open_with("file", 0, R_WRITE | R_SEEK, 0), reader = open_with("file", 0, R_READ | R_SEEK, 0);
  is(fd_pread(writer, places, 3, 0, &size), BADF);
  is(fd_pwrite(reader, parts, 3, 0, &size), BADF);
  // Streams have no offsets.
  is(fd_pread(0, places, 3, 0, &size), SPIPE);
  is(fd_pwrite(1, parts, 3, 0, &size), SPIPE);
}
