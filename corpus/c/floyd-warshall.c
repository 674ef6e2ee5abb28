/* Shortest paths between all pairs of nodes of a random graph. */
#include "kernel.h"

#define N SIZE(600, 200)
static int32_t distance[N][N];

int main(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            distance[i][j] = random_u32(&seed) % 8 == 0 ? (int32_t)(random_u32(&seed) % 1000 + 1) : 1 << 20;
    for (int k = 0; k < N; k++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                int32_t through = distance[i][k] + distance[k][j];
                if (through < distance[i][j])
                    distance[i][j] = through;
            }
    uint64_t sum = CHECKSUM;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum = checksum_u64(sum, (uint64_t)distance[i][j]);
    return report("floyd-warshall", sum);
}
