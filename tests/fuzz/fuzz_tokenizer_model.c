/* fuzz_tokenizer_model.c - fuzz target: any bytes as a SentencePiece tokenizer.model. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_use_source(fuzz_put("tokenizer.model", data, size), NULL);
    return 0;
}
