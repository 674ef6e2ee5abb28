/* All ways to place queens on a board, by backtracking over bit masks. */
#include "kernel.h"

#define N SIZE(14, 11)

static uint32_t place(uint32_t columns, uint32_t left, uint32_t right)
{
    const uint32_t full = (1u << N) - 1;
    if (columns == full)
        return 1;
    uint32_t solutions = 0;
    for (uint32_t free = full & ~(columns | left | right); free; free &= free - 1) {
        uint32_t queen = free & -free;
        solutions += place(columns | queen, (left | queen) << 1, (right | queen) >> 1);
    }
    return solutions;
}

int main(void)
{
    return report("queens", checksum_u64(CHECKSUM, place(0, 0, 0)));
}
