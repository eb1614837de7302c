/* fuzz_tokenizer_bin.c - fuzz target: any bytes as llama2.c's tokenizer.bin. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_use_source(fuzz_put("tokenizer.bin", data, size), NULL);
    return 0;
}
