// Waiting for clocks: relative and absolute, several at once, and what is over already.
#include "wasi.h"

#define MS UINT64_C(1000000)

static uint64_t now(uint32_t clock) {
  uint64_t time;
  ok(clock_time_get(clock, 0, &time));
  return time;
}

static subscription_t timer(uint64_t userdata, uint32_t id, uint64_t timeout, uint16_t flags) {
  return (subscription_t){userdata, ON_CLOCK, .clock = {id, timeout, 0, flags}};
}

PROGRAM {
  event_t events[4];
  uint32_t count = 9;
  for (uint32_t id = REALTIME; id <= MONOTONIC; id++) {
    for (uint16_t flags = 0; flags <= ABSOLUTE; flags++) {
      uint64_t began = now(MONOTONIC), base = flags ? now(id) : 0;
      const subscription_t waits[] = {timer(7, id, base + 60000 * MS, flags), timer(8, id, base + 12 * MS, flags)};
      memset(events, 0xff, sizeof events);
      ok(poll_oneoff(waits, events, 2, &count));
      is(count, 1);
      is(events[0].userdata, 8);
      is(events[0].error, OK);
      is(events[0].kind, ON_CLOCK);
      holds(now(MONOTONIC) >= began + 11 * MS);
    }
  }
  const subscription_t past[] = {timer(1, MONOTONIC, 0, ABSOLUTE), timer(2, REALTIME, 1, ABSOLUTE), timer(3, MONOTONIC, 0, 0)};
  ok(poll_oneoff(past, events, 3, &count));
  holds(count >= 1 && count <= 3);
  for (uint32_t i = 0; i < count; i++) {
    is(events[i].error, OK);
    is(events[i].kind, ON_CLOCK);
    holds(events[i].userdata >= 1 && events[i].userdata <= 3);
  }
  is(poll_oneoff(past, events, 0, &count), INVAL);
  const subscription_t unknown = timer(1, 9, 0, 0);
  if (!is_oracle()) is(poll_oneoff(&unknown, events, 1, &count), INVAL);
  const subscription_t cpu = timer(1, PROCESS_CPU, 1, 0);
  if (!is_oracle()) {
    // A guest that waits uses none of its CPU time.
    ok(poll_oneoff(&cpu, events, 1, &count));
    is(count, 1);
    is(events[0].error, NOTSUP);
  }
  const subscription_t flagged = timer(1, MONOTONIC, 0, 2);
  if (!is_oracle()) is(poll_oneoff(&flagged, events, 1, &count), INVAL);
  const subscription_t kind = {1, 3, .fd = 0};
  if (!is_oracle()) is(poll_oneoff(&kind, events, 1, &count), INVAL);
}
