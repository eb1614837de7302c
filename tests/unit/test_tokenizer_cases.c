/* Real vocabularies against what their own tokenizers gave: llama.cpp's cases (made by Hugging Face
 * tokenizers, no special tokens added) and llama2.c's prompts. Needs $TFM_ASSETS. */
#include <jansson.h>

#include "tfm/load.h"
#include "tokenizer_util.h"

static const tfm_load_options load_from_share = {.share_dir = "share"};

static char *read_all(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    *n = 0;
    if (f == NULL) return NULL;
    for (size_t got = 1; got > 0; *n += got) {
        char *grown = realloc(data, *n + 65537);
        if (grown == NULL) abort();
        data = grown;
        got = fread(data + *n, 1, 65536, f);
    }
    data[*n] = '\0';
    fclose(f);
    return data;
}

typedef struct opened {
    tfm_model *m;
    tfm_tokenizer *t;
} opened;

static bool open_path(opened *o, const char *path) {
    tfm_error err = {0};
    const tfm_vocab *v = NULL;
    o->m = NULL;
    o->t = NULL;
    tfm_status st = tfm_load_vocab(path, &load_from_share, &o->m, &err);
    if (st == TFM_OK) st = tfm_model_vocab(o->m, &v, &err);
    if (st == TFM_OK && v) st = tfm_tokenizer_new(&o->t, v, &err);
    if (st != TFM_OK) printf("%s\n", err.message);
    return CHECK(st == TFM_OK && o->t != NULL);
}

static void close_opened(opened *o) {
    tfm_tokenizer_free(o->t);
    tfm_model_free(o->m);
}

/* One case: the ids of text[0..n) are the numbers in the line `want`, and give the text back if the
 * vocabulary can say any text (is_exact). */
static bool case_holds(const opened *o, const char *text, size_t n, const char *want,
                       bool is_exact) {
    tfm_ids ids = {0};
    tfm_error err = {0};
    size_t k = 0, len;
    char *end;
    bool good = tfm_tokenize(o->t, text, n, 0, &ids, NULL, &err) == TFM_OK;
    if (!good) printf("%s\n", err.message);
    for (const char *p = want; good; p = end, k++) {
        long id = strtol(p, &end, 10);
        if (end == p) break;
        good = k < ids.len && ids.data[k] == id;
    }
    good = good && k == ids.len;
    char *back = text_of(o->t, ids.data, ids.len, 0, &len);
    good = good && back && (!is_exact || (len == n && memcmp(back, text, n) == 0));
    free(back);
    tfm_ids_free(&ids);
    return good;
}

static void run_cases_of(const char *vocab, const char *cases, bool is_exact) {
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char name[200];
    opened o;
    size_t n, k = 0;
    if (unit_asset(vocab) == NULL && unit_asset("vocabs/LICENSE") == NULL) {
        UNIT_SKIP("needs $TFM_ASSETS/vocabs and tokenizers");
        return;
    }
    if (!CHECK(unit_asset(vocab) != NULL) || !open_path(&o, unit_asset(vocab))) return;
    snprintf(name, sizeof name, "vocabs/ggml-vocab-%s.gguf.inp", cases);
    char *in = read_all(unit_asset(name), &n);
    snprintf(name, sizeof name, "vocabs/ggml-vocab-%s.gguf.out", cases);
    char *out = read_all(unit_asset(name), &n);
    char *text = in, *line = out;
    if (CHECK(in && out))
        for (char *next; (next = strstr(text, separator)) != NULL; k++) {
            char *line_end = strchr(line, '\n');
            if (!CHECK(line_end != NULL)) break;
            *line_end = '\0';
            if (!CHECK(case_holds(&o, text, (size_t)(next - text), line, is_exact)))
                printf("%s: case %zu\n", cases, k);
            text = next + sizeof separator - 1;
            line = line_end + 1;
        }
    CHECK(k > 40);
    free(in);
    free(out);
    close_opened(&o);
}

static void run_cases(const char *vocab, const char *cases) {
    run_cases_of(vocab, cases, true);
}

static void gpt2(void) {
    run_cases("vocabs/ggml-vocab-gpt-2.gguf", "gpt-2");
}
static void deepseek_llm(void) {
    run_cases("vocabs/ggml-vocab-deepseek-llm.gguf", "deepseek-llm");
}
static void starcoder(void) {
    run_cases("vocabs/ggml-vocab-starcoder.gguf", "starcoder");
}
static void llama_spm(void) {
    run_cases("vocabs/ggml-vocab-llama-spm.gguf", "llama-spm");
}
static void phi3(void) {
    run_cases("vocabs/ggml-vocab-phi-3.gguf", "phi-3");
}
static void bert_bge(void) {
    run_cases_of("vocabs/ggml-vocab-bert-bge.gguf", "bert-bge", false);
}
static void llama_bpe(void) {
    run_cases("tokenizers/llama3/tokenizer.json", "llama-bpe");
}
static void qwen2(void) {
    run_cases("tokenizers/qwen3/tokenizer.json", "qwen2");
}
/* The same vocabulary in SentencePiece's own format, and in llama2.c's. */
static void llama_sentencepiece(void) {
    run_cases("llama2-tokenizer/tokenizer.model", "llama-spm");
}
static void llama_tokenizer_bin(void) {
    run_cases("llama2-tokenizer/tokenizer.bin", "llama-spm");
}

static void stories260k(void) {
    opened o;
    size_t n;
    if (unit_asset("stories260K/expected.json") == NULL) {
        UNIT_SKIP("needs $TFM_ASSETS/stories260K");
        return;
    }
    char *text = read_all(unit_asset("stories260K/expected.json"), &n);
    json_t *all = json_loadb(text, n, 0, NULL), *entry;
    free(text);
    if (!open_path(&o, unit_asset("stories260K/tok512.bin"))) return;
    size_t i;
    json_array_foreach(all, i, entry) {
        const char *prompt = json_string_value(json_object_get(entry, "prompt"));
        const char *want = json_string_value(json_object_get(entry, "text"));
        const json_t *want_ids = json_object_get(entry, "ids");
        size_t count = json_array_size(want_ids), len;
        int32_t *generated = calloc(count + 1, sizeof *generated);
        tfm_ids ids = {0};
        if (!CHECK(prompt && want && generated)) break;
        CHECK(tfm_tokenize(o.t, prompt, strlen(prompt), TFM_TOK_ADD_SPECIAL, &ids, NULL, NULL) ==
              TFM_OK);
        CHECK(ids.len >= 1 && ids.data[0] == 1);
        for (size_t k = 0; k < count; k++)
            generated[k] = (int32_t)json_integer_value(json_array_get(want_ids, k));
        for (size_t k = 1; k < ids.len; k++) CHECK_INT(ids.data[k], generated[k - 1]);
        char *got = text_of(o.t, generated, count, 0, &len);
        CHECK_STR(got, want);
        free(got);
        free(generated);
        tfm_ids_free(&ids);
    }
    CHECK(json_array_size(all) > 0);
    json_decref(all);
    close_opened(&o);
}

static void random_bytes_survive_real_vocabularies(void) {
    static const char *const paths[] = {
        "vocabs/ggml-vocab-gpt-2.gguf", "vocabs/ggml-vocab-llama-spm.gguf",
        "vocabs/ggml-vocab-phi-3.gguf", "tokenizers/llama3/tokenizer.json",
        "tokenizers/qwen3/tokenizer.json"};
    uint64_t seed = 7;
    static char text[100000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)small_random(&seed);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        opened o;
        if (unit_asset(paths[i]) == NULL) {
            UNIT_SKIP("needs $TFM_ASSETS/vocabs and tokenizers");
            return;
        }
        if (!open_path(&o, unit_asset(paths[i]))) return;
        CHECK(tfm_tokenizer_spells_bytes(o.t));
        CHECK(survives(o.t, text, sizeof text));
        close_opened(&o);
    }
}

int main(void) {
    UNIT_RUN(gpt2);
    UNIT_RUN(deepseek_llm);
    UNIT_RUN(starcoder);
    UNIT_RUN(llama_spm);
    UNIT_RUN(phi3);
    UNIT_RUN(bert_bge);
    UNIT_RUN(llama_bpe);
    UNIT_RUN(qwen2);
    UNIT_RUN(llama_sentencepiece);
    UNIT_RUN(llama_tokenizer_bin);
    UNIT_RUN(stories260k);
    UNIT_RUN(random_bytes_survive_real_vocabularies);
    return unit_done();
}
