/* fuzz_gguf.c - fuzz target: any bytes as a GGUF checkpoint. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_use_source(fuzz_put("m.gguf", data, size), NULL);
    return 0;
}
