/* Product with a unit lower triangular matrix, transposed, in place: B = alpha A' B. */
#include "kernel.h"

#define M 360
#define N 320
static double a[M][M], b[M][N];

static void trmm(double alpha)
{
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            for (int k = i + 1; k < M; k++)
                b[i][j] += a[k][i] * b[k][j];
            b[i][j] *= alpha;
        }
}

int main(void)
{
    fill_random(&a[0][0], M * M, 1);
    fill_random(&b[0][0], M * N, 2);
    for (int round = 0; round < TIMES(12); round++)
        trmm(0.01);
    return report("trmm", checksum_f64s(CHECKSUM, &b[0][0], M * N));
}
