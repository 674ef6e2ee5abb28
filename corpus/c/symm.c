/* Product with a symmetric matrix of which the lower triangle is stored: C = alpha A B + beta C. */
#include "kernel.h"

#define M 300
#define N 320
static double a[M][M], b[M][N], c[M][N];

static void symm(double alpha, double beta)
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double above = 0;
            for (int k = 0; k < i; k++) {
                c[k][j] += alpha * b[i][j] * a[i][k];
                above += b[k][j] * a[i][k];
            }
            c[i][j] = beta * c[i][j] + alpha * b[i][j] * a[i][i] + alpha * above;
        }
}

int main(void)
{
    fill_random(&a[0][0], M * M, 1);
    fill_random(&b[0][0], M * N, 2);
    fill_random(&c[0][0], M * N, 3);
    for (int round = 0; round < TIMES(10); round++)
        symm(1.5 / M, 0.5);
    return report("symm", checksum_f64s(CHECKSUM, &c[0][0], M * N));
}
