/* Dense matrix product: C = alpha A B + beta C. */
#include "kernel.h"

#define N 420
static double a[N][N], b[N][N], c[N][N];

static void gemm(double alpha, double beta)
{
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            c[i][j] *= beta;
        for (int k = 0; k < N; k++)
            for (int j = 0; j < N; j++)
                c[i][j] += alpha * a[i][k] * b[k][j];
    }
}

int main(void)
{
    fill_random(&a[0][0], N * N, 1);
    fill_random(&b[0][0], N * N, 2);
    fill_random(&c[0][0], N * N, 3);
    for (int round = 0; round < TIMES(8); round++)
        gemm(1.5 / N, 0.5);
    return report("gemm", checksum_f64s(CHECKSUM, &c[0][0], N * N));
}
