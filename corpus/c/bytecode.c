/* An interpreter for a stack machine in which every instruction is an indirect call. */
#include "kernel.h"

struct machine {
    uint32_t stack[64], variables[8];
    uint32_t top, next;
    int running;
};

struct instruction {
    void (*execute)(struct machine *, uint32_t);
    uint32_t operand;
};

static void push(struct machine *m, uint32_t value) { m->stack[m->top++] = value; }
static uint32_t pop(struct machine *m) { return m->stack[--m->top]; }

static void op_push(struct machine *m, uint32_t value) { push(m, value); }
static void op_load(struct machine *m, uint32_t variable) { push(m, m->variables[variable]); }
static void op_store(struct machine *m, uint32_t variable) { m->variables[variable] = pop(m); }
static void op_add(struct machine *m, uint32_t unused) { (void)unused; uint32_t b = pop(m); push(m, pop(m) + b); }
static void op_multiply(struct machine *m, uint32_t unused) { (void)unused; uint32_t b = pop(m); push(m, pop(m) * b); }
static void op_xor(struct machine *m, uint32_t unused) { (void)unused; uint32_t b = pop(m); push(m, pop(m) ^ b); }
static void op_shift_right(struct machine *m, uint32_t bits) { push(m, pop(m) >> bits); }
static void op_less(struct machine *m, uint32_t unused) { (void)unused; uint32_t b = pop(m); push(m, pop(m) < b); }
static void op_jump_if(struct machine *m, uint32_t target) { if (pop(m)) m->next = target; }
static void op_halt(struct machine *m, uint32_t unused) { (void)unused; m->running = 0; }

/* while (i < 4,000,000) { x = x * 1664525 + i; x = x ^ (x >> 7); i = i + 1; } */
static const struct instruction program[] = {
    {op_load, 1}, {op_push, 1664525}, {op_multiply, 0}, {op_load, 0}, {op_add, 0},   {op_store, 1},
    {op_load, 1}, {op_load, 1},       {op_shift_right, 7}, {op_xor, 0},  {op_store, 1}, {op_load, 0},
    {op_push, 1}, {op_add, 0},        {op_store, 0},    {op_load, 0}, {op_push, TIMES(4000000)}, {op_less, 0},
    {op_jump_if, 0}, {op_halt, 0},
};

int main(void)
{
    struct machine m = {.variables = {0, 12345}, .running = 1};
    while (m.running) {
        const struct instruction *instruction = &program[m.next++];
        instruction->execute(&m, instruction->operand);
    }
    return report("bytecode", checksum_u64(CHECKSUM, m.variables[1]));
}
