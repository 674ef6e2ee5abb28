// Clocks: the monotonic one never goes back, the realtime one is that of our century, CPU clocks only grow.
#include "wasi.h"

static uint64_t now(uint32_t clock, uint64_t precision) {
  uint64_t time = 0;
  ok(clock_time_get(clock, precision, &time));
  return time;
}

PROGRAM {
  uint64_t resolution = 0;
  for (uint32_t clock = REALTIME; clock <= MONOTONIC; clock++) {
    ok(clock_res_get(clock, &resolution));
    holds(resolution > 0 && resolution <= 1000000000);
  }
  for (uint32_t clock = PROCESS_CPU; clock <= THREAD_CPU; clock++) {
    differs(clock_res_get(clock, &resolution), OK, BADF, "CPU clocks exist");
    differs(clock_time_get(clock, 0, &resolution), OK, BADF, "CPU clocks exist");
  }
  ends(clock_res_get(4, &resolution), INVAL, "a clock that does not exist is an error");
  ends(clock_time_get(4, 0, &resolution), INVAL, "a clock that does not exist is an error");
  ends(clock_time_get(0xffffffff, 0, &resolution), INVAL, "a clock that does not exist is an error");
  uint64_t last = 0, first = now(MONOTONIC, 1);
  uint64_t cpu = is_oracle() ? 0 : now(PROCESS_CPU, 0);
  for (int i = 0; i < 20; i++) {
    uint64_t time = now(MONOTONIC, i % 2 ? 1000000 : 0);
    holds(time > last);
    last = time;
  }
  holds(last > first);
  uint64_t wall = now(REALTIME, 0);
  // 2024 to 2100.
  holds(wall > UINT64_C(1704067200000000000) && wall < UINT64_C(4102444800000000000));
  // The clocks agree about how long a while is, a move included: within two seconds, should someone set the clock.
  uint64_t between = now(MONOTONIC, 0) - last, wall_between = now(REALTIME, 0) - wall;
  holds(wall_between < between + 2000000000);
  if (!is_oracle()) holds(now(PROCESS_CPU, 0) >= cpu);
}
