/* fuzz_text.c - fuzz target: any bytes as text for good vocabularies.
 *
 * Text goes to ids and back, through raw bytes, byte-level BPE and SentencePiece BPE with byte
 * fallback. All three can spell every byte, so the same bytes must come back, whatever they are. */
#include "fuzz_use.h"

enum { N_SEEDS = 2 };
static const char *const seeds[N_SEEDS] = {"tests/fuzz/corpus/gguf/seed-bpe-vocab.gguf",
                                           "tests/fuzz/corpus/tokenizer_bin/seed-tokenizer.bin"};

/* Made at the first input and kept: building is not what this target tests. */
static tfm_vocab *vocab[1 + N_SEEDS];
static tfm_tokenizer *tokenizer[1 + N_SEEDS];
static tfm_source *source[N_SEEDS];

static void make_vocabularies(void) {
    fuzz_must(tfm_vocab_raw_bytes(&vocab[N_SEEDS], NULL) == TFM_OK, "raw bytes");
    const tfm_source_options o = {.share_dir = "share"};
    for (int i = 0; i < N_SEEDS; i++) {
        const tfm_vocab_tables *tables = NULL;
        fuzz_must(tfm_source_open(&source[i], seeds[i], &o, NULL) == TFM_OK, seeds[i]);
        fuzz_must(tfm_source_vocab(source[i], &tables, NULL) == TFM_OK && tables != NULL, seeds[i]);
        fuzz_must(tfm_vocab_open(&vocab[i], tables->settings, tables->settings_len, fuzz_lookup,
                                 (void *)(uintptr_t)tables, NULL) == TFM_OK,
                  seeds[i]);
    }
    for (int i = 0; i <= N_SEEDS; i++) {
        fuzz_must(tfm_tokenizer_new(&tokenizer[i], vocab[i], NULL) == TFM_OK, "tokenizer");
        fuzz_must(tfm_tokenizer_spells_bytes(tokenizer[i]), "a vocabulary lacks bytes");
    }
}

/* The bytes of all ids must be data[0..size). */
static void check_same(const tfm_tokenizer *t, const tfm_ids *ids, const uint8_t *data,
                       size_t size) {
    tfm_detok *d;
    size_t at = 0, n = 0;
    const char *bytes = NULL;
    fuzz_must(tfm_detok_new(&d, t, 0, NULL) == TFM_OK, "detok");
    for (size_t i = 0; i <= ids->len; i++) {
        const tfm_status st = i < ids->len ? tfm_detok_push(d, ids->data[i], &bytes, &n, NULL)
                                           : tfm_detok_finish(d, &bytes, &n, NULL);
        fuzz_must(st == TFM_OK, "an id of the tokenizer is refused by the detokenizer");
        fuzz_must(n <= size - at && (n == 0 || memcmp(data + at, bytes, n) == 0),
                  "text is not the same after tokenizing and detokenizing");
        at += n;
    }
    fuzz_must(at == size, "text is shorter after tokenizing and detokenizing");
    tfm_detok_free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (tokenizer[0] == NULL) make_vocabularies();
    uint8_t *text = fuzz_copy(data, size);
    for (int i = 0; i <= N_SEEDS; i++) {
        tfm_ids ids = {0};
        uint64_t unknown = 0;
        const tfm_status st =
            tfm_tokenize(tokenizer[i], (const char *)text, size, 0, &ids, &unknown, NULL);
        fuzz_must(st == TFM_OK && unknown == 0, "text is refused");
        check_same(tokenizer[i], &ids, text, size);
        tfm_ids_free(&ids);
    }
    free(text);
    return 0;
}
