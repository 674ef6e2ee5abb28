// Writes all over its memory and prints a checksum of it: checksum MIB STEPS PAUSE_US [WITNESS]. Each step writes 64 pages, pauses, and
// prints its number and the checksum of all that was read; with WITNESS, the number is appended to that file first.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned long long state = 88172645463325252ull;

static unsigned long long next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static int witness(const char *path, int step) {
  char line[16];
  int length = snprintf(line, sizeof line, "%d\n", step);
  int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
  if (file < 0 || write(file, line, length) != length) return perror(path), 0;
  return close(file) == 0;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  size_t words = ((size_t)atoi(argv[1]) << 20) / sizeof(unsigned long long);
  int steps = atoi(argv[2]), pause = atoi(argv[3]);
  unsigned long long *memory = malloc(words * sizeof *memory), sum = 0;
  if (!memory) return 3;
  for (size_t i = 0; i < words; i++) memory[i] = next() >> (i & 63);
  for (int step = 0; step < steps; step++) {
    for (int i = 0; i < 64; i++) {
      size_t at = next() % words;
      sum = (sum ^ memory[at]) * 1099511628211ull;
      memory[at] ^= sum;
    }
    if (argc > 4 && !witness(argv[4], step)) return 4;
    if (pause) usleep(pause);
    printf("%d %016llx\n", step, sum);
    fflush(stdout);
  }
  for (size_t i = 0; i < words; i++) sum = (sum ^ memory[i]) * 1099511628211ull;
  printf("all %016llx\n", sum);
  return 1 + (int)(sum % 100);
}
