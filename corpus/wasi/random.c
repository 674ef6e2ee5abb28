// Random bytes: as many as asked for, none beside, and never the same twice.
#include "wasi.h"

static uint8_t bytes[70000], again[64];

PROGRAM {
  ok(random_get(bytes, 0));
  is(bytes[0], 0);
  ok(random_get(bytes + 1, 64));
  is(bytes[0], 0);
  is(bytes[65], 0);
  ok(random_get(again, 64));
  holds(memcmp(bytes + 1, again, 64) != 0);
  ok(random_get(bytes, sizeof bytes));
  // Each value is expected 273 times.
  uint32_t counts[256] = {0};
  for (uint32_t i = 0; i < sizeof bytes; i++) counts[bytes[i]]++;
  for (int i = 0; i < 256; i++) holds(counts[i] > 100 && counts[i] < 600);
}
