/* Largest singular value of an infinite matrix, cut off, by power iteration; entries are computed, not stored. */
#include "kernel.h"

#define N 700
static double u[N], v[N], half[N];

static double entry(int i, int j)
{
    return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1);
}

static void multiply(double *out, const double *in)
{
    for (int i = 0; i < N; i++) {
        out[i] = 0;
        for (int j = 0; j < N; j++)
            out[i] += entry(i, j) * in[j];
    }
}

static void multiply_transposed(double *out, const double *in)
{
    for (int i = 0; i < N; i++) {
        out[i] = 0;
        for (int j = 0; j < N; j++)
            out[i] += entry(j, i) * in[j];
    }
}

int main(void)
{
    for (int i = 0; i < N; i++)
        u[i] = 1;
    for (int round = 0; round < TIMES(100); round++) {
        multiply(half, u);
        multiply_transposed(v, half);
        multiply(half, v);
        multiply_transposed(u, half);
    }
    return report("spectral-norm", checksum_f64s(checksum_f64s(CHECKSUM, u, N), v, N));
}
