// Has a file open for all of its life: files PATH STEPS PAUSE_US. Each step appends a line, reads another one anywhere before it, and
// prints a checksum of what was read. It ends with a pass over the whole file.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned long long mix(unsigned long long hash, const char *text) {
  for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 1099511628211ull;
  return hash;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  int steps = atoi(argv[2]), pause = atoi(argv[3]);
  FILE *file = fopen(argv[1], "w+");
  if (!file) return perror(argv[1]), 3;
  unsigned long long hash = 14695981039346656037ull;
  char line[80];
  for (int step = 0; step < steps; step++) {
    if (fseek(file, 0, SEEK_END) || fprintf(file, "step %d of %d: %016llx\n", step, steps, hash) < 0) return 4;
    if (fseek(file, (long)(hash % (unsigned long long)ftell(file)), SEEK_SET)) return 5;
    if (fgets(line, sizeof line, file)) hash = mix(hash, line);
    if (pause) usleep(pause);
    printf("%d %016llx\n", step, hash);
    fflush(stdout);
  }
  rewind(file);
  while (fgets(line, sizeof line, file)) hash = mix(hash, line);
  printf("all %016llx\n", hash);
  return fclose(file) ? 6 : 1 + (int)(hash % 100);
}
