/* Three dense matrix products: G = (A B) (C D). */
#include "kernel.h"

#define N 230
typedef double matrix[N][N];
static matrix a, b, c, d, ab, cd, g;

static void product(matrix out, matrix left, matrix right)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += left[i][k] * right[k][j];
            out[i][j] = sum / N;
        }
}

int main(void)
{
    fill_random(&a[0][0], N * N, 1);
    fill_random(&b[0][0], N * N, 2);
    fill_random(&c[0][0], N * N, 3);
    fill_random(&d[0][0], N * N, 4);
    for (int round = 0; round < TIMES(10); round++) {
        product(ab, a, b);
        product(cd, c, d);
        product(g, ab, cd);
        memcpy(a, g, sizeof a);
    }
    return report("3mm", checksum_f64s(CHECKSUM, &g[0][0], N * N));
}
