/* fuzz_gguf.c - fuzz target: any bytes as a GGUF checkpoint, looked at and used in place. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *path = fuzz_put("m.gguf", data, size);
    fuzz_use_source(path, NULL);
    fuzz_use_load(path, "share", NULL);
    return 0;
}
