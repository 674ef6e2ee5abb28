// Waiting for descriptors: files and streams that are ready, bad ones, and a timeout beside them.
#include "wasi.h"

PROGRAM {
  fd_t file = open_file("file", CREAT);
  write_text(file, "abcdef");
  is(seek(file, 2, SET), 2);
  event_t events[4];
  uint32_t count = 0;
  // A timeout that never comes.
  const subscription_t never = {9, ON_CLOCK, .clock = {MONOTONIC, UINT64_C(1) << 60, 0, 0}};
  const subscription_t reads[] = {never, {1, ON_READ, .fd = file}};
  ok(poll_oneoff(reads, events, 2, &count));
  is(count, 1);
  is(events[0].userdata, 1);
  is(events[0].error, OK);
  is(events[0].kind, ON_READ);
  differs(events[0].bytes, 4, 1, "how many bytes are left is known");
  const subscription_t writes[] = {{2, ON_WRITE, .fd = file}, {3, ON_WRITE, .fd = 1}, {4, ON_WRITE, .fd = 2}, never};
  ok(poll_oneoff(writes, events, 4, &count));
  holds(count >= 1 && count <= 3);
  for (uint32_t i = 0; i < count; i++) {
    is(events[i].error, OK);
    is(events[i].kind, ON_WRITE);
    holds(events[i].userdata >= 2 && events[i].userdata <= 4);
  }
  if (!is_oracle()) {
    const subscription_t bad[] = {{5, ON_READ, .fd = 99}, {6, ON_WRITE, .fd = 0xffffffff}, never};
    ok(poll_oneoff(bad, events, 3, &count));
    is(count, 2);
    is(events[0].userdata, 5);
    is(events[0].error, BADF);
    is(events[1].userdata, 6);
    is(events[1].error, BADF);
    fd_t blind = open_with("file", 0, R_READ, 0);
    const subscription_t unable[] = {{7, ON_READ, .fd = blind}, never};
    ok(poll_oneoff(unable, events, 2, &count));
    is(count, 1);
    is(events[0].error, NOTCAPABLE);
  }
  // Or standard input has something, or it has not.
  const subscription_t input[] = {{8, ON_READ, .fd = 0}, {9, ON_CLOCK, .clock = {MONOTONIC, 20000000, 0, 0}}};
  ok(poll_oneoff(input, events, 2, &count));
  holds(count >= 1);
  for (uint32_t i = 0; i < count; i++) {
    is(events[i].error, OK);
    is(events[i].kind, events[i].userdata == 8 ? ON_READ : ON_CLOCK);
  }
}
