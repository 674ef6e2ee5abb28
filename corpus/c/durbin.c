/* Levinson-Durbin recursion for a Toeplitz system. */
#include "kernel.h"

#define N 2000
static double r[N], y[N], next[N];

static void durbin(void)
{
    y[0] = -r[0];
    double beta = 1, alpha = -r[0];
    for (int k = 1; k < N; k++) {
        beta *= 1 - alpha * alpha;
        double sum = 0;
        for (int i = 0; i < k; i++)
            sum += r[k - i - 1] * y[i];
        alpha = -(r[k] + sum) / beta;
        for (int i = 0; i < k; i++)
            next[i] = y[i] + alpha * y[k - i - 1];
        for (int i = 0; i < k; i++)
            y[i] = next[i];
        y[k] = alpha;
    }
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (int round = 1; round <= TIMES(70); round++) {
        for (int i = 0; i < N; i++)
            r[i] = 1.0 / (2 + i + round);
        durbin();
        sum = checksum_f64s(sum, y, N);
    }
    return report("durbin", sum);
}
