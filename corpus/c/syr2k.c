/* Symmetric rank-2k update of the lower triangle: C = alpha A B' + alpha B A' + beta C. */
#include "kernel.h"

#define N 300
#define M 260
static double a[N][M], b[N][M], c[N][N];

static void syr2k(double alpha, double beta)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j <= i; j++)
            c[i][j] *= beta;
        for (int k = 0; k < M; k++)
            for (int j = 0; j <= i; j++)
                c[i][j] += a[j][k] * alpha * b[i][k] + b[j][k] * alpha * a[i][k];
    }
}

int main(void)
{
    fill_random(&a[0][0], N * M, 1);
    fill_random(&b[0][0], N * M, 2);
    fill_random(&c[0][0], N * N, 3);
    for (int round = 0; round < TIMES(14); round++)
        syr2k(1.0 / M, 0.5);
    return report("syr2k", checksum_f64s(CHECKSUM, &c[0][0], N * N));
}
