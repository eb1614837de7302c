/* fuzz_llama2c.c - fuzz target: any bytes as a llama2.c checkpoint, a good tokenizer beside it. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *tokenizer;
    if (tokenizer == NULL) {
        tokenizer =
            fuzz_put_seed("tokenizer.bin", "tests/fuzz/corpus/tokenizer_bin/seed-tokenizer.bin");
    }
    const char *path = fuzz_put("m.bin", data, size);
    fuzz_use_source(path, NULL);
    fuzz_convert(path, TFM_DTYPE_NONE, TFM_LAYOUT_P16);
    return 0;
}
