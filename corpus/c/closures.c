/* A backtracking pattern matcher built of closures: every step is an indirect call that calls the next one. */
#include "kernel.h"

struct matcher {
    int (*match)(const struct matcher *, const char *text);
    const struct matcher *next, *inner;
    char low, high;
};

static uint64_t steps;

static int go_on(const struct matcher *m, const char *text) { return m->match(m, text); }

static int end(const struct matcher *m, const char *text)
{
    (void)m;
    (void)text;
    return 1;
}

static int range(const struct matcher *m, const char *text)
{
    steps++;
    return *text >= m->low && *text <= m->high && go_on(m->next, text + 1);
}

/* As many of the range as there are, fewer if the rest does not match otherwise. */
static int many(const struct matcher *m, const char *text)
{
    steps++;
    if (*text >= m->low && *text <= m->high && many(m, text + 1))
        return 1;
    return go_on(m->next, text);
}

static int either(const struct matcher *m, const char *text)
{
    return go_on(m->inner, text) || go_on(m->next, text);
}

int main(void)
{
    /* [a-c]*d([e-g]*h|[a-z]*z)[a-h] and  [b-f]*(g[a-d]*|h)[c-e] */
    static const struct matcher done = {.match = end};
    static const struct matcher last1 = {range, &done, NULL, 'a', 'h'};
    static const struct matcher z = {range, &last1, NULL, 'z', 'z'}, any = {many, &z, NULL, 'a', 'z'};
    static const struct matcher h = {range, &last1, NULL, 'h', 'h'}, e_to_g = {many, &h, NULL, 'e', 'g'};
    static const struct matcher choice1 = {either, &any, &e_to_g, 0, 0}, d = {range, &choice1, NULL, 'd', 'd'};
    static const struct matcher first1 = {many, &d, NULL, 'a', 'c'};
    static const struct matcher last2 = {range, &done, NULL, 'c', 'e'}, h2 = {range, &last2, NULL, 'h', 'h'};
    static const struct matcher a_to_d = {many, &last2, NULL, 'a', 'd'}, g = {range, &a_to_d, NULL, 'g', 'g'};
    static const struct matcher choice2 = {either, &h2, &g, 0, 0}, first2 = {many, &choice2, NULL, 'b', 'f'};

    static char text[4096 + 1];
    uint32_t seed = 1;
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(500); round++) {
        for (size_t i = 0; i < sizeof text - 1; i++)
            text[i] = "abcdefghabcdefghabcdz "[random_u32(&seed) % 22];
        uint64_t found = 0;
        for (size_t i = 0; i < sizeof text - 1; i++)
            found = 2 * found + (uint64_t)go_on(&first1, text + i) + 3 * (uint64_t)go_on(&first2, text + i);
        sum = checksum_u64(sum, found);
    }
    return report("closures", checksum_u64(sum, steps));
}
