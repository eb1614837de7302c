/* Vocabularies of tests/golden/tokenizers (tokenizer.json, GGUF) against what Hugging Face's
 * tokenizers and SentencePiece make of hard texts: ids with special tokens, and text again. */
#include <jansson.h>

#include "tfm/load.h"
#include "tokenizer_util.h"

static const tfm_load_options load_from_share = {.share_dir = "share"};

#define DIR "tests/golden/tokenizers/"
enum { LINE_MAX_BYTES = 1 << 16 };

typedef struct opened {
    char name[64];
    tfm_model *m;
    tfm_tokenizer *t;
} opened;

static void close_it(opened *o) {
    tfm_tokenizer_free(o->t);
    tfm_model_free(o->m);
    *o = (opened){.name = ""};
}

/* The vocabulary of this name, unless it is the one that is open. */
static bool open_it(opened *o, const char *name) {
    char path[128];
    tfm_error err = {0};
    const tfm_vocab *v = NULL;
    if (strcmp(o->name, name) == 0) return o->t != NULL;
    close_it(o);
    snprintf(o->name, sizeof o->name, "%s", name);
    snprintf(path, sizeof path, DIR "%s", name);
    tfm_status st = tfm_load_vocab(path, &load_from_share, &o->m, &err);
    if (st == TFM_OK) st = tfm_model_vocab(o->m, &v, &err);
    if (st == TFM_OK && v) st = tfm_tokenizer_new(&o->t, v, &err);
    if (st != TFM_OK) printf("%s\n", err.message);
    return CHECK(o->t != NULL);
}

/* "1 2 3" to ids. */
static size_t parse_ids(const char *s, int32_t *id, size_t most) {
    size_t n = 0;
    char *end;
    for (; n < most; s = end) {
        long v = strtol(s, &end, 10);
        if (end == s) break;
        id[n++] = (int32_t)v;
    }
    return n;
}

static void one_case(const opened *o, const json_t *text, const char *want, const json_t *back) {
    static int32_t id[LINE_MAX_BYTES / 2];
    tfm_ids ids = {0};
    tfm_error err = {0};
    size_t n = parse_ids(want, id, sizeof id / sizeof *id), len;
    tfm_status st = tfm_tokenize(o->t, json_string_value(text), json_string_length(text),
                                 TFM_TOK_ADD_SPECIAL, &ids, NULL, &err);
    if (!CHECK(st == TFM_OK && ids.len == n &&
               (n == 0 || memcmp(ids.data, id, n * sizeof *id) == 0)))
        printf("%s: \"%s\": %s\n", o->name, json_string_value(text), err.message);
    if (json_is_null(back)) { /* is not compared */
        tfm_ids_free(&ids);
        return;
    }
    char *got = text_of(o->t, id, n, 0, &len);
    if (!CHECK(got && len == json_string_length(back) &&
               memcmp(got, json_string_value(back), len) == 0))
        printf("%s: ids %s: \"%s\"\n", o->name, want, got ? got : "?");
    free(got);
    tfm_ids_free(&ids);
}

static void cases_of(const char *list, unsigned least) {
    static char line[LINE_MAX_BYTES];
    unsigned n = 0;
    opened o = {.name = ""};
    FILE *f = fopen(list, "r");
    if (!CHECK(f != NULL)) return;
    while (fgets(line, sizeof line, f)) {
        char *text = strchr(line, '\t'), *ids = text ? strchr(text + 1, '\t') : NULL;
        char *back = ids ? strchr(ids + 1, '\t') : NULL;
        if (!CHECK(back != NULL)) break;
        *text++ = *ids++ = *back++ = '\0';
        json_t *from = json_loads(text, JSON_DECODE_ANY, NULL);
        json_t *to = json_loads(back, JSON_DECODE_ANY, NULL);
        if (CHECK(json_is_string(from) && (json_is_string(to) || json_is_null(to))) &&
            open_it(&o, line)) {
            one_case(&o, from, ids, to);
            n++;
        }
        json_decref(from);
        json_decref(to);
    }
    fclose(f);
    close_it(&o);
    CHECK(n > least);
}

static void unigram(void) {
    cases_of(DIR "cases.txt", 300);
}

static void stages(void) {
    cases_of(DIR "stages.txt", 300);
}

static void matching(void) {
    cases_of(DIR "matching.txt", 250);
}

/* 200 KB of one thing: linear, or refused where it would not be. */
static void bad_utf8_and_long_texts(void) {
    enum { N = 200000 };
    static const char *const words[] = {"a",   "\xcc\x81",     " ",
                                        "sea", "\xe7\x8c\xab", "\xe2\x96\x81"};
    opened o = {.name = ""};
    char *text = malloc(N + 8);
    if (text == NULL) abort();
    if (open_it(&o, "t5.json"))
        CHECK(strstr(ids_of_n(o.t, "sea\xff", 4, 0), "byte 0xff at offset 3") != NULL);
    if (open_it(&o, "bytes.json")) CHECK(survives(o.t, "sea\xff \xe2\x82", 7));
    if (open_it(&o, "gpt1.json"))
        CHECK(strstr(ids_of_n(o.t, "sea\xff", 4, 0), "byte 0xff at offset 3") != NULL);
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        static const char *const files[] = {"t5.json",
                                            "albert.json",
                                            "words.json",
                                            "bytes.json",
                                            "clip.json",
                                            "gpt1.json",
                                            "inner.json",
                                            "split.json",
                                            "wordpiece.json",
                                            "match-bert.json",
                                            "match-llama.json",
                                            "match-scripts.json",
                                            "match-extended.json"};
        size_t k = strlen(words[w]), n = 0;
        for (; n < N; n += k) memcpy(text + n, words[w], k);
        for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
            tfm_ids ids = {0};
            tfm_error err = {0};
            if (!open_it(&o, files[i])) continue;
            tfm_status st = tfm_tokenize(o.t, text, n, 0, &ids, NULL, &err);
            /* a normal form refuses to sort so many marks */
            CHECK(st == TFM_OK || (w == 1 && strstr(err.message, "combining marks")));
            tfm_ids_free(&ids);
        }
    }
    free(text);
    close_it(&o);
}

int main(void) {
    UNIT_RUN(unigram);
    UNIT_RUN(stages);
    UNIT_RUN(matching);
    UNIT_RUN(bad_utf8_and_long_texts);
    return unit_done();
}
