// Standard input, read in pieces to its end, and echoed.
//@ stdin = "first line\nsecond\n\nlast without end"
//@ stdout = "first line\nsecond\n\nlast without end"
#include "wasi.h"

PROGRAM {
  char bytes[7];
  uint32_t size, total = 0;
  for (uint32_t wanted = 1;; wanted = wanted % 7 + 1) {
    buffer_t buffer = {bytes, wanted};
    ok(fd_read(0, &buffer, 1, &size));
    holds(size <= wanted);
    if (!size) break;
    total += size;
    is(write_bytes(__LINE__, 1, bytes, size), size);
  }
  is(total, 35);
  // The end stays the end.
  buffer_t buffer = {bytes, 7};
  ok(fd_read(0, &buffer, 1, &size));
  is(size, 0);
  is(write_error(0), BADF);
  is(read_error(1), BADF);
  is(read_error(2), BADF);
}
