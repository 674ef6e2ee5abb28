/* What every kernel shares: a fixed pseudo-random sequence, and a checksum of the result to print. */
#ifndef KERNEL_H
#define KERNEL_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Built with -DREDUCTION=N, a kernel does about one N-th of its work, for slow engines: fewer rounds, or where there are
   none a smaller size. */
#ifdef REDUCTION
#define TIMES(count) (((count) + REDUCTION - 1) / REDUCTION)
#define SIZE(full, reduced) (reduced)
#else
#define TIMES(count) (count)
#define SIZE(full, reduced) (full)
#endif

/* The next number of a xorshift sequence; the state must not be 0. */
static inline uint32_t random_u32(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* The next number of the sequence as a fraction in [0, 1). */
static inline double random_f64(uint32_t *state)
{
    return random_u32(state) / 4294967296.0;
}

/* Fills an array with fractions in [0, 1). */
static inline void fill_random(double *values, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++)
        values[i] = random_f64(&seed);
}

/* Start of a checksum. */
#define CHECKSUM 14695981039346656037u

static inline uint64_t checksum_u64(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * 1099511628211u;
    return sum ^ (sum >> 29);
}

static inline uint64_t checksum_f64(uint64_t sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return checksum_u64(sum, bits);
}

static inline uint64_t checksum_f64s(uint64_t sum, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum = checksum_f64(sum, values[i]);
    return sum;
}

/* The kernel's only output. */
static inline int report(const char *kernel, uint64_t sum)
{
    printf("%s %016" PRIx64 "\n", kernel, sum);
    return 0;
}

#endif
