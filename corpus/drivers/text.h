/* Text to compress: words drawn from a fixed pseudo-random sequence, common ones more often than rare ones. */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* The word with this number, always spelt the same; returns its length, at most 9. */
static inline size_t spell(uint32_t number, char *word)
{
    uint32_t state = number * 2654435761u + 1;
    size_t length = 2 + next_random(&state) % 8;
    for (size_t i = 0; i < length; i++)
        word[i] = "etaoinshrdlucmfwypvbgkjqxz"[next_random(&state) % 100 * (next_random(&state) % 100) / 400];
    return length;
}

static inline void fill_text(char *text, size_t size, uint32_t seed)
{
    char word[10];
    for (size_t at = 0; at < size;) {
        uint32_t rare = next_random(&seed) % 64, number = next_random(&seed) % (rare * rare + 1);
        size_t length = spell(number, word);
        word[length++] = next_random(&seed) % 12 ? ' ' : '\n';
        for (size_t i = 0; i < length && at < size; i++)
            text[at++] = word[i];
    }
}

static inline uint64_t checksum(const char *bytes, size_t size)
{
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ (uint8_t)bytes[i]) * 1099511628211u;
    return sum;
}

#endif
