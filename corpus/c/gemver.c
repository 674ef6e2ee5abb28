/* Rank-2 update of a matrix, and products of it and its transpose with vectors. */
#include "kernel.h"

#define N 900
static double a[N][N], u1[N], v1[N], u2[N], v2[N], w[N], x[N], y[N], z[N];

static void gemver(double alpha, double beta)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i][j] += u1[i] * v1[j] + u2[i] * v2[j];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            x[i] += beta * a[j][i] * y[j];
    for (int i = 0; i < N; i++)
        x[i] += z[i];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            w[i] += alpha * a[i][j] * x[j];
}

int main(void)
{
    double *const vectors[] = {u1, v1, u2, v2, y, z};
    fill_random(&a[0][0], N * N, 1);
    for (uint32_t i = 0; i < 6; i++)
        fill_random(vectors[i], N, 2 + i);
    for (int round = 0; round < TIMES(60); round++) {
        gemver(1.5 / N, 1.2 / N);
        for (int i = 0; i < N; i++)
            x[i] = w[i] / N;
    }
    return report("gemver", checksum_f64s(CHECKSUM, w, N));
}
