// A WASI program that has a file open for all of its life: it appends, goes back, reads, and prints as it goes.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long long mix(unsigned long long hash, const char *text) {
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
  return hash;
}

int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 100;
  const char *path = argc > 2 ? argv[2] : "/work/log";
  FILE *file = fopen(path, "w+");
  if (!file) return perror(path), 1;
  unsigned long long hash = 14695981039346656037ull;
  for (int round = 0; round < rounds; round++) {
    char line[80];
    snprintf(line, sizeof line, "round %d of %d: %016llx %s\n", round, rounds, hash, getenv("WHO"));
    if (fseek(file, 0, SEEK_END) || fputs(line, file) < 0) return 2;
    if (fseek(file, (long)(hash % (unsigned long long)ftell(file)), SEEK_SET)) return 3;
    if (fgets(line, sizeof line, file)) hash = mix(hash, line);
    for (int i = 0; i < 50; i++) hash = mix(hash, path);
    if (round % 10 == 9) printf("%d %016llx\n", round, hash), fflush(stdout);
  }
  long length = (fseek(file, 0, SEEK_END), ftell(file));
  printf("%ld bytes, %016llx\n", length, hash);
  return fclose(file) ? 4 : 7;
}
