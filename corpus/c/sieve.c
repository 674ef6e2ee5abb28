/* Sieve of Eratosthenes, one byte a number. */
#include "kernel.h"

#define LIMIT 4000000
static uint8_t composite[LIMIT];

static uint32_t count_primes(void)
{
    uint32_t count = 0;
    memset(composite, 0, sizeof composite);
    for (uint32_t i = 2; i < LIMIT; i++) {
        if (composite[i])
            continue;
        count++;
        for (uint64_t j = (uint64_t)i * i; j < LIMIT; j += i)
            composite[j] = 1;
    }
    return count;
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(25); round++)
        sum = checksum_u64(sum, count_primes());
    return report("sieve", sum);
}
