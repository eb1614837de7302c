/* fuzz_model.c - fuzz target: any bytes as model.bin, as they are and with checksums repaired. */
#include "fuzz_use.h"

static void try_model(const uint8_t *data, size_t size) {
    tfm_model *m;
    const char *path = fuzz_put("m.tfms", data, size);
    if (tfm_model_open(&m, path, NULL) != TFM_OK) return;
    fuzz_use_model(m);
    fuzz_to_gguf(m);
    tfm_model_free(m);
    fuzz_convert(path, size % 2 == 0 ? TFM_F16 : TFM_DTYPE_NONE, TFM_LAYOUT_ROWS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    try_model(data, size);
    uint8_t *p = fuzz_copy(data, size);
    fuzz_repair(p, size);
    try_model(p, size);
    free(p);
    return 0;
}
