/* fuzz_index_json.c - fuzz target: any bytes as model.safetensors.index.json, beside a good
 * config.json and two shards of the names that a good index gives them. */
#include "fuzz_use.h"

#define SHARD "tests/fuzz/corpus/safetensors/seed-shard-"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *config;
    if (config == NULL) {
        config = fuzz_put_seed("config.json", "tests/fuzz/corpus/config_json/seed-llama.json");
        fuzz_put_seed("model-00001-of-00002.safetensors", SHARD "1.safetensors");
        fuzz_put_seed("model-00002-of-00002.safetensors", SHARD "2.safetensors");
    }
    fuzz_put("model.safetensors.index.json", data, size);
    fuzz_use_source(fuzz_dir(), NULL);
    return 0;
}
