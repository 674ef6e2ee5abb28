/* Builds, walks and frees binary trees: allocation and recursion. */
#include "kernel.h"

struct node {
    struct node *left, *right;
};

static struct node *build(int depth)
{
    struct node *node = malloc(sizeof *node);
    node->left = depth > 0 ? build(depth - 1) : NULL;
    node->right = depth > 0 ? build(depth - 1) : NULL;
    return node;
}

static uint32_t weigh(const struct node *node, uint32_t path)
{
    return node->left ? 1 + weigh(node->left, 2 * path) + weigh(node->right, 2 * path + 1) : path & 7;
}

static void release(struct node *node)
{
    if (node->left) {
        release(node->left);
        release(node->right);
    }
    free(node);
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    struct node *lasting = build(16);
    for (int depth = 4; depth <= 16; depth += 4)
        for (int round = 0; round < TIMES(20) << (16 - depth); round++) {
            struct node *tree = build(depth);
            sum = checksum_u64(sum, weigh(tree, round));
            release(tree);
        }
    sum = checksum_u64(sum, weigh(lasting, 1));
    release(lasting);
    return report("binary-trees", sum);
}
