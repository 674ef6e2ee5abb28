// Echoes its input line by line with a running checksum; it ends when that does: echo [MIB], with so much memory that it reads and
// writes at every line.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  size_t bytes = ((size_t)(argc > 1 ? atoi(argv[1]) : 1) << 20);
  unsigned char *memory = malloc(bytes);
  if (!memory) return 2;
  unsigned long long hash = 14695981039346656037ull;
  for (size_t i = 0; i < bytes; i++) memory[i] = (unsigned char)((hash = hash * 6364136223846793005ull + 1) >> 56);
  char line[256];
  long number = 0;
  while (fgets(line, sizeof line, stdin)) {
    for (char *at = line; *at; at++) hash = (hash ^ (unsigned char)*at) * 1099511628211ull;
    for (int i = 0; i < 64; i++) memory[hash * (i + 1) % bytes] += (unsigned char)hash;
    for (int i = 0; i < 64; i++) hash = (hash ^ memory[hash % bytes]) * 1099511628211ull;
    printf("%ld %016llx %s", number++, hash, line);
    fflush(stdout);
  }
  printf("all %016llx\n", hash);
  return 1 + (int)(hash % 100);
}
