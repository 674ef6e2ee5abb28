/* Folding of a random RNA sequence by dynamic programming: most pairs without crossing. */
#include "kernel.h"

#define N SIZE(1200, 350)
static int32_t table[N][N];
static uint8_t base[N];

static int32_t max(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

int main(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < N; i++)
        base[i] = random_u32(&seed) % 4;
    for (int i = N - 1; i >= 0; i--)
        for (int j = i + 1; j < N; j++) {
            int32_t best = max(table[i][j - 1], i + 1 < N ? table[i + 1][j] : 0);
            if (i < j - 1)
                best = max(best, table[i + 1][j - 1] + (base[i] + base[j] == 3));
            for (int k = i + 1; k < j; k++)
                best = max(best, table[i][k] + table[k + 1][j]);
            table[i][j] = best;
        }
    uint64_t sum = CHECKSUM;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum = checksum_u64(sum, (uint64_t)table[i][j]);
    return report("nussinov", sum);
}
