/* Rounds of additions, rotations and choices like those of a cryptographic hash, over a message schedule. */
#include "kernel.h"

#define BLOCKS TIMES(900000)

static uint32_t rotate(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

static void compress(uint32_t state[8], const uint32_t block[16], const uint32_t constants[64])
{
    uint32_t w[64], s[8];
    memcpy(w, block, 16 * sizeof *w);
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >> 3)) +
               (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >> 10));
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
        uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
        uint32_t t1 = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) + choice + constants[i] + w[i];
        uint32_t t2 = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) + majority;
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        state[i] += s[i];
}

int main(void)
{
    uint32_t state[8], block[16], constants[64], seed = 1;
    for (int i = 0; i < 64; i++)
        constants[i] = random_u32(&seed);
    for (int i = 0; i < 8; i++)
        state[i] = random_u32(&seed);
    for (int round = 0; round < BLOCKS; round++) {
        for (int i = 0; i < 16; i++)
            block[i] = state[i % 8] + i + round;
        compress(state, block, constants);
    }
    uint64_t sum = CHECKSUM;
    for (int i = 0; i < 8; i++)
        sum = checksum_u64(sum, state[i]);
    return report("mixing", sum);
}
