/* Deep recursion: the Ackermann function. */
#include "kernel.h"

static __attribute__((noinline)) uint32_t ackermann(uint32_t m, uint32_t n)
{
    if (m == 0)
        return n + 1;
    uint32_t inner = n == 0 ? 1 : ackermann(m, n - 1);
    return ackermann(m - 1, inner);
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(40); round++)
        sum = checksum_u64(sum, ackermann(2, 2000 + round));
    sum = checksum_u64(sum, ackermann(3, SIZE(9, 6)));
    return report("ackermann", sum);
}
