// Arguments: their number, their bytes, and pointers to them; the program's name comes first.
//@ args = ["first", "the \"second\" arg", "", "zwölf\n"]
#include "wasi.h"

static const char expected[] = "args.wasm\0first\0the \"second\" arg\0\0zw\xc3\xb6lf\n";

PROGRAM {
  uint32_t count, size;
  ok(args_sizes_get(&count, &size));
  is(count, 5);
  is(size, sizeof expected);
  char *pointers[6] = {[5] = OUTSIDE}, bytes[sizeof expected + 1];
  bytes[sizeof expected] = '!';
  ok(args_get(pointers, bytes));
  is(memcmp(bytes, expected, sizeof expected), 0);
  is(bytes[sizeof expected], '!');
  holds(pointers[5] == OUTSIDE);
  const char *at = bytes;
  for (int i = 0; i < 5; i++) {
    holds(pointers[i] == at);
    at += strlen(at) + 1;
  }
  // They are the same however often they are asked for.
  ok(args_get(pointers, bytes));
  is(memcmp(bytes, expected, sizeof expected), 0);
  is(strcmp(pointers[2], "the \"second\" arg"), 0);
}
