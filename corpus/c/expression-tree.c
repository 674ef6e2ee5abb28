/* An interpreter that walks a syntax tree: every node is evaluated by an indirect call, recursively. */
#include "kernel.h"

struct node {
    int64_t (*evaluate)(const struct node *);
    const struct node *left, *right;
    int64_t value;
};

static int64_t variables[4];

static int64_t of(const struct node *node) { return node->evaluate(node); }
static int64_t constant(const struct node *node) { return node->value; }
static int64_t variable(const struct node *node) { return variables[node->value]; }
static int64_t sum(const struct node *node) { return of(node->left) + of(node->right); }
static int64_t difference(const struct node *node) { return of(node->left) - of(node->right); }
static int64_t product(const struct node *node) { return of(node->left) * of(node->right) & 0xFFFFFFFF; }
static int64_t mixed(const struct node *node) { return of(node->left) ^ of(node->right); }
static int64_t less(const struct node *node) { return of(node->left) < of(node->right); }
static int64_t choice(const struct node *node) { return of(node->left) & 1 ? of(node->right) : node->value; }
static int64_t assignment(const struct node *node) { return variables[node->value] = of(node->left); }
static int64_t sequence(const struct node *node) { return of(node->left), of(node->right); }
static int64_t loop(const struct node *node)
{
    int64_t last = 0;
    while (of(node->left))
        last = of(node->right);
    return last;
}

static struct node nodes[2048];
static size_t made;

static struct node *node(int64_t (*evaluate)(const struct node *), const struct node *left, const struct node *right,
                         int64_t value)
{
    nodes[made] = (struct node){evaluate, left, right, value};
    return &nodes[made++];
}

/* A random expression over the variables 0 to 2. */
static struct node *random_expression(uint32_t *seed, int depth)
{
    static int64_t (*const binary[])(const struct node *) = {sum, difference, product, mixed, less, choice};
    if (depth == 0) {
        int is_variable = random_u32(seed) % 3 != 0;
        uint32_t value = random_u32(seed);
        return is_variable ? node(variable, NULL, NULL, value % 3) : node(constant, NULL, NULL, value % 1000);
    }
    struct node *left = random_expression(seed, depth - 1);
    struct node *right = random_expression(seed, depth - 1 - (int)(random_u32(seed) % depth));
    return node(binary[random_u32(seed) % 6], left, right, random_u32(seed) % 100);
}

int main(void)
{
    uint32_t seed = 2463534242;
    struct node *counter = node(variable, NULL, NULL, 3);
    struct node *condition = node(less, node(constant, NULL, NULL, 0), counter, 0);
    struct node *body = node(assignment, node(difference, counter, node(constant, NULL, NULL, 1), 0), NULL, 3);
    for (int i = 0; i < 3; i++)
        body = node(sequence, body, node(assignment, random_expression(&seed, 6), NULL, i), 0);
    struct node *program = node(loop, condition, body, 0);
    variables[3] = TIMES(320000);
    uint64_t result = checksum_u64(CHECKSUM, (uint64_t)of(program));
    for (int i = 0; i < 3; i++)
        result = checksum_u64(result, (uint64_t)variables[i]);
    return report("expression-tree", result);
}
