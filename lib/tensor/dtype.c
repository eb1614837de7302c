/* dtype.c - names and sizes of element types, and size arithmetic over dims.
 *
 * One table; everything else about block formats is in block.c. Every product is checked for
 * overflow here, so that callers may pass dims straight from a file. */
#include <string.h>

#include "base/base_internal.h"
#include "tfm/tensor.h"

typedef struct dtype_info {
    const char *name;
    uint16_t block;       /* elements per block */
    uint16_t block_bytes; /* bytes per block */
} dtype_info;

/* Indexed by the pinned tfm_dtype numbers; a hole has no name. */
static const dtype_info dtypes[] = {
    [TFM_F32] = {"f32", 1, 4},         [TFM_F16] = {"f16", 1, 2},
    [TFM_BF16] = {"bf16", 1, 2},       [TFM_I8] = {"i8", 1, 1},
    [TFM_U8] = {"u8", 1, 1},           [TFM_I32] = {"i32", 1, 4},
    [TFM_I64] = {"i64", 1, 8},         [TFM_Q4_0] = {"q4_0", 32, 18},
    [TFM_Q4_1] = {"q4_1", 32, 20},     [TFM_Q5_0] = {"q5_0", 32, 22},
    [TFM_Q5_1] = {"q5_1", 32, 24},     [TFM_Q8_0] = {"q8_0", 32, 34},
    [TFM_IQ4_NL] = {"iq4_nl", 32, 18}, [TFM_MXFP4] = {"mxfp4", 32, 17},
    [TFM_Q2_K] = {"q2_K", 256, 84},    [TFM_Q3_K] = {"q3_K", 256, 110},
    [TFM_Q4_K] = {"q4_K", 256, 144},   [TFM_Q5_K] = {"q5_K", 256, 176},
    [TFM_Q6_K] = {"q6_K", 256, 210},   [TFM_IQ4_XS] = {"iq4_xs", 256, 136},
};
enum { N_DTYPES = sizeof dtypes / sizeof dtypes[0] };

bool tfm_dtype_is_integer(tfm_dtype t) {
    return t == TFM_I8 || t == TFM_U8 || t == TFM_I32 || t == TFM_I64;
}

bool tfm_dtype_known(unsigned t) {
    return t < N_DTYPES && dtypes[t].name != NULL;
}

const char *tfm_dtype_name(tfm_dtype t) {
    return tfm_dtype_known((unsigned)t) ? dtypes[t].name : "?";
}

tfm_dtype tfm_dtype_parse(const char *name) {
    for (unsigned t = 0; t < N_DTYPES; t++) {
        if (dtypes[t].name != NULL && strcmp(dtypes[t].name, name) == 0) return (tfm_dtype)t;
    }
    return TFM_DTYPE_NONE;
}

uint32_t tfm_dtype_block(tfm_dtype t) {
    return tfm_dtype_known((unsigned)t) ? dtypes[t].block : 0;
}

uint32_t tfm_dtype_block_bytes(tfm_dtype t) {
    return tfm_dtype_known((unsigned)t) ? dtypes[t].block_bytes : 0;
}

bool tfm_dtype_bytes(tfm_dtype t, uint64_t count, uint64_t *bytes) {
    const uint32_t block = tfm_dtype_block(t);
    if (block == 0 || count % block != 0) return false;
    return tfm_mul_u64(count / block, tfm_dtype_block_bytes(t), bytes);
}

bool tfm_dims_count(unsigned rank, const uint32_t dims[TFM_MAX_RANK], uint64_t *count) {
    if (rank > TFM_MAX_RANK) return false;
    uint64_t n = 1;
    bool is_empty = false; /* a zero anywhere makes the product 0, even if the rest overflows */
    for (unsigned i = 0; i < rank; i++) is_empty = is_empty || dims[i] == 0;
    for (unsigned i = 0; i < rank && !is_empty; i++) {
        if (!tfm_mul_u64(n, dims[i], &n)) return false;
    }
    *count = is_empty ? 0 : n;
    return true;
}
