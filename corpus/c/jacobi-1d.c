/* Three-point averaging on a line, between two arrays. */
#include "kernel.h"

#define N 20000
#define STEPS TIMES(9000)
static double a[N], b[N];

static void average(double *to, const double *from)
{
    for (int i = 1; i < N - 1; i++)
        to[i] = (from[i - 1] + from[i] + from[i + 1]) / 3;
}

int main(void)
{
    fill_random(a, N, 1);
    memcpy(b, a, sizeof b);
    for (int step = 0; step < STEPS; step++) {
        average(b, a);
        average(a, b);
    }
    return report("jacobi-1d", checksum_f64s(CHECKSUM, a, N));
}
