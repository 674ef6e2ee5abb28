// Conway's Game of Life on a torus of 2048 x 2048 cells, a byte each, in two boards of 4 MiB.
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 2048, MASK = SIZE - 1 };
static unsigned char boards[2][SIZE][SIZE];

int main(void) {
  unsigned seed = 1;
  for (int y = 0; y < SIZE; y++)
    for (int x = 0; x < SIZE; x++) boards[0][y][x] = (seed = seed * 1103515245 + 12345) >> 30 == 0;
  for (int generation = 0;; generation++) {
    unsigned char (*now)[SIZE] = boards[generation & 1], (*next)[SIZE] = boards[~generation & 1];
    long alive = 0;
    for (int y = 0; y < SIZE; y++) {
      unsigned char *above = now[(y - 1) & MASK], *row = now[y], *below = now[(y + 1) & MASK];
      for (int x = 0; x < SIZE; x++) {
        int left = (x - 1) & MASK, right = (x + 1) & MASK;
        int around = above[left] + above[x] + above[right] + row[left] + row[right] + below[left] + below[x] + below[right];
        alive += next[y][x] = around == 3 || (around == 2 && row[x]);
      }
    }
    printf("%d %ld\n", generation, alive);
    fflush(stdout);
  }
}
