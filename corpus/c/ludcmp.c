/* A system of linear equations by LU decomposition, forward and back substitution. */
#include "kernel.h"

#define N 360
static double a[N][N], b[N], x[N], y[N];

static void ludcmp(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            double value = a[i][j];
            for (int k = 0; k < j; k++)
                value -= a[i][k] * a[k][j];
            a[i][j] = value / a[j][j];
        }
        for (int j = i; j < N; j++) {
            double value = a[i][j];
            for (int k = 0; k < i; k++)
                value -= a[i][k] * a[k][j];
            a[i][j] = value;
        }
    }
    for (int i = 0; i < N; i++) {
        double value = b[i];
        for (int j = 0; j < i; j++)
            value -= a[i][j] * y[j];
        y[i] = value;
    }
    for (int i = N - 1; i >= 0; i--) {
        double value = y[i];
        for (int j = i + 1; j < N; j++)
            value -= a[i][j] * x[j];
        x[i] = value / a[i][i];
    }
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (uint32_t round = 1; round <= TIMES(12); round++) {
        fill_random(&a[0][0], N * N, round);
        fill_random(b, N, round + 100);
        for (int i = 0; i < N; i++)
            a[i][i] += N;
        ludcmp();
        sum = checksum_f64s(sum, x, N);
    }
    return report("ludcmp", sum);
}
