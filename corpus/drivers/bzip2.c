/* Compresses text with bzip2 at several block sizes, decompresses it and compares. */
#include "text.h"

#include <bzlib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (2 << 20)

/* What bzlib calls when it finds a bug of its own (it is compiled without stdio). */
void bz_internal_error(int code)
{
    fprintf(stderr, "bzip2: internal error %d\n", code);
    exit(3);
}

int main(void)
{
    unsigned capacity = SIZE + SIZE / 100 + 600;
    char *text = malloc(SIZE), *packed = malloc(capacity), *unpacked = malloc(SIZE);
    if (!text || !packed || !unpacked)
        return 1;
    for (int blocks = 1; blocks <= 9; blocks += 4) {
        fill_text(text, SIZE, 100 + blocks);
        unsigned size = capacity, back = SIZE;
        int packing = BZ2_bzBuffToBuffCompress(packed, &size, text, SIZE, blocks, 0, 30);
        int unpacking = BZ2_bzBuffToBuffDecompress(unpacked, &back, packed, size, blocks == 5, 0);
        if (packing != BZ_OK || unpacking != BZ_OK || back != SIZE || memcmp(text, unpacked, SIZE) != 0) {
            fprintf(stderr, "bzip2: %d blocks: the text did not come back (%d, %d)\n", blocks, packing, unpacking);
            return 1;
        }
        printf("%d00 kB blocks: %u bytes, %016" PRIx64 "\n", blocks, size, checksum(packed, size));
        fflush(stdout);
    }
    return 0;
}
