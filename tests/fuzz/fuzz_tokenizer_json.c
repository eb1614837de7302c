/* fuzz_tokenizer_json.c - fuzz target: any bytes as a Hugging Face tokenizer.json. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_use_source(fuzz_put("tokenizer.json", data, size), NULL);
    return 0;
}
