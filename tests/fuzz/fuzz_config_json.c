/* fuzz_config_json.c - fuzz target: any bytes as config.json, beside good weights. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *weights;
    if (weights == NULL) {
        weights = fuzz_put_seed("model.safetensors",
                                "tests/fuzz/corpus/safetensors/seed-llama.safetensors");
    }
    fuzz_put("config.json", data, size);
    fuzz_use_source(fuzz_dir(), NULL);
    fuzz_use_load(fuzz_dir(), "share", NULL);
    return 0;
}
