/* tiktoken files: lines, names, what stands in FILE.json, which neighbours merge; and the real ones
 * of $TFM_ASSETS, whose ids were made with tiktoken 0.14.0. */
#include "model_files.h"
#include "tfm/load.h"
#include "tokenizer_util.h"

static tfm_load_options load_from_share = {.share_dir = "share"};

/* The ids of a text by the file, or the message from the file's name on. */
static const char *by_path(const char *path, const char *name, const char *text, unsigned flags) {
    static char out[1024];
    tfm_error err = {0};
    tfm_model *m = NULL;
    tfm_tokenizer *t = NULL;
    const tfm_vocab *v = NULL;
    tfm_status st = tfm_load_vocab(path, &load_from_share, &m, &err);
    if (st == TFM_OK) st = tfm_model_vocab(m, &v, &err);
    if (st == TFM_OK) st = tfm_tokenizer_new(&t, v, &err);
    const char *at = strstr(err.message, name);
    if (st != TFM_OK)
        snprintf(out, sizeof out, "!%s", at ? at : err.message);
    else
        snprintf(out, sizeof out, "%s", ids_of_n(t, text, strlen(text), flags));
    if (st == TFM_OK && !CHECK(survives(t, text, strlen(text)))) printf("%s\n", text);
    tfm_tokenizer_free(t);
    tfm_model_free(m);
    return out;
}

static const char *by_file(const char *text, unsigned flags) {
    return by_path(in_dir("my.tiktoken"), "my.tiktoken", text, flags);
}

/* The 256 bytes as ids 0 to 255, then these lines. */
static void put_vocab(const char *lines) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static char text[8192];
    size_t n = 0;
    for (unsigned i = 0; i < 256; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%c%c== %u\n", digit[i >> 2],
                              digit[(i & 3) << 4], i);
    snprintf(text + n, sizeof text - n, "%s", lines);
    put_text("my.tiktoken", text);
}

#define SETTINGS                                                                                   \
    "{\"pat_str\": \" ?[a-z]+|\\\\s++$|\\\\s\", \"special_tokens\": {\"<|endoftext|>\": 262}}"

static void merges_whatever_is_a_token(void) {
    /* 256 "aa", 257 "ab", 258 "aab", 259 "aaa", 260 " a" */
    put_vocab("YWE= 256\nYWI= 257\nYWFi 258\nYWFh 259\nIGE= 260\n");
    put_text("my.tiktoken.json", SETTINGS);
    CHECK_STR(by_file("ab", 0), "257");
    CHECK_STR(by_file("caab", 0), "99 258"); /* "aa" first, which makes "aab" with "b" */
    CHECK_STR(by_file("aab", 0), "258");
    CHECK_STR(by_file("aaa", 0), "259");
    CHECK_STR(by_file("caaaa", 0), "99 256 256");
    CHECK_STR(by_file("b\n \n", 0), "98 10 32 10"); /* \s++$ takes them together */
    CHECK_STR(by_file("b a", 0), "98 260");
    CHECK_STR(by_file("\xff\xf0\x9f", 0), "255 240 159");
    CHECK_STR(by_file("<|endoftext|>", TFM_TOK_PARSE_SPECIAL), "262");
    remove_file("my.tiktoken.json");
}

static void one_rank_for_several_pairs(void) {
    /* 256 "bc", 257 "ab", 258 "abc" (as a + bc and as ab + c), 259 "cc" */
    put_vocab("YmM= 256\nYWI= 257\nYWJj 258\nY2M= 259\n");
    put_text("my.tiktoken.json", SETTINGS);
    CHECK_STR(by_file("xabc", 0), "120 258");
    CHECK_STR(by_file("xabcc", 0), "120 258 99");
    CHECK_STR(by_file("xccc", 0), "120 259 99");
    remove_file("my.tiktoken.json");
}

static void refuses(const char *lines, const char *settings, const char *message) {
    put_vocab(lines);
    if (settings) put_text("my.tiktoken.json", settings);
    const char *got = by_file("a", 0);
    if (!CHECK(strstr(got, message) != NULL)) printf("%s, not %s\n", got, message);
    remove_file("my.tiktoken.json");
}

static void refuses_what_is_wrong(void) {
    CHECK_STR(
        by_file("a", 0),
        "!my.tiktoken: a tiktoken file does not say how text is split: name it as its encoding "
        "(gpt2, r50k_base, p50k_base, p50k_edit, cl100k_base, o200k_base, o200k_harmony, "
        "multilingual), or put pat_str and special_tokens into my.tiktoken.json");
    refuses("YWE= 256\nYWE 257\n", SETTINGS, "line 258 is not a token in base64");
    refuses("YWE= 256\nYW!= 257\n", SETTINGS, "line 258 is not a token in base64");
    refuses("YWF= 256\n", SETTINGS, "line 257 is not a token in base64"); /* bits left over */
    refuses("YWE=\n", SETTINGS, "line 257 is not a token in base64");
    refuses("YWE= 256\nYWI= 256\n", SETTINGS, "two tokens have the rank 256");
    refuses("YWE= 256\nYWE= 257\n", SETTINGS, "tokens 256 and 257 are the same");
    refuses("YWE= 999999999\n", SETTINGS, "257 tokens with ranks up to 999999999");
    refuses("", "{\"special_tokens\": {\"x\": 300}}", "no pat_str");
    refuses("", "{\"pat_str\": \"a\", \"special_tokens\": {\"x\": 5}}",
            "special token 'x' has the id 5, which is another token's");
    refuses("", "{\"pat_str\": \"a\", \"special_tokens\": {\"x\": 4000000}}",
            "tokens with ids up to 4000000");
    refuses("", "{\"pat_str\": \"a\", \"special_tokens\": {\"x\": \"y\"}}",
            "special_tokens: 'x' has no id");
    refuses("", "{\"pat_str\": \"a\", \"other\": 1}", "other is not known");
    refuses("", "{\"pat_str\": \"(\"}", "pre-tokenizer: pattern 1");
    remove_file("my.tiktoken");
}

/* ---- encodings of another tokenizers.yaml ---- */

/* ids of the control tokens that a file called my.tiktoken has by this description of it. */
static const char *by_names(const char *yaml, const char *text) {
    const tfm_load_options shipped = load_from_share;
    char names[1024];
    snprintf(names, sizeof names, "words: {w: x  yy z}\ntiktoken:\n%s\n", yaml);
    put_text("tokenizers.yaml", names);
    load_from_share.share_dir = dir;
    const char *got = by_file(text, TFM_TOK_PARSE_SPECIAL);
    load_from_share = shipped;
    remove_file("tokenizers.yaml");
    return got;
}

#define MINE "- {names: [your, my], split: ['[a-z]+|.'], "

static void encodings_by_name(void) {
    put_vocab("YWE= 256\n");
    CHECK_STR(by_names(MINE "tokens: {<a>: 260, <b>: 258}}", "aa<b><a>"), "256 258 260");
    CHECK_STR(by_names(MINE "next: [<a>, {text: '<{}>', each: w}, <b>]}", "<a><x><yy><z><b>"),
              "257 258 259 260 261");
    CHECK_STR(by_names(MINE "next: [{text: '<{}>', from: 98, to: 102, step: 2, decimals: 2}]}",
                       "<0.98><1.00><1.02>"),
              "257 258 259");
    CHECK_STR(by_names(MINE "next: [{text: '{}', from: 7, to: 8}, <b>]}", "7<b>"), "257 259");
    CHECK_STR(by_names(MINE "tokens: {<a>: 258}, reserved: {text: '<{}>', from: 257, to: 259}}",
                       "<257><a><259>"),
              "257 258 259");
    /* of two with one name, that of the checkpoint's size, which a file alone has not */
    CHECK_STR(
        by_names(MINE "vocab_size: 300, tokens: {<a>: 258}}\n" MINE "tokens: {<a>: 257}}", "<a>"),
        "257");
}

static void mistakes_in_encodings(void) {
    static const char *const bad[][2] = {
        {"tokens: {<a>: b}", "tokenizers.yaml:3: <a> is no number from 0 to 4194304"},
        {"tokens: {<a>: 256}", "special token '<a>' has the id 256, which is another token's"},
        {"tokens: {<a>: 4194304}", "more than 2048 special tokens, or an id out of range"},
        {"next: [{text: '{}', each: v}]", "tokenizers.yaml:3: words has no 'v'"},
        {"next: [{text: '<>', each: w}]", "tokenizers.yaml:3: the text has no {} to fill"},
        {"next: [{each: w}]", "tokenizers.yaml:3: text is missing, or no text"},
        {"next: [{text: '{}', every: w}]", "tokenizers.yaml:3: unknown key 'every'"},
        {"next: [{text: '{}', from: 1, to: 9, step: 0}]",
         "tokenizers.yaml:3: step is no number from 1 to 4194304"},
        {"next: [{text: '{}', to: 4000}]", "more than 2048 special tokens"},
        {"next: [{text: '{}', decimals: 7}]",
         "tokenizers.yaml:3: decimals is no number from 0 to 6"},
        {"reserved: {text: '{}', to: 4194304, from: 257}", "more than 2048 special tokens"},
        {"reserved: {text: '{}', step: 2}", "tokenizers.yaml:3: unknown key 'step'"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char yaml[300];
        snprintf(yaml, sizeof yaml, MINE "%s}", bad[i][0]);
        const char *got = by_names(yaml, "a");
        if (!CHECK(strstr(got, bad[i][1]) != NULL)) printf("%s, not %s\n", got, bad[i][1]);
    }
    remove_file("my.tiktoken");
}

static const char text[] =
    "Hello, w\xc3\xb6rld! I'LL 12345\n  \n\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\xa6\x99\n ";

static void real_files(void) {
    static const struct {
        const char *path, *ids;
    } files[] = {
        {"tiktoken/cl100k_base.tiktoken",
         "9906 11 289 9603 509 0 358 6 4178 220 4513 1774 14211 57668 53901 11410 99 247 198 220"},
        {"tiktoken/o200k_base.tiktoken",
         "13225 11 286 2877 582 0 3413 7454 220 7633 2548 31835 177519 9552 99 247 198 220"},
        {"tiktoken/multilingual.tiktoken", "15947 11 261 2311 348 0 286 6 24010 34466 8465 198 220 "
                                           "220 198 26410 7385 99 247 198 220"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = unit_asset(files[i].path);
        if (path == NULL) {
            UNIT_SKIP("needs $TFM_ASSETS/tiktoken");
            return;
        }
        CHECK_STR(by_path(path, "tiktoken", text, 0), files[i].ids);
    }
    CHECK_STR(by_path(unit_asset("tiktoken/multilingual.tiktoken"), "tiktoken",
                      "<|startoftranscript|><|su|><|translate|><|30.00|>", TFM_TOK_PARSE_SPECIAL),
              "50258 50357 50358 51864");
    CHECK_STR(by_path(unit_asset("tiktoken/cl100k_base.tiktoken"), "tiktoken",
                      "<|endoftext|><|endofprompt|>", TFM_TOK_PARSE_SPECIAL),
              "100257 100276");
}

int main(void) {
    make_dir("tiktoken");
    UNIT_RUN(merges_whatever_is_a_token);
    UNIT_RUN(one_rank_for_several_pairs);
    UNIT_RUN(refuses_what_is_wrong);
    UNIT_RUN(encodings_by_name);
    UNIT_RUN(mistakes_in_encodings);
    UNIT_RUN(real_files);
    rmdir(dir);
    return unit_done();
}
