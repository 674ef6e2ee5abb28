// Standard output and error: every byte once and in order, in pieces of all sizes, through lists of buffers.
//@ stdout = "0123456789abcdefghij0112223333444445555556666666777777778888888889999999999-one-two-three-\n\u0000binary\u00ff-end\n"
#include "wasi.h"

PROGRAM {
  const char *text = "0123456789abcdefghij";
  for (int i = 0; i < 20; i++) is(write_bytes(__LINE__, 1, text + i, 1), 1);
  for (char digit = '0'; digit <= '9'; digit++) {
    char run[10];
    uint32_t length = digit - '0' + 1;
    memset(run, digit, sizeof run);
    is(write_bytes(__LINE__, 1, run, length), length);
  }
  buffer_t parts[] = {{"-one", 4}, {"", 0}, {"-two", 4}, {"-three-\n", 8}};
  uint32_t size = 0, done = 0;
  while (done < 16) {
    ok(fd_write(1, parts, 4, &size));
    holds(size > 0);
    done += size;
    for (int i = 0; i < 4; i++) {
      uint32_t part = size < parts[i].size ? size : parts[i].size;
      parts[i].data = (const char *)parts[i].data + part;
      parts[i].size -= part;
      size -= part;
    }
  }
  is(write_bytes(__LINE__, 1, "\0binary\xc3\xbf-end\n", 14), 14);
  say("to standard error\n");
  is(write_bytes(__LINE__, 1, "", 0), 0);
}
