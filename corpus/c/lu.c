/* LU decomposition without pivoting, in place. */
#include "kernel.h"

#define N 380
static double original[N][N], a[N][N];

static void lu(void)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < i; j++) {
            for (int k = 0; k < j; k++)
                a[i][j] -= a[i][k] * a[k][j];
            a[i][j] /= a[j][j];
        }
        for (int j = i; j < N; j++)
            for (int k = 0; k < i; k++)
                a[i][j] -= a[i][k] * a[k][j];
    }
}

int main(void)
{
    fill_random(&original[0][0], N * N, 1);
    for (int i = 0; i < N; i++)
        original[i][i] += N;
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(14); round++) {
        memcpy(a, original, sizeof a);
        a[round][round] += 1;
        lu();
        sum = checksum_f64s(sum, &a[0][0], N * N);
    }
    return report("lu", sum);
}
