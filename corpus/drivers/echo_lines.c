/* Reads standard input a few bytes at a time and prints every line backwards, with the work of a slow reader
   between the lines. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint32_t digest(const char *line, uint32_t sum)
{
    for (int round = 0; round < 30000; round++)
        for (const char *at = line; *at; at++)
            sum = (sum ^ (uint8_t)*at) * 16777619u + (uint32_t)round;
    return sum;
}

int main(void)
{
    static char buffer[16], line[256];
    uint32_t sum = 2166136261u;
    setvbuf(stdin, buffer, _IOFBF, sizeof buffer);
    for (int number = 1; fgets(line, sizeof line, stdin); number++) {
        line[strcspn(line, "\n")] = 0;
        sum = digest(line, sum);
        printf("%d %08x ", number, (unsigned)sum);
        for (size_t at = strlen(line); at > 0; at--)
            putchar(line[at - 1]);
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}
