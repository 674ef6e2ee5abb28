/* Compresses text with zstd at several levels, with and without a dictionary, decompresses it and compares. */
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define SIZE (1 << 20)
#define DICTIONARY (64 << 10)

static int round_trip(const char *text, char *packed, size_t capacity, char *unpacked, int level, int with_dictionary)
{
    ZSTD_CCtx *compressor = ZSTD_createCCtx();
    ZSTD_DCtx *decompressor = ZSTD_createDCtx();
    size_t dictionary = with_dictionary ? DICTIONARY : 0;
    size_t size = ZSTD_compress_usingDict(compressor, packed, capacity, text, SIZE, text, dictionary, level);
    if (ZSTD_isError(size)) {
        fprintf(stderr, "zstd: level %d: %s\n", level, ZSTD_getErrorName(size));
        return 1;
    }
    size_t back = ZSTD_decompress_usingDict(decompressor, unpacked, SIZE, packed, size, text, dictionary);
    ZSTD_freeCCtx(compressor);
    ZSTD_freeDCtx(decompressor);
    if (back != SIZE || memcmp(text, unpacked, SIZE) != 0) {
        fprintf(stderr, "zstd: level %d: the text did not come back\n", level);
        return 1;
    }
    printf("level %d%s: %zu bytes, %016" PRIx64 "\n", level, with_dictionary ? " with dictionary" : "", size,
           checksum(packed, size));
    fflush(stdout);
    return 0;
}

int main(void)
{
    static const int levels[] = {-5, 1, 3, 6, 9, 12};
    size_t capacity = ZSTD_compressBound(SIZE);
    char *text = malloc(SIZE), *packed = malloc(capacity), *unpacked = malloc(SIZE);
    if (!text || !packed || !unpacked)
        return 1;
    fill_text(text, SIZE, 7);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        for (int with_dictionary = 0; with_dictionary < 2; with_dictionary++)
            if (round_trip(text, packed, capacity, unpacked, levels[i], with_dictionary) != 0)
                return 1;
    return 0;
}
