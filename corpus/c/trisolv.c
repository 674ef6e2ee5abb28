/* Forward substitution with a lower triangular matrix. */
#include "kernel.h"

#define N 1000
static double l[N][N], x[N], b[N];

static void trisolv(void)
{
    for (int i = 0; i < N; i++) {
        x[i] = b[i];
        for (int j = 0; j < i; j++)
            x[i] -= l[i][j] * x[j];
        x[i] /= l[i][i];
    }
}

int main(void)
{
    fill_random(&l[0][0], N * N, 1);
    fill_random(b, N, 2);
    for (int i = 0; i < N; i++)
        l[i][i] += N;
    for (int round = 0; round < TIMES(400); round++) {
        trisolv();
        b[round % N] += x[N - 1];
    }
    return report("trisolv", checksum_f64s(CHECKSUM, x, N));
}
