/* Five-point averaging on a grid, between two arrays. */
#include "kernel.h"

#define N 500
#define STEPS TIMES(500)
static double a[N][N], b[N][N];

static void average(double to[N][N], double from[N][N])
{
    for (int i = 1; i < N - 1; i++)
        for (int j = 1; j < N - 1; j++)
            to[i][j] = 0.2 * (from[i][j] + from[i][j - 1] + from[i][j + 1] + from[i + 1][j] + from[i - 1][j]);
}

int main(void)
{
    fill_random(&a[0][0], N * N, 1);
    memcpy(b, a, sizeof b);
    for (int step = 0; step < STEPS; step++) {
        average(b, a);
        average(a, b);
    }
    return report("jacobi-2d", checksum_f64s(CHECKSUM, &a[0][0], N * N));
}
