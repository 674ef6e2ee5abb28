/* Counts words in a hash table with chains: string comparison, pointer chasing, allocation. */
#include "kernel.h"

#define BUCKETS 16384
#define WORDS TIMES(3000000)

struct entry {
    struct entry *next;
    uint32_t count;
    char word[];
};

static struct entry *buckets[BUCKETS];

static uint32_t hash(const char *word)
{
    uint32_t h = 2166136261u;
    for (; *word; word++)
        h = (h ^ (uint8_t)*word) * 16777619u;
    return h ^ (h >> 15);
}

static void count(const char *word)
{
    struct entry **bucket = &buckets[hash(word) % BUCKETS];
    for (struct entry *entry = *bucket; entry; entry = entry->next)
        if (strcmp(entry->word, word) == 0) {
            entry->count++;
            return;
        }
    struct entry *entry = malloc(sizeof *entry + strlen(word) + 1);
    entry->next = *bucket;
    entry->count = 1;
    strcpy(entry->word, word);
    *bucket = entry;
}

int main(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < WORDS; i++) {
        char word[12];
        uint32_t letters = random_u32(&seed), length = 3 + letters % 4;
        for (uint32_t j = 0; j < length; j++, letters /= 5)
            word[j] = 'a' + letters % 5;
        word[length] = 0;
        count(word);
    }
    uint64_t sum = CHECKSUM;
    for (int i = 0; i < BUCKETS; i++)
        for (struct entry *entry = buckets[i]; entry; entry = entry->next)
            sum = checksum_u64(sum, hash(entry->word) + (uint64_t)entry->count);
    return report("string-hash", sum);
}
