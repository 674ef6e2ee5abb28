/* Cholesky decomposition of a diagonally dominant symmetric matrix. */
#include "kernel.h"

#include <math.h>

#define N 600
static double original[N][N], a[N][N];

static void cholesky(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            for (int k = 0; k < j; k++)
                a[i][j] -= a[i][k] * a[j][k];
            a[i][j] /= a[j][j];
        }
        for (int k = 0; k < i; k++)
            a[i][i] -= a[i][k] * a[i][k];
        a[i][i] = sqrt(a[i][i]);
    }
}

int main(void)
{
    fill_random(&original[0][0], N * N, 1);
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++)
            original[j][i] = original[i][j];
        original[i][i] += N;
    }
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(8); round++) {
        memcpy(a, original, sizeof a);
        a[round][round] += 1;
        cholesky();
        sum = checksum_f64s(sum, &a[0][0], N * N);
    }
    return report("cholesky", sum);
}
