/* Sleeps more than it computes: short and long sleeps, relative and until a moment, with a line after each. */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static void sleep_until(struct timespec start, long ms)
{
    start.tv_sec += ms / 1000;
    start.tv_nsec += ms % 1000 * 1000000;
    if (start.tv_nsec >= 1000000000) {
        start.tv_sec++;
        start.tv_nsec -= 1000000000;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start, NULL);
}

int main(void)
{
    uint32_t sum = 1;
    for (int nap = 1; nap <= 12; nap++) {
        struct timespec start;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int i = 0; i < 100000; i++)
            sum = sum * 1664525u + 1013904223u + (sum >> 16);
        if (nap % 3)
            sleep_ms(nap * 12);
        else
            sleep_until(start, nap * 12);
        printf("nap %d: %08x\n", nap, (unsigned)sum);
        fflush(stdout);
    }
    return 0;
}
