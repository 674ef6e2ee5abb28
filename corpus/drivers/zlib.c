/* Compresses text with zlib at every level and in small steps, decompresses it in other steps and compares. */
#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define SIZE (1 << 20)

/* Runs `step` (deflate or inflate) over the input, at most `piece` bytes at a time; returns the size of the output. */
static size_t drive(int (*step)(z_streamp, int), z_streamp stream, const char *in, size_t in_size, char *out,
                    size_t out_size, size_t piece)
{
    int result = Z_OK;
    for (size_t at = 0; result == Z_OK && stream->total_out < out_size;) {
        size_t given = in_size - at < piece ? in_size - at : piece;
        stream->next_in = (Bytef *)in + at;
        stream->avail_in = given;
        stream->next_out = (Bytef *)out + stream->total_out;
        stream->avail_out = out_size - stream->total_out;
        result = step(stream, at + given == in_size ? Z_FINISH : Z_NO_FLUSH);
        at += given - stream->avail_in;
    }
    return result == Z_STREAM_END ? stream->total_out : 0;
}

int main(void)
{
    size_t capacity = compressBound(SIZE) + 1024;
    char *text = malloc(SIZE), *packed = malloc(capacity), *unpacked = malloc(SIZE + 1);
    if (!text || !packed || !unpacked)
        return 1;
    for (int level = 0; level <= 9; level++) {
        z_stream packer = {0}, unpacker = {0};
        fill_text(text, SIZE, 1000 + level);
        if (deflateInit(&packer, level) != Z_OK || inflateInit(&unpacker) != Z_OK)
            return 1;
        size_t size = drive(deflate, &packer, text, SIZE, packed, capacity, 5000);
        size_t back = drive(inflate, &unpacker, packed, size, unpacked, SIZE + 1, 777);
        deflateEnd(&packer);
        inflateEnd(&unpacker);
        if (back != SIZE || memcmp(text, unpacked, SIZE) != 0) {
            fprintf(stderr, "zlib: level %d: the text did not come back\n", level);
            return 1;
        }
        printf("level %d: %zu bytes, %016" PRIx64 ", crc %08lx\n", level, size, checksum(packed, size),
               (unsigned long)crc32(0, (const Bytef *)text, SIZE));
        fflush(stdout);
    }
    return 0;
}
