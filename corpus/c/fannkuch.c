/* Pancake flips over all permutations of ten numbers. */
#include "kernel.h"

#define N SIZE(10, 8)

int main(void)
{
    int permutation[N], flipped[N], count[N];
    int most = 0, parity = 0, depth = N;
    int64_t signed_flips = 0;
    for (int i = 0; i < N; i++)
        permutation[i] = i;
    for (;;) {
        for (; depth > 1; depth--)
            count[depth - 1] = depth;
        memcpy(flipped, permutation, sizeof flipped);
        int flips = 0;
        for (int first; (first = flipped[0]) != 0; flips++)
            for (int low = 0, high = first; low < high; low++, high--) {
                int swapped = flipped[low];
                flipped[low] = flipped[high];
                flipped[high] = swapped;
            }
        if (flips > most)
            most = flips;
        signed_flips += parity ? -flips : flips;
        for (;; depth++) {
            if (depth == N)
                return report("fannkuch", checksum_u64(checksum_u64(CHECKSUM, most), signed_flips));
            int first = permutation[0];
            memmove(permutation, permutation + 1, depth * sizeof *permutation);
            permutation[depth] = first;
            if (--count[depth] > 0)
                break;
        }
        parity = !parity;
    }
}
