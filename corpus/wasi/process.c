// Giving way, and signals, which there are none of.
#include "wasi.h"

PROGRAM {
  for (int i = 0; i < 3; i++) ok(sched_yield());
  if (!is_oracle()) {
    // wasmtime ends the program.
    for (uint32_t signal = 0; signal < 3; signal++) is(proc_raise(signal), NOTSUP);
    is(proc_raise(1000), NOTSUP);
  }
}
