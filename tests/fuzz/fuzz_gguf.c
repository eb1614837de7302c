/* fuzz_gguf.c - fuzz target: any bytes as a GGUF checkpoint, looked at, used in place, converted
 * and written back. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("m.gguf", data, size);
    fuzz_use_source(path, NULL);
    fuzz_use_load(path, "share", NULL);
    fuzz_convert(path, size % 2 == 0 ? TFM_DTYPE_NONE : TFM_Q4_0, TFM_LAYOUT_P16);
    return 0;
}
