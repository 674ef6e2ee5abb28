// Environment: names and values in the order in which they were given, with `=` and newlines in values.
//@ env = [["a", "text"], ["b", "escap \" ing"], ["c", "new\nline"], ["EMPTY", ""], ["equals", "x=y=z"]]
#include "wasi.h"

static const char expected[] = "a=text\0b=escap \" ing\0c=new\nline\0EMPTY=\0equals=x=y=z";

PROGRAM {
  uint32_t count, size;
  ok(environ_sizes_get(&count, &size));
  is(count, 5);
  is(size, sizeof expected);
  char *pointers[5], bytes[sizeof expected];
  ok(environ_get(pointers, bytes));
  is(memcmp(bytes, expected, sizeof expected), 0);
  const char *at = bytes;
  for (int i = 0; i < 5; i++) {
    holds(pointers[i] == at);
    at += strlen(at) + 1;
  }
}
