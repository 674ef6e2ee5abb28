/* Guests that are moved while they run: guest WORKLOAD MEGABYTES STEPS. Each step takes some milliseconds and prints its number and a
 * checksum of all that was done so far. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 88172645463325252u;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static uint64_t spin(uint64_t sum, int rounds)
{
    for (int i = 0; i < rounds; i++)
        sum = (sum << 7 | sum >> 57) ^ (sum * 0x9e3779b97f4a7c15u + i);
    return sum;
}

#define SIDE 2048
static uint32_t (*life)[SIDE][SIDE];

/* The game of life on a torus, 64 rows a step: two boards of 16 MiB. */
static uint64_t step_life(uint64_t sum, long step)
{
    long rows = step * 64, board = rows / SIDE % 2, first = rows % SIDE;
    for (long i = first; i < first + 64; i++) {
        const uint32_t *above = life[board][(i + SIDE - 1) % SIDE], *row = life[board][i],
                       *below = life[board][(i + 1) % SIDE];
        for (int j = 0; j < SIDE; j++) {
            int left = (j + SIDE - 1) % SIDE, right = (j + 1) % SIDE;
            uint32_t around = above[left] + above[j] + above[right] + row[left] + row[right] + below[left] + below[j] +
                              below[right];
            life[!board][i][j] = around == 3 || (around == 2 && row[j]);
            sum += life[!board][i][j] * (uint64_t)(j + 1);
        }
    }
    return sum;
}

#define ORDER 512
static double (*matrices)[ORDER][ORDER];

/* Three products of matrices, 8 rows a step: E = A B, F = C D, G = E F, over and over. */
static uint64_t step_matrix(uint64_t sum, long step)
{
    static const int factors[3][3] = {{0, 1, 4}, {2, 3, 5}, {4, 5, 6}};
    long rows = step * 8;
    const int *factor = factors[rows / ORDER % 3];
    for (long i = rows % ORDER; i < rows % ORDER + 8; i++)
        for (int j = 0; j < ORDER; j++) {
            double dot = 0;
            for (int k = 0; k < ORDER; k++)
                dot += matrices[factor[0]][i][k] * matrices[factor[1]][k][j];
            matrices[factor[2]][i][j] = dot / ORDER;
            sum += (uint64_t)(dot * 1000);
        }
    return sum;
}

struct record {
    uint64_t key, version;
    uint8_t value[240];
};
static struct record *records;
static uint64_t count;

static struct record *find(uint64_t key)
{
    uint64_t at = key * 0x9e3779b97f4a7c15u % count;
    while (records[at].version && records[at].key != key)
        at = (at + 1) % count;
    return &records[at];
}

/* Half of a value is random, half is text: it can be compressed to about half. */
static void put(uint64_t key)
{
    struct record *record = find(key);
    record->key = key;
    record->version++;
    for (int i = 0; i < 15; i++) {
        uint64_t word = next();
        memcpy(record->value + 16 * i, &word, 8);
        memcpy(record->value + 16 * i + 8, "constant", 8);
    }
}

/* A key-value store: nine reads for a write, most of them of a tenth of the keys. */
static uint64_t step_store(uint64_t sum)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t keys = count * 3 / 4, luck = next();
        uint64_t key = luck % 10 ? (luck >> 8) % (keys / 10) : (luck >> 8) % keys;
        if (luck >> 4 & 15 ? luck % 10 : 0)
            sum += find(key)->version;
        else
            put(key);
    }
    return sum;
}

static uint64_t *words;
static uint64_t pages;

/* Writes to every page, as fast as it can. */
static uint64_t step_hog(uint64_t sum, long step)
{
    for (uint64_t page = 0; page < pages; page += 1)
        sum += words[page * 512 + step % 512] += sum ^ step;
    return sum;
}

/* Writes to a few pages. */
static uint64_t step_idle(uint64_t sum, long step)
{
    for (int i = 0; i < 8 && pages; i++)
        sum += words[(next() % (pages < 1024 ? pages : 1024)) * 512 + step % 512]++;
    return spin(sum, 4000000);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    const char *workload = argv[1];
    uint64_t bytes = strtoull(argv[2], 0, 10) << 20;
    long steps = atol(argv[3]);
    int is_store = !strcmp(workload, "store"), is_noise = !strcmp(workload, "noise");
    pages = bytes / 4096;
    if (!strcmp(workload, "life")) {
        life = malloc(2 * sizeof *life);
        for (int i = 0; i < SIDE; i++)
            for (int j = 0; j < SIDE; j++)
                life[0][i][j] = next() % 3 == 0;
    } else if (!strcmp(workload, "matrix")) {
        matrices = calloc(7, sizeof *matrices);
        for (int m = 0; m < 4; m++)
            for (int i = 0; i < ORDER; i++)
                for (int j = 0; j < ORDER; j++)
                    matrices[m][i][j] = (next() % 1000) / 1000.0;
    } else if (is_store) {
        count = bytes / sizeof *records;
        records = calloc(count, sizeof *records);
        for (uint64_t key = 0; key < count * 3 / 4; key++)
            put(key);
    } else if (bytes) {
        words = malloc(bytes);
        for (uint64_t i = 0; i < bytes / 8; i++)
            words[i] = is_noise || i % 2 ? next() : i / 512;
    }
    uint64_t sum = 1;
    for (long step = 0; step < steps; step++) {
        if (life)
            sum = step_life(sum, step);
        else if (matrices)
            sum = step_matrix(sum, step);
        else if (is_store)
            sum = step_store(sum);
        else if (!strcmp(workload, "hog"))
            sum = step_hog(sum, step);
        else
            sum = step_idle(sum, step);
        printf("%ld %016llx\n", step, (unsigned long long)sum);
        fflush(stdout);
    }
    return 0;
}
