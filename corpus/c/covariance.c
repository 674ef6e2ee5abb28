/* Covariance matrix of columns of data. */
#include "kernel.h"

#define M 340
#define N 400
static double data[N][M], cov[M][M], mean[M];

static void covariance(void)
{
    for (int j = 0; j < M; j++) {
        mean[j] = 0;
        for (int i = 0; i < N; i++)
            mean[j] += data[i][j];
        mean[j] /= N;
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < M; j++)
            data[i][j] -= mean[j];
    for (int i = 0; i < M; i++)
        for (int j = i; j < M; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += data[k][i] * data[k][j];
            cov[i][j] = cov[j][i] = sum / (N - 1);
        }
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (uint32_t round = 1; round <= TIMES(12); round++) {
        fill_random(&data[0][0], N * M, round);
        covariance();
        sum = checksum_f64s(sum, &cov[0][0], M * M);
    }
    return report("covariance", sum);
}
