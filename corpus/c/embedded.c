/* Small-controller work: sorting a linked list, a small integer matrix, a number scanner as a state machine, CRC. */
#include "kernel.h"

#define ROUNDS TIMES(20000)
#define ITEMS 200
#define SIZE 12

struct item {
    struct item *next;
    int32_t key;
};

static struct item items[ITEMS];

static uint16_t crc(uint16_t value, uint32_t data)
{
    for (int i = 0; i < 32; i++, data >>= 1)
        value = (value ^ data) & 1 ? value >> 1 ^ 0xA001 : value >> 1;
    return value;
}

static struct item *merge(struct item *a, struct item *b)
{
    struct item *first = NULL, **last = &first;
    while (a && b) {
        struct item **smaller = a->key <= b->key ? &a : &b;
        *last = *smaller;
        last = &(*last)->next;
        *smaller = *last;
    }
    *last = a ? a : b;
    return first;
}

static struct item *sort(struct item *list)
{
    if (!list || !list->next)
        return list;
    struct item *middle = list;
    for (struct item *end = list->next; end && end->next; end = end->next->next)
        middle = middle->next;
    struct item *right = middle->next;
    middle->next = NULL;
    return merge(sort(list), sort(right));
}

static uint16_t lists(uint32_t *seed, uint16_t sum)
{
    for (int i = 0; i < ITEMS; i++) {
        items[i].key = random_u32(seed) % 1000;
        items[i].next = i + 1 < ITEMS ? &items[i + 1] : NULL;
    }
    int position = 0;
    for (struct item *item = sort(items); item; item = item->next)
        if (position++ % 16 == 0)
            sum = crc(sum, item->key);
    return sum;
}

static uint16_t matrices(uint32_t *seed, uint16_t sum)
{
    int16_t a[SIZE][SIZE], b[SIZE][SIZE];
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) {
            a[i][j] = random_u32(seed);
            b[i][j] = random_u32(seed);
        }
    int32_t total = 0;
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < SIZE; j++) {
            int32_t product = 0;
            for (int k = 0; k < SIZE; k++)
                product += a[i][k] * b[k][j] >> 4;
            total += product > 0 ? product & 0xFFFF : -1;
        }
    return crc(sum, total);
}

enum state { START, INTEGER, FRACTION, EXPONENT, INVALID };

static enum state step(enum state state, char c)
{
    int digit = c >= '0' && c <= '9';
    switch (state) {
    case START: return digit || c == '-' ? INTEGER : INVALID;
    case INTEGER: return digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case FRACTION: return digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case EXPONENT: return digit ? EXPONENT : INVALID;
    default: return INVALID;
    }
}

static uint16_t numbers(uint32_t *seed, uint16_t sum)
{
    static const char alphabet[] = "0123456789012345678901.e-,,,,x";
    uint32_t seen[INVALID + 1] = {0};
    enum state state = START;
    for (int i = 0; i < 400; i++) {
        char c = alphabet[random_u32(seed) % (sizeof alphabet - 1)];
        if (c == ',') {
            seen[state]++;
            state = START;
        } else {
            state = step(state, c);
        }
    }
    for (int i = 0; i <= INVALID; i++)
        sum = crc(sum, seen[i]);
    return sum;
}

int main(void)
{
    uint32_t seed = 1;
    uint16_t sum = 0;
    for (int round = 0; round < ROUNDS; round++)
        sum = numbers(&seed, matrices(&seed, lists(&seed, sum)));
    return report("embedded", checksum_u64(CHECKSUM, sum));
}
