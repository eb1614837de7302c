/* fuzz_tokenizer_list.c - fuzz target: any bytes as a list of tokens (vocab.txt), as a tiktoken
 * file with settings beside it, and as such settings. */
#include "fuzz_use.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char lines[] = "YQ== 0\nYg== 1\nYWI= 2\n";
    static const char settings[] =
        "{\"pat_str\": \"[a-z]+|\\\\s+$\", \"special_tokens\": {\"<|endoftext|>\": 5}}";
    fuzz_use_source(fuzz_put("vocab.txt", data, size), NULL);
    fuzz_put("my.tiktoken.json", (const uint8_t *)settings, sizeof settings - 1);
    fuzz_use_source(fuzz_put("my.tiktoken", data, size), NULL);
    fuzz_put("my.tiktoken.json", data, size);
    fuzz_use_source(fuzz_put("my.tiktoken", (const uint8_t *)lines, sizeof lines - 1), NULL);
    return 0;
}
