/* Two dense matrix products in a row: D = (alpha A B) C + beta D, in dot-product order. */
#include "kernel.h"

#define N 260
static double a[N][N], b[N][N], c[N][N], d[N][N], ab[N][N];

static void two_products(double alpha, double beta)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            ab[i][j] = 0;
            for (int k = 0; k < N; k++)
                ab[i][j] += alpha * a[i][k] * b[k][j];
        }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            d[i][j] *= beta;
            for (int k = 0; k < N; k++)
                d[i][j] += ab[i][k] * c[k][j];
        }
}

int main(void)
{
    fill_random(&a[0][0], N * N, 1);
    fill_random(&b[0][0], N * N, 2);
    fill_random(&c[0][0], N * N, 3);
    fill_random(&d[0][0], N * N, 4);
    for (int round = 0; round < TIMES(12); round++)
        two_products(1.0 / N, 0.25);
    return report("2mm", checksum_f64s(CHECKSUM, &d[0][0], N * N));
}
