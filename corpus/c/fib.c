/* Bare recursion: Fibonacci numbers the slow way. */
#include "kernel.h"

static __attribute__((noinline)) uint32_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(void)
{
    return report("fib", checksum_u64(CHECKSUM, fib(SIZE(39, 31))));
}
