/* The longest Collatz sequence: a while loop whose trip count nothing can foresee. */
#include "kernel.h"

#define LIMIT TIMES(1500000)

int main(void)
{
    uint32_t longest = 0, start = 0;
    for (uint32_t n = 1; n < LIMIT; n++) {
        uint32_t length = 1;
        for (uint64_t x = n; x != 1; length++)
            x = x % 2 ? 3 * x + 1 : x / 2;
        if (length > longest) {
            longest = length;
            start = n;
        }
    }
    return report("collatz", checksum_u64(checksum_u64(CHECKSUM, start), longest));
}
