/* Electric and magnetic fields on a grid by finite differences in time. */
#include "kernel.h"

#define X 320
#define Y 380
#define STEPS TIMES(400)
static double ex[X][Y], ey[X][Y], hz[X][Y];

int main(void)
{
    fill_random(&ex[0][0], X * Y, 1);
    fill_random(&ey[0][0], X * Y, 2);
    fill_random(&hz[0][0], X * Y, 3);
    for (int step = 0; step < STEPS; step++) {
        for (int j = 0; j < Y; j++)
            ey[0][j] = step;
        for (int i = 1; i < X; i++)
            for (int j = 0; j < Y; j++)
                ey[i][j] -= 0.5 * (hz[i][j] - hz[i - 1][j]);
        for (int i = 0; i < X; i++)
            for (int j = 1; j < Y; j++)
                ex[i][j] -= 0.5 * (hz[i][j] - hz[i][j - 1]);
        for (int i = 0; i < X - 1; i++)
            for (int j = 0; j < Y - 1; j++)
                hz[i][j] -= 0.7 * (ex[i][j + 1] - ex[i][j] + ey[i + 1][j] - ey[i][j]);
    }
    return report("fdtd-2d", checksum_f64s(CHECKSUM, &hz[0][0], X * Y));
}
