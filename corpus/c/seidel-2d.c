/* Nine-point averaging on a grid in place: every point depends on the one before it. */
#include "kernel.h"

#define N 400
#define STEPS TIMES(220)
static double a[N][N];

int main(void)
{
    fill_random(&a[0][0], N * N, 1);
    for (int step = 0; step < STEPS; step++)
        for (int i = 1; i < N - 1; i++)
            for (int j = 1; j < N - 1; j++)
                a[i][j] = (a[i - 1][j - 1] + a[i - 1][j] + a[i - 1][j + 1] + a[i][j - 1] + a[i][j] +
                           a[i][j + 1] + a[i + 1][j - 1] + a[i + 1][j] + a[i + 1][j + 1]) /
                          9;
    return report("seidel-2d", checksum_f64s(CHECKSUM, &a[0][0], N * N));
}
