/* fuzz_tokenizers_yaml.c - fuzz target: any bytes as tokenizers.yaml, for one vocabulary of each
 * sort that looks into it: GGUF, pieces with merges, a list of pieces, a tiktoken file. */
#include "fuzz_use.h"

static const char *put(const char *name, const char *text) {
    return fuzz_put(name, (const uint8_t *)text, strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *path[4];
    if (path[0] == NULL) {
        static const char digit[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        char lines[256 * 10];
        size_t n = 0;
        for (int i = 0; i < 256; i++) /* each byte */
            n += (size_t)snprintf(lines + n, sizeof lines - n, "%c%c== %d\n", digit[i >> 2],
                                  digit[(i & 3) << 4], i);
        path[0] = fuzz_put_seed("m.gguf", "tests/fuzz/corpus/gguf/seed-bpe-vocab.gguf");
        path[1] = put("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<|endoftext|>\": 3}");
        put("merges.txt", "a b\n");
        path[2] = put("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n");
        path[3] = fuzz_put("my.tiktoken", (const uint8_t *)lines, n);
    }
    fuzz_put("tokenizers.yaml", data, size);
    const tfm_source_options o = {.share_dir = fuzz_dir()};
    for (int i = 0; i < 4; i++) fuzz_use_source_with(path[i], &o);
    return 0;
}
