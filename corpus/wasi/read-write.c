// Reading and writing through lists of buffers: empty ones, ends of files, nothing beside the buffers touched.
#include "wasi.h"

PROGRAM {
  fd_t file = open_file("file", CREAT | EXCL);
  uint32_t size = 9;
  buffer_t parts[] = {{"01", 2}, {OUTSIDE, 0}, {"234", 3}, {"", 0}, {"56789", 5}};
  // An empty buffer may be anywhere.
  ok(fd_write(file, parts, 5, &size));
  // A host may write less than everything.
  holds(size >= 2 && size <= 10);
  for (uint32_t done = size; done < 10; done++) write_text(file, ((char[]){'0' + done, 0}));
  ok(fd_write(file, parts, 0, &size));
  is(size, 0);
  ok(fd_write(file, parts + 3, 1, &size));
  is(size, 0);
  is(stat_fd(file).size, 10);

  is(seek(file, 0, SET), 0);
  char bytes[16];
  memset(bytes, '!', sizeof bytes);
  buffer_t places[] = {{bytes, 0}, {bytes + 1, 3}, {0, 0}, {bytes + 6, 4}};
  uint32_t got = 0;
  while (got < 7) {
    // Whatever a host reads at once comes in order.
    ok(fd_read(file, places, 4, &size));
    holds(size > 0);
    got += size;
    if (got < 7) {
      is(got, 3);
      places[1].size = 0;
    }
  }
  is(memcmp(bytes, "!012!!3456!!!!!!", 16), 0);
  read_is(file, 2, "78");
  read_is(file, 2, "9");
  read_is(file, 2, "");
  ok(fd_read(file, places, 0, &size));
  is(size, 0);
  places[1].size = 0;
  ok(fd_read(file, places, 2, &size));
  is(size, 0);

  // A hole is read as zeros.
  is(seek(file, 5, END), 15);
  write_text(file, "x");
  is(seek(file, 9, SET), 9);
  memset(bytes, '!', sizeof bytes);
  buffer_t hole = {bytes, sizeof bytes};
  ok(fd_read(file, &hole, 1, &size));
  is(size, 7);
  is(memcmp(bytes, "9\0\0\0\0\0x!", 8), 0);

  // The same file, opened twice, has two offsets and one content.
  fd_t other = open_file("file", 0);
  read_is(other, 3, "012");
  write_text(other, "---");
  is(seek(file, 2, SET), 2);
  read_is(file, 5, "2---6");
  is(seek(other, 0, CUR), 6);
  ok(fd_close(other));
  is(read_error(other), BADF);
  is(write_error(other), BADF);
  is(read_error(99), BADF);
  is(write_error(0xffffffff), BADF);
  is(fd_write((fd_t)-31337, 0, 0, &size), BADF);
  is(fd_read((fd_t)-31337, 0, 0, &size), BADF);
}
