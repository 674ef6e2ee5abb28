/* Symmetric rank-k update of the lower triangle: C = alpha A A' + beta C. */
#include "kernel.h"

#define N 380
#define M 320
static double a[N][M], c[N][N];

static void syrk(double alpha, double beta)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j <= i; j++)
            c[i][j] *= beta;
        for (int k = 0; k < M; k++)
            for (int j = 0; j <= i; j++)
                c[i][j] += alpha * a[i][k] * a[j][k];
    }
}

int main(void)
{
    fill_random(&a[0][0], N * M, 1);
    fill_random(&c[0][0], N * N, 2);
    for (int round = 0; round < TIMES(14); round++)
        syrk(1.0 / M, 0.5);
    return report("syrk", checksum_f64s(CHECKSUM, &c[0][0], N * N));
}
