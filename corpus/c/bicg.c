/* The two products of a biconjugate gradient step: s = A' r and q = A p in one loop nest. */
#include "kernel.h"

#define M 1000
#define N 900
static double a[M][N], r[M], p[N], s[N], q[M];

static void bicg(void)
{
    memset(s, 0, sizeof s);
    for (int i = 0; i < M; i++) {
        q[i] = 0;
        for (int j = 0; j < N; j++) {
            s[j] += r[i] * a[i][j];
            q[i] += a[i][j] * p[j];
        }
    }
}

int main(void)
{
    fill_random(&a[0][0], M * N, 1);
    fill_random(r, M, 2);
    fill_random(p, N, 3);
    for (int round = 0; round < TIMES(320); round++) {
        bicg();
        for (int i = 0; i < M; i++)
            r[i] = q[i] * (2.0 / N);
        for (int j = 0; j < N; j++)
            p[j] = s[j] * (2.0 / M);
    }
    return report("bicg", checksum_f64s(checksum_f64s(CHECKSUM, s, N), q, M));
}
