/* Matrix product in single precision with vector instructions (-msimd128). */
#include "kernel.h"

#include <wasm_simd128.h>

#define N 512
static float a[N][N], b[N][N], c[N][N];

static void multiply(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j += 8) {
            v128_t low = wasm_f32x4_splat(0), high = low;
            for (int k = 0; k < N; k++) {
                v128_t factor = wasm_f32x4_splat(a[i][k]);
                low = wasm_f32x4_add(low, wasm_f32x4_mul(factor, wasm_v128_load(&b[k][j])));
                high = wasm_f32x4_add(high, wasm_f32x4_mul(factor, wasm_v128_load(&b[k][j + 4])));
            }
            wasm_v128_store(&c[i][j], low);
            wasm_v128_store(&c[i][j + 4], high);
        }
}

int main(void)
{
    uint32_t seed = 1;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (float)random_f64(&seed);
            b[i][j] = (float)random_f64(&seed) / N;
        }
    uint64_t sum = CHECKSUM;
    for (int round = 0; round < TIMES(12); round++) {
        multiply();
        memcpy(a, c, sizeof a);
        sum = checksum_f64(sum, c[round][round]);
    }
    return report("matmul-simd", sum);
}
