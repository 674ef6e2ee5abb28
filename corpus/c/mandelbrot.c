/* The Mandelbrot set as a bitmap. */
#include "kernel.h"

#define SIZE 800
#define LIMIT 80

static int escapes_after(double cr, double ci)
{
    double zr = 0, zi = 0;
    for (int i = 0; i < LIMIT; i++) {
        double rr = zr * zr, ii = zi * zi;
        if (rr + ii > 4)
            return i;
        zi = 2 * zr * zi + ci;
        zr = rr - ii + cr;
    }
    return LIMIT;
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(9); round++)
        for (int y = 0; y < SIZE; y++)
            for (int x = 0; x < SIZE; x++)
                sum = checksum_u64(sum, escapes_after(2.5 * x / SIZE - 1.75 - 0.01 * round, 2.5 * y / SIZE - 1.25));
    return report("mandelbrot", sum);
}
