/* Multiresolution analysis: each vector of a three-dimensional array times one matrix, in place. */
#include "kernel.h"

#define R 60
#define Q 56
#define P 72
static double a[R][Q][P], matrix[P][P], row[P];

static void doitgen(void)
{
    for (int r = 0; r < R; r++)
        for (int q = 0; q < Q; q++) {
            for (int p = 0; p < P; p++) {
                row[p] = 0;
                for (int s = 0; s < P; s++)
                    row[p] += a[r][q][s] * matrix[s][p];
            }
            for (int p = 0; p < P; p++)
                a[r][q][p] = row[p];
        }
}

int main(void)
{
    fill_random(&a[0][0][0], R * Q * P, 1);
    fill_random(&matrix[0][0], P * P, 2);
    for (int i = 0; i < P * P; i++)
        (&matrix[0][0])[i] *= 2.0 / P;
    for (int round = 0; round < TIMES(16); round++)
        doitgen();
    return report("doitgen", checksum_f64s(CHECKSUM, &a[0][0][0], R * Q * P));
}
