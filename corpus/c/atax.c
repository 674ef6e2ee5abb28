/* y = A' (A x): one pass over the matrix by rows. */
#include "kernel.h"

#define M 900
#define N 1000
static double a[M][N], x[N], y[N];

static void atax(void)
{
    for (int j = 0; j < N; j++)
        y[j] = 0;
    for (int i = 0; i < M; i++) {
        double row = 0;
        for (int j = 0; j < N; j++)
            row += a[i][j] * x[j];
        for (int j = 0; j < N; j++)
            y[j] += a[i][j] * row;
    }
}

int main(void)
{
    fill_random(&a[0][0], M * N, 1);
    fill_random(x, N, 2);
    for (int round = 0; round < TIMES(200); round++) {
        atax();
        for (int j = 0; j < N; j++)
            x[j] = y[j] / (M * N / 4.0);
    }
    return report("atax", checksum_f64s(CHECKSUM, y, N));
}
