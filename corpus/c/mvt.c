/* Matrix times vector, and transposed matrix times vector with strided access. */
#include "kernel.h"

#define N 1000
static double a[N][N], x1[N], x2[N], y1[N], y2[N];

static void mvt(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            x1[i] += a[i][j] * y1[j];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            x2[i] += a[j][i] * y2[j];
}

int main(void)
{
    fill_random(&a[0][0], N * N, 1);
    fill_random(x1, N, 2);
    fill_random(x2, N, 3);
    fill_random(y1, N, 4);
    fill_random(y2, N, 5);
    for (int round = 0; round < TIMES(160); round++)
        mvt();
    return report("mvt", checksum_f64s(checksum_f64s(CHECKSUM, x1, N), x2, N));
}
