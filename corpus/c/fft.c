/* Fast Fourier transform, in place, forth and back. */
#include "kernel.h"

#include <math.h>

#define LOG 16
#define N (1 << LOG)
static double re[N], im[N], cosine[N / 2], sine[N / 2];

static void reverse_bits(void)
{
    for (uint32_t i = 0, j = 0; i < N; i++) {
        if (i < j) {
            double swapped = re[i];
            re[i] = re[j];
            re[j] = swapped;
            swapped = im[i];
            im[i] = im[j];
            im[j] = swapped;
        }
        uint32_t bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
    }
}

static void transform(double direction)
{
    reverse_bits();
    for (int half = 1; half < N; half *= 2)
        for (int start = 0; start < N; start += 2 * half)
            for (int k = 0; k < half; k++) {
                double c = cosine[k * (N / 2 / half)], s = direction * sine[k * (N / 2 / half)];
                int a = start + k, b = a + half;
                double r = re[b] * c - im[b] * s, i = re[b] * s + im[b] * c;
                re[b] = re[a] - r;
                im[b] = im[a] - i;
                re[a] += r;
                im[a] += i;
            }
}

int main(void)
{
    for (int k = 0; k < N / 2; k++) {
        cosine[k] = cos(2 * 3.14159265358979323846 * k / N);
        sine[k] = sin(2 * 3.14159265358979323846 * k / N);
    }
    fill_random(re, N, 1);
    for (int round = 0; round < TIMES(80); round++) {
        transform(-1);
        transform(1);
        for (int i = 0; i < N; i++) {
            re[i] /= N;
            im[i] /= N;
        }
    }
    return report("fft", checksum_f64s(checksum_f64s(CHECKSUM, re, N), im, N));
}
