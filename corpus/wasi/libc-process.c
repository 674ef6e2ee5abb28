// A C program's surroundings: arguments, environment, standard streams, time, sleep, randomness, functions at exit.
//@ libc = true
//@ args = ["one", "two words"]
//@ env = [["NAME", "value"], ["EMPTY", ""]]
//@ stdin = "12 34\nrest"
//@ stdout = "libc-process.wasm one two words\nvalue  46\nrest\nat exit\n"
//@ exit_code = 17
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static void at_exit(void) { puts("at exit"); }

int main(int argc, char **argv) {
  assert(argc == 3 && argv[3] == NULL);
  printf("%s %s %s\n", argv[0], argv[1], argv[2]);
  assert(getenv("PATH") == NULL);
  int a, b;
  assert(scanf("%d %d\n", &a, &b) == 2);
  printf("%s %s %d\n", getenv("NAME"), getenv("EMPTY"), a + b);
  char line[16];
  assert(fgets(line, sizeof line, stdin) && feof(stdin));
  puts(line);
  struct timespec before, after, pause = {0, 5000000};
  assert(clock_gettime(CLOCK_MONOTONIC, &before) == 0 && clock_getres(CLOCK_MONOTONIC, &after) == 0);
  assert(nanosleep(&pause, NULL) == 0);
  assert(clock_gettime(CLOCK_MONOTONIC, &after) == 0);
  assert((after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec >= 5000000);
  assert(time(NULL) > 1700000000);
  struct pollfd output = {1, POLLOUT, 0};
  assert(poll(&output, 1, 1000) == 1 && output.revents & POLLOUT);
  unsigned char random[2][16];
  assert(getentropy(random[0], 16) == 0 && getentropy(random[1], 16) == 0 && memcmp(random[0], random[1], 16));
  atexit(at_exit);
  exit(17);
}
