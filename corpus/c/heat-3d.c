/* Heat equation on a cube, seven-point stencil between two arrays. */
#include "kernel.h"

#define N 64
#define STEPS TIMES(240)
static double a[N][N][N], b[N][N][N];

static void diffuse(double to[N][N][N], double from[N][N][N])
{
    for (int i = 1; i < N - 1; i++)
        for (int j = 1; j < N - 1; j++)
            for (int k = 1; k < N - 1; k++) {
                double here = from[i][j][k];
                to[i][j][k] = here + 0.125 * (from[i + 1][j][k] - 2 * here + from[i - 1][j][k]) +
                              0.125 * (from[i][j + 1][k] - 2 * here + from[i][j - 1][k]) +
                              0.125 * (from[i][j][k + 1] - 2 * here + from[i][j][k - 1]);
            }
}

int main(void)
{
    fill_random(&a[0][0][0], N * N * N, 1);
    memcpy(b, a, sizeof b);
    for (int step = 0; step < STEPS; step++) {
        diffuse(b, a);
        diffuse(a, b);
    }
    return report("heat-3d", checksum_f64s(CHECKSUM, &a[0][0][0], N * N * N));
}
