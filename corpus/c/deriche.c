/* Recursive edge detection on an image: filters that run forwards and backwards along rows, then along columns. */
#include "kernel.h"

#include <math.h>

#define W 720
#define H 480
static float image[W][H], out[W][H], forwards[W][H], backwards[W][H];

static void deriche(float alpha)
{
    float k = (1 - expf(-alpha)) * (1 - expf(-alpha)) / (1 + 2 * alpha * expf(-alpha) - expf(2 * alpha));
    float now = k, before = k * expf(-alpha) * (alpha - 1);
    float after = k * expf(-alpha) * (alpha + 1), after2 = -k * expf(-2 * alpha);
    float b1 = powf(2, -alpha), b2 = -expf(-2 * alpha);
    for (int i = 0; i < W; i++) {
        float y1 = 0, y2 = 0, x1 = 0;
        for (int j = 0; j < H; j++) {
            forwards[i][j] = now * image[i][j] + before * x1 + b1 * y1 + b2 * y2;
            x1 = image[i][j];
            y2 = y1;
            y1 = forwards[i][j];
        }
    }
    for (int i = 0; i < W; i++) {
        float y1 = 0, y2 = 0, x1 = 0, x2 = 0;
        for (int j = H - 1; j >= 0; j--) {
            backwards[i][j] = after * x1 + after2 * x2 + b1 * y1 + b2 * y2;
            x2 = x1;
            x1 = image[i][j];
            y2 = y1;
            y1 = backwards[i][j];
        }
    }
    for (int i = 0; i < W; i++)
        for (int j = 0; j < H; j++)
            out[i][j] = forwards[i][j] + backwards[i][j];
    for (int j = 0; j < H; j++) {
        float y1 = 0, y2 = 0, x1 = 0;
        for (int i = 0; i < W; i++) {
            forwards[i][j] = now * out[i][j] + before * x1 + b1 * y1 + b2 * y2;
            x1 = out[i][j];
            y2 = y1;
            y1 = forwards[i][j];
        }
    }
    for (int j = 0; j < H; j++) {
        float y1 = 0, y2 = 0, x1 = 0, x2 = 0;
        for (int i = W - 1; i >= 0; i--) {
            backwards[i][j] = after * x1 + after2 * x2 + b1 * y1 + b2 * y2;
            x2 = x1;
            x1 = out[i][j];
            y2 = y1;
            y1 = backwards[i][j];
        }
    }
    for (int i = 0; i < W; i++)
        for (int j = 0; j < H; j++)
            out[i][j] = forwards[i][j] + backwards[i][j];
}

int main(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < W; i++)
        for (int j = 0; j < H; j++)
            image[i][j] = random_f64(&seed);
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(30); round++) {
        deriche(0.25f);
        for (int i = 0; i < W; i++)
            for (int j = 0; j < H; j++)
                image[i][j] = 0.75f * image[i][j] + 0.001f * out[i][j];
    }
    for (int i = 0; i < W; i++)
        for (int j = 0; j < H; j++)
            sum = checksum_f64(sum, out[i][j]);
    return report("deriche", sum);
}
