/* Alternating direction implicit method for the heat equation: tridiagonal systems along columns, then along rows. */
#include "kernel.h"

#define N 220
#define STEPS TIMES(150)
static double u[N][N], v[N][N], p[N][N], q[N][N];

static void sweep(double to[N][N], double from[N][N], double a, double b, double c, double d)
{
    for (int i = 1; i < N - 1; i++) {
        to[0][i] = 1;
        p[i][0] = 0;
        q[i][0] = to[0][i];
        for (int j = 1; j < N - 1; j++) {
            p[i][j] = -c / (a * p[i][j - 1] + b);
            q[i][j] = (-d * from[j][i - 1] + (1 + 2 * d) * from[j][i] - d * from[j][i + 1] - a * q[i][j - 1]) /
                      (a * p[i][j - 1] + b);
        }
        to[N - 1][i] = 1;
        for (int j = N - 2; j >= 1; j--)
            to[j][i] = p[i][j] * to[j + 1][i] + q[i][j];
    }
}

static void turn(double to[N][N], double from[N][N])
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            to[i][j] = from[j][i];
}

int main(void)
{
    double dx = 1.0 / N, dt = 1.0 / 100;
    double mul1 = 2 * dt / (dx * dx), mul2 = dt / (dx * dx);
    fill_random(&u[0][0], N * N, 1);
    for (int step = 0; step < STEPS; step++) {
        sweep(v, u, -mul1 / 2, 1 + mul1, -mul1 / 2, -mul2 / 2);
        turn(u, v);
        sweep(v, u, -mul2 / 2, 1 + mul2, -mul2 / 2, -mul1 / 2);
        turn(u, v);
    }
    return report("adi", checksum_f64s(CHECKSUM, &u[0][0], N * N));
}
