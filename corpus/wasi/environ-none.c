// Without variables there are none, whatever the host's environment; nor are there arguments but the name, nor
// directories.
//@ dirs = []
#include "wasi.h"

PROGRAM {
  uint32_t count = 9, size = 9;
  ok(environ_sizes_get(&count, &size));
  is(count, 0);
  is(size, 0);
  char *pointers[1] = {OUTSIDE}, byte = '!';
  ok(environ_get(pointers, &byte));
  holds(pointers[0] == OUTSIDE);
  is(byte, '!');
  ok(args_sizes_get(&count, &size));
  is(count, 1);
  is(size, sizeof "environ-none.wasm");
  prestat_t prestat;
  is(fd_prestat_get(3, &prestat), BADF);
  is(fd_close(3), BADF);
}
