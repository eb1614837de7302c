/* fuzz_arch_yaml.c - fuzz target: any bytes as an architecture file, and as the macros of a good
 * one, applied to a small checkpoint. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *share, *model;
    if (share == NULL) {
        share = fuzz_arch_dir();
        fuzz_put_seed("tokenizers.yaml", "share/tokenizers.yaml");
        model = fuzz_put_seed("m.gguf", "tests/fuzz/corpus/gguf/seed-llama-q8_0.gguf");
    }
    fuzz_use_load(model, "share", fuzz_put("x.yaml", data, size));
    fuzz_put("arch/macros.yaml", data, size);
    fuzz_use_load(model, share, "share/arch/llama.yaml");
    return 0;
}
