// Long lists of buffers and long buffers: whatever part is taken at once, everything arrives in the end.
#include "wasi.h"

enum { COUNT = 100, SIZE = 150000 };

static uint8_t data[SIZE], back[SIZE];

PROGRAM {
  for (uint32_t i = 0; i < SIZE; i++) data[i] = i * i / 7 + i;
  fd_t file = open_file("file", CREAT);
  buffer_t list[COUNT];
  uint32_t at = 0, size;
  while (at < 4950) {
    uint32_t from = at;
    for (int i = 0; i < COUNT; i++) {
      uint32_t part = i % 5;
      if (from + part > 4950) part = 4950 - from;
      list[i] = (buffer_t){data + from, part};
      from += part;
    }
    ok(fd_write(file, list, COUNT, &size));
    holds(size > 0 && size <= from - at);
    at += size;
  }
  while (at < SIZE) at += write_bytes(__LINE__, file, data + at, SIZE - at);
  is(stat_fd(file).size, SIZE);
  is(seek(file, 0, SET), 0);
  for (at = 0; at < SIZE;) {
    for (int i = 0; i < COUNT; i++) {
      uint32_t from = at + i * 37;
      list[i] = (buffer_t){back + (from < SIZE ? from : 0), from + 37 <= SIZE ? 37 : from < SIZE ? SIZE - from : 0};
    }
    ok(fd_read(file, list, COUNT, &size));
    holds(size > 0);
    at += size;
  }
  is(memcmp(data, back, SIZE), 0);
}
