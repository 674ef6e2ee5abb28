/* Conjugate gradients for the Poisson equation on a grid, without a stored matrix. */
#include "kernel.h"

#define N 300
#define STEPS TIMES(560)
static double x[N][N], residual[N][N], direction[N][N], image[N][N];

static double at(int i, int j)
{
    return i < 0 || j < 0 || i >= N || j >= N ? 0 : direction[i][j];
}

static void apply(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            image[i][j] = 4 * at(i, j) - at(i - 1, j) - at(i + 1, j) - at(i, j - 1) - at(i, j + 1);
}

static double dot(double left[N][N], double right[N][N])
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            sum += left[i][j] * right[i][j];
    return sum;
}

static void add_scaled(double to[N][N], double factor, double from[N][N])
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            to[i][j] += factor * from[i][j];
}

int main(void)
{
    fill_random(&residual[0][0], N * N, 1);
    memcpy(direction, residual, sizeof direction);
    double size = dot(residual, residual);
    for (int step = 0; step < STEPS; step++) {
        apply();
        double length = size / dot(direction, image);
        add_scaled(x, length, direction);
        add_scaled(residual, -length, image);
        double next = dot(residual, residual);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                direction[i][j] = residual[i][j] + next / size * direction[i][j];
        size = next;
    }
    return report("conjugate-gradient", checksum_f64s(CHECKSUM, &x[0][0], N * N));
}
