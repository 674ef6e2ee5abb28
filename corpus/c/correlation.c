/* Correlation matrix of columns of data. */
#include "kernel.h"

#include <math.h>

#define M 300
#define N 340
static double data[N][M], corr[M][M], mean[M], deviation[M];

static void correlation(void)
{
    for (int j = 0; j < M; j++) {
        mean[j] = 0;
        for (int i = 0; i < N; i++)
            mean[j] += data[i][j];
        mean[j] /= N;
        deviation[j] = 0;
        for (int i = 0; i < N; i++)
            deviation[j] += (data[i][j] - mean[j]) * (data[i][j] - mean[j]);
        deviation[j] = sqrt(deviation[j] / N);
        if (deviation[j] <= 0.1)
            deviation[j] = 1;
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++)
            data[i][j] = (data[i][j] - mean[j]) / (sqrt((double)N) * deviation[j]);
    for (int i = 0; i < M; i++) {
        corr[i][i] = 1;
        for (int j = i + 1; j < M; j++) {
            corr[i][j] = 0;
            for (int k = 0; k < N; k++)
                corr[i][j] += data[k][i] * data[k][j];
            corr[j][i] = corr[i][j];
        }
    }
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (uint32_t round = 1; round <= TIMES(14); round++) {
        fill_random(&data[0][0], N * M, round);
        correlation();
        sum = checksum_f64s(sum, &corr[0][0], M * M);
    }
    return report("correlation", sum);
}
