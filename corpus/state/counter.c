// The smallest guest: a counter that says every so often how far it is.
#include <stdio.h>

int main(void) {
  unsigned long long count = 0;
  for (;;) {
    for (int i = 0; i < 2000000; i++) count = count * 6364136223846793005ull + 1442695040888963407ull;
    printf("%016llx\n", count);
    fflush(stdout);
  }
}
