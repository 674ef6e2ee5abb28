/* QR decomposition by the modified Gram-Schmidt process, column by column. */
#include "kernel.h"

#include <math.h>

#define M 240
#define N 260
static double a[M][N], q[M][N], r[N][N];

static void gramschmidt(void)
{
    for (int k = 0; k < N; k++) {
        double norm = 0;
        for (int i = 0; i < M; i++)
            norm += a[i][k] * a[i][k];
        r[k][k] = sqrt(norm);
        for (int i = 0; i < M; i++)
            q[i][k] = a[i][k] / r[k][k];
        for (int j = k + 1; j < N; j++) {
            r[k][j] = 0;
            for (int i = 0; i < M; i++)
                r[k][j] += q[i][k] * a[i][j];
            for (int i = 0; i < M; i++)
                a[i][j] -= q[i][k] * r[k][j];
        }
    }
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (uint32_t round = 1; round <= TIMES(12); round++) {
        fill_random(&a[0][0], M * N, round);
        gramschmidt();
        sum = checksum_f64s(sum, &r[0][0], N * N);
    }
    return report("gramschmidt", sum);
}
