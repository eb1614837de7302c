/* fuzz_tokenizer_model.c - fuzz target: any bytes as a SentencePiece tokenizer.model, and as both
 * models of a pair beside a vocab.json. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char vocab[] = "{\"</s>\": 0, \"<unk>\": 1, \"\xe2\x96\x81the\": 2, \"c\": 3, "
                                "\"a\": 4, \"t\": 5, \"<pad>\": 6, \">>x<<\": 7}";
    fuzz_use_source(fuzz_put("tokenizer.model", data, size), NULL);
    fuzz_put("vocab.json", (const uint8_t *)vocab, sizeof vocab - 1);
    fuzz_put("target.spm", data, size);
    fuzz_use_source(fuzz_put("source.spm", data, size), NULL);
    return 0;
}
