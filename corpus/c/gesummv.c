/* Sum of two matrix-vector products: y = alpha A x + beta B x. */
#include "kernel.h"

#define N 900
static double a[N][N], b[N][N], x[N], y[N];

static void gesummv(double alpha, double beta)
{
    for (int i = 0; i < N; i++) {
        double from_a = 0, from_b = 0;
        for (int j = 0; j < N; j++) {
            from_a += a[i][j] * x[j];
            from_b += b[i][j] * x[j];
        }
        y[i] = alpha * from_a + beta * from_b;
    }
}

int main(void)
{
    fill_random(&a[0][0], N * N, 1);
    fill_random(&b[0][0], N * N, 2);
    fill_random(x, N, 3);
    for (int round = 0; round < TIMES(250); round++) {
        gesummv(1.5, 0.5);
        for (int i = 0; i < N; i++)
            x[i] = y[i] / N;
    }
    return report("gesummv", checksum_f64s(CHECKSUM, y, N));
}
