/* The game of life on a torus, one byte a cell. */
#include "kernel.h"

#define N 512
#define STEPS TIMES(180)
static uint8_t cells[2][N][N];

int main(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            cells[0][i][j] = random_u32(&seed) % 3 == 0;
    for (int step = 0; step < STEPS; step++) {
        uint8_t(*from)[N] = cells[step % 2], (*to)[N] = cells[1 - step % 2];
        for (int i = 0; i < N; i++) {
            const uint8_t *above = from[(i + N - 1) % N], *row = from[i], *below = from[(i + 1) % N];
            for (int j = 0; j < N; j++) {
                int left = (j + N - 1) % N, right = (j + 1) % N;
                int around = above[left] + above[j] + above[right] + row[left] + row[right] + below[left] +
                             below[j] + below[right];
                to[i][j] = around == 3 || (around == 2 && row[j]);
            }
        }
    }
    uint64_t sum = CHECKSUM;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum = checksum_u64(sum, cells[STEPS % 2][i][j]);
    return report("life", sum);
}
