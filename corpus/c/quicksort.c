/* Quicksort of random numbers, with insertion sort for short pieces. */
#include "kernel.h"

#define N 1000000
static uint32_t values[N];

static void insertion_sort(uint32_t *first, int count)
{
    for (int i = 1; i < count; i++) {
        uint32_t value = first[i];
        int j = i;
        for (; j > 0 && first[j - 1] > value; j--)
            first[j] = first[j - 1];
        first[j] = value;
    }
}

static void quicksort(uint32_t *first, int count)
{
    if (count <= 12) {
        insertion_sort(first, count);
        return;
    }
    uint32_t pivot = first[count / 2];
    int low = 0, high = count - 1;
    while (low <= high) {
        while (first[low] < pivot)
            low++;
        while (first[high] > pivot)
            high--;
        if (low <= high) {
            uint32_t swapped = first[low];
            first[low++] = first[high];
            first[high--] = swapped;
        }
    }
    quicksort(first, high + 1);
    quicksort(first + low, count - low);
}

int main(void)
{
    uint64_t sum = CHECKSUM;
    uint32_t seed = 1;
    for (int round = 0; round < TIMES(7); round++) {
        for (int i = 0; i < N; i++)
            values[i] = random_u32(&seed);
        quicksort(values, N);
        for (int i = 0; i < N; i += 997)
            sum = checksum_u64(sum, values[i]);
    }
    return report("quicksort", sum);
}
