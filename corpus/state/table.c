// A hash table of 128 MiB that is filled at random and looked up ever after.
#include <stdio.h>
#include <stdlib.h>

enum { SLOTS = 1 << 23 };
struct slot { unsigned long long key, value; };

int main(void) {
  struct slot *slots = calloc(SLOTS, sizeof *slots);
  if (!slots) return 1;
  unsigned long long state = 88172645463325252ull, found = 0;
  for (long round = 0;; round++) {
    for (int i = 0; i < 200000; i++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      struct slot *slot = &slots[state % SLOTS];
      if (round < 100) slot->key = state, slot->value += round + 1;
      else found += slot->key + slot->value;
    }
    if (round % 10 == 9) printf("%ld %llx\n", round, found), fflush(stdout);
  }
}
