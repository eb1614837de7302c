/* fuzz_safetensors.c - fuzz target: any bytes as model.safetensors, beside a good config.json. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *config;
    if (config == NULL) {
        config = fuzz_put_seed("config.json", "tests/fuzz/corpus/config_json/seed-llama.json");
    }
    fuzz_put("model.safetensors", data, size);
    fuzz_use_source(fuzz_dir(), NULL);
    return 0;
}
