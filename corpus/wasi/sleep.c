// One long sleep and many short ones: they end at their deadlines, however often the program moves meanwhile.
//@ interrupt = true
#include "wasi.h"

#define MS UINT64_C(1000000)

static uint64_t now(void) {
  uint64_t time;
  ok(clock_time_get(MONOTONIC, 0, &time));
  return time;
}

static void sleep_for(uint64_t time) {
  const subscription_t wait = {1, ON_CLOCK, .clock = {MONOTONIC, time, 0, 0}};
  event_t event;
  uint32_t count = 0;
  ok(poll_oneoff(&wait, &event, 1, &count));
  is(count, 1);
  is(event.error, OK);
}

PROGRAM {
  uint64_t began = now();
  sleep_for(120 * MS);
  uint64_t slept = now() - began;
  holds(slept >= 119 * MS);
  // Were it begun anew at each stop, it would never end under a stop every few milliseconds.
  holds(slept < 60000 * MS);
  for (int i = 0; i < 20; i++) sleep_for(2 * MS);
  holds(now() >= began + 159 * MS);
}
