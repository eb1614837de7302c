/* Lists of steps of normalisers and decoders, tokens around a text, words cut at white space: by
 * hand, where tests/golden/tokenizers has no case, and what is refused. */
#include "tokenizer_util.h"

/* 0 <unk>  1 a  2 b  3 ab  4 _  5 x 6 <s> 7 </s>; "_" is an ordinary piece */
static void make(small *s) {
    static double wide[8] = {0, -2, -2, -3, -2, -2, 0, 0};
    small_init(s, TFM_VOCAB_UNIGRAM);
    s->src.unk = small_piece(s, "<unk>", 0, TFM_TOKEN_UNKNOWN);
    small_piece(s, "a", -2, 0);
    small_piece(s, "b", -2, 0);
    small_piece(s, "ab", -3, 0);
    small_piece(s, "_", -2, 0);
    small_piece(s, "x", -2, 0);
    small_piece(s, "<s>", 0, TFM_TOKEN_CONTROL);
    small_piece(s, "</s>", 0, TFM_TOKEN_CONTROL);
    s->src.wide_score = wide;
    s->src.normaliser = "steps";
}

/* The ids of a text with this one step. */
static const char *with(const char *kind, const char *a, const char *b, const char *text) {
    static char out[64];
    const tfm_vocab_step step = {kind, a, b};
    small s;
    make(&s);
    s.src.step = &step;
    s.src.n_steps = 1;
    if (small_open(&s)) snprintf(out, sizeof out, "%s", ids_of(&s, text, 0));
    small_close(&s);
    return out;
}

static void steps(void) {
    CHECK_STR(with("lowercase", NULL, NULL, "aB\xc4\xb0"), "3 0");
    CHECK_STR(with("strip-left", NULL, NULL,
                   " \xe3\x80\x80"
                   "ab"),
              "3");
    CHECK_STR(with("strip-right", NULL, NULL, "ab\xc2\x85 "), "3");
    CHECK_STR(with("strip-right", NULL, NULL, " "), "");
    CHECK_STR(with("prepend", "_", NULL, "a"), "4 1");
    CHECK_STR(with("prepend", "_", NULL, ""), "");
    CHECK_STR(with("replace", "aa", "b", "aaa"), "2 1");
    CHECK_STR(with("replace", "a", "", "aaa"), "");
    CHECK_STR(with("replace-regex", "\\s+", "_", "a \n b"), "1 4 2");
    CHECK_STR(with("replace-regex", "[ab]$", "x", "ab"), "1 5");
    CHECK_STR(with("nfkc", NULL, NULL, "\xef\xbd\x81\xef\xbd\x82"), "3");
    CHECK_STR(with("nmt", NULL, NULL,
                   "\x01"
                   "a\x7f"),
              "1");
    CHECK_STR(with("strip-accents", NULL, NULL, "a\xcc\x81"), "1");
    CHECK_STR(with("charsmap", NULL, NULL, "ab"), "3"); /* without a table nothing changes */
    CHECK_STR(with("replace-regex", "x*", "_", "ab"),
              "!normaliser: the pattern matches no character");
}

/* Where Oniguruma's syntax is not PCRE2's; what comes out is what tokenizers 0.20.3 makes. */
static void patterns(void) {
    CHECK_STR(with("replace-regex", "(?x) a # [x\n b", "x", "ab"), "5");
    CHECK_STR(with("replace-regex", "(?x)a#)", "x", "ab"), "5 2");
    CHECK_STR(with("replace-regex", "a(?#[\\)x)b", "x", "ab"), "5");
    CHECK_STR(with("replace-regex", "(?x: a ) b", "x", "a b"), "5");
    CHECK_STR(with("replace-regex", "(?x)(?-x:a b)  a", "x", "a ba"), "5");
    CHECK_STR(with("replace-regex", "(?x)a + b", "x", "aaab"), "5");
    CHECK_STR(with("replace-regex",
                   "(?x)a\x0b"
                   "b",
                   "x", "ab"),
              "3");
    CHECK_STR(with("replace-regex",
                   "(?x)a\xc2\x85"
                   "b",
                   "x",
                   "a\xc2\x85"
                   "b"),
              "5");
    CHECK_STR(with("replace-regex", "(?x)[ #]+", "x", "a # b"), "1 5 2");
    CHECK_STR(with("replace-regex", "(?x)a\\ b", "x", "a b"), "5");
    CHECK_STR(with("replace-regex", "(?m)a.b", "x", "a\nb"), "5");
    CHECK_STR(with("replace-regex", "(?m:a.)b", "x", "a\nb"), "5");
    CHECK_STR(with("replace-regex", "a(?i)B|_", "x", "ab_a_"), "5 4 5"); /* a(?i:B|_) */
    CHECK_STR(with("replace-regex", "(a(?x) b) x", "_", "ab x"), "4");
    CHECK_STR(with("replace-regex", "\\Qa", "x", "Qaa"), "5 1");
    CHECK_STR(with("replace-regex", "[^(\\s|[b_])]+", "x", "a_ab"), "5 4 5 2");
    CHECK_STR(with("replace-regex", "[x[ab]_]+", "x", "a_xb"), "5");
    CHECK_STR(with("replace-regex", "[[:digit:][a-b]]+", "x", "_1a2_"), "4 5 4");
}

/* (?s) is no option there, and groups have an end. */
static void bad_patterns(void) {
    static const char *const bad[] = {"(?s)a",  "(?x-u:a)", "(?#a",       "a)",
                                      "(?x)(a", "(?i",      "(?x)a #)\n)"};
    tfm_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const tfm_vocab_step step = {"replace-regex", bad[i], ""};
        tfm_vocab *v = NULL;
        tfm_tokenizer *t = NULL;
        small s;
        make(&s);
        s.src.step = &step;
        s.src.n_steps = 1;
        tfm_status st = tfm_vocab_build(&s.tables, &s.src, &err);
        if (CHECK(st == TFM_OK))
            st = tfm_vocab_open(&v, s.tables->settings, s.tables->settings_len, small_lookup,
                                s.tables, &err);
        if (st == TFM_OK) st = tfm_tokenizer_new(&t, v, &err);
        if (!CHECK(st == TFM_UNSUPPORTED || st == TFM_FORMAT)) printf("%s\n", bad[i]);
        tfm_tokenizer_free(t);
        tfm_vocab_free(v);
        tfm_vocab_tables_free(s.tables);
    }
}

/* The table is used by clusters: "A" is in it, and a mark behind goes with it. */
static void clusters(void) {
    static unsigned char map[4 + 0x400 * 4 + 5];
    const tfm_vocab_step step = {"charsmap", NULL, NULL};
    small s;
    make(&s);
    s.src.step = &step;
    s.src.n_steps = 1;
    s.src.charsmap = map;
    s.src.charsmap_len = small_charsmap(map);
    if (small_open(&s)) {
        CHECK_STR(ids_of(&s, "A\xcc\x81", 0), "1");         /* 3 bytes: a */
        CHECK_STR(ids_of(&s, "A\xcc\x81\xcc\x81", 0), "1"); /* 5 bytes */
        CHECK_STR(ids_of(&s, "A\xcc\x81\xcc\x81\xcc\x81", 0), "1 0");
        CHECK_STR(ids_of(&s, "AA", 0), "1 1");
        CHECK_STR(ids_of(&s, "a\xcc\x81", 0), "1 0");
    }
    small_close(&s);
}

static void growth_is_bounded(void) {
    char hundred[101];
    const tfm_vocab_step step[3] = {
        {"replace", "a", hundred}, {"replace", "a", hundred}, {"replace", "a", hundred}};
    small s;
    memset(hundred, 'a', 100);
    hundred[100] = '\0';
    make(&s);
    s.src.step = step;
    s.src.n_steps = 3;
    if (small_open(&s)) CHECK(strstr(ids_of(&s, "aaaaaa", 0), "times as long") != NULL);
    small_close(&s);
}

static void around_and_words(void) {
    static const int32_t before[] = {6, 5}, after[] = {7, 7};
    small s;
    make(&s);
    s.src.normaliser = "none";
    s.src.before = before;
    s.src.after = after;
    s.src.n_before = s.src.n_after = 2;
    s.src.add_bos = true;
    s.src.bos = 6;
    s.src.split_spaces = true;
    if (small_open(&s)) {
        CHECK_STR(ids_of(&s, " a\xe2\x80\x83 b\n", TFM_TOK_ADD_SPECIAL), "6 5 1 2 7 7");
        CHECK_STR(ids_of(&s, "", TFM_TOK_ADD_SPECIAL), "6 5 7 7");
        CHECK_STR(ids_of(&s, "a b", 0), "1 2");
        CHECK(strstr(s.tables->settings, "\nBefore: [6, 5]\nAfter: [7, 7]\n") != NULL);
        CHECK(strstr(s.tables->settings, "\nadd-bos: false\n") != NULL);
    }
    small_close(&s);
}

/* The text of ids with this decoder. */
static const char *decoded(const tfm_vocab_step *step, uint32_t n, const int32_t *id, size_t n_ids,
                           unsigned flags) {
    static char out[64];
    size_t len;
    small s;
    make(&s);
    s.src.decoder = step;
    s.src.n_decoder = n;
    out[0] = '\0';
    if (small_open(&s)) {
        char *text = text_of(s.t, id, n_ids, flags, &len);
        if (CHECK(text != NULL)) snprintf(out, sizeof out, "%s", text);
        free(text);
    }
    small_close(&s);
    return out;
}

static void decoders(void) {
    static const tfm_vocab_step suffix = {"suffix", "b", NULL}, meta = {"meta", "_", "first"},
                                never = {"meta", "_", ""},
                                strip[] = {{"replace", "_", " "},
                                           {"fuse", NULL, NULL},
                                           {"strip", " ", "2"}},
                                each = {"strip", "a", "1"};
    static const int32_t words[] = {1, 3, 2, 1, 6, 3}, spaced[] = {4, 4, 1, 4, 4};
    CHECK_STR(decoded(&suffix, 1, words, 6, 0), "aa  aa");
    CHECK_STR(decoded(&suffix, 1, words, 3, 0), "aa ");
    CHECK_STR(decoded(&meta, 1, spaced, 5, 0), " a  ");
    CHECK_STR(decoded(&meta, 1, spaced, 5, TFM_DETOK_CONTINUES), "  a  ");
    CHECK_STR(decoded(&never, 1, spaced, 5, 0), "  a  ");
    CHECK_STR(decoded(strip, 3, spaced, 5, 0), "a  ");
    CHECK_STR(decoded(strip, 3, spaced, 5, TFM_DETOK_CONTINUES), "  a  ");
    CHECK_STR(decoded(&each, 1, words, 6, 0), "bb"
                                              "b");
}

/* What may be the end of the text is held until it is not. */
static void strip_end(void) {
    static const tfm_vocab_step two[] = {{"fuse", NULL, NULL}, {"strip-end", "_", "2"}};
    static const int32_t all[] = {4, 4, 4, 4, 4}, one[] = {4},
                         inner[] = {4, 4, 4, 1, 4, 4, 4, 2, 4};
    CHECK_STR(decoded(two, 2, all, 5, 0), "___");
    CHECK_STR(decoded(two, 2, all, 2, 0), "");
    CHECK_STR(decoded(two, 2, one, 1, 0), "");
    CHECK_STR(decoded(two, 2, inner, 9, 0), "___a___b");
    CHECK_STR(decoded(two, 2, inner, 7, 0), "___a_");
}

static void decoding_is_bounded(void) {
    char many[2001];
    const tfm_vocab_step step[2] = {{"replace", "a", many}, {"replace", "a", many}};
    const char *bytes;
    size_t n;
    tfm_error err = {0};
    tfm_detok *d = NULL;
    small s;
    memset(many, 'a', 2000);
    many[2000] = '\0';
    make(&s);
    s.src.decoder = step;
    s.src.n_decoder = 2;
    if (small_open(&s) && CHECK_INT(tfm_detok_new(&d, s.t, 0, &err), TFM_OK)) {
        CHECK_INT(tfm_detok_push(d, 1, &bytes, &n, &err), TFM_RECORD);
        CHECK(strstr(err.message, "times as long") != NULL);
    }
    tfm_detok_free(d);
    small_close(&s);
}

static void what_is_refused(void) {
    static const tfm_vocab_step bad[] = {{"unheard", NULL, NULL},
                                         {"replace", "a", NULL},
                                         {"replace", "", "b"},
                                         {"nfc", "a", NULL},
                                         {"prepend", "\xff", NULL}};
    static const tfm_vocab_step bad_decoder[] = {
        {"nfc", NULL, NULL}, {"strip", " ", "x"}, {"meta", "_", NULL}};
    static const int32_t outside[] = {8};
    static tfm_vocab_step many[40];
    tfm_error err = {0};
    small s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make(&s);
        s.src.step = &bad[i];
        s.src.n_steps = 1;
        CHECK(tfm_vocab_build(&s.tables, &s.src, &err) != TFM_OK);
    }
    for (size_t i = 0; i < sizeof bad_decoder / sizeof *bad_decoder; i++) {
        make(&s);
        s.src.decoder = &bad_decoder[i];
        s.src.n_decoder = 1;
        CHECK(tfm_vocab_build(&s.tables, &s.src, &err) != TFM_OK);
    }
    for (size_t i = 0; i < sizeof many / sizeof *many; i++) many[i].kind = "nfc";
    make(&s);
    s.src.step = many;
    s.src.n_steps = 40;
    CHECK_INT(tfm_vocab_build(&s.tables, &s.src, &err), TFM_LIMIT);
    make(&s);
    s.src.before = outside;
    s.src.n_before = 1;
    CHECK_INT(tfm_vocab_build(&s.tables, &s.src, &err), TFM_FORMAT);
}

/* The settings of a model, which may lie. */
static void bad_settings(void) {
    static const char *const bad[][2] = {
        {"Later: 1\n", "Later"},          {"Later: [1]\n", "Later"},
        {"Before: [8]\n", "8"},           {"Before: [-1]\n", "Before"},
        {"Before: [x]\n", "Before"},      {"Before: 1\n", "Before"},
        {"steps: [nfc]\n", "steps"},      {"steps:\n  - []\n", "steps"},
        {"steps:\n  - [y]\n", "\"y\""},   {"steps:\n  - [replace, a, b, c]\n", "steps"},
        {"Decoder:\n  - [nfc]\n", "nfc"}, {"Split-spaces: perhaps\n", "Split-spaces"},
        {"Matching: [1]\n", "Matching"},  {"Matching: true\n", "vocab.special_matching"}};
    char text[400];
    tfm_error err = {0};
    tfm_vocab *v;
    small s;
    make(&s);
    if (!small_open(&s)) return;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int n = snprintf(text, sizeof text, "type: unigram\nid: \"x\"\nsize: 8\n%s", bad[i][0]);
        CHECK(tfm_vocab_open(&v, text, (size_t)n, small_lookup, s.tables, &err) != TFM_OK);
        if (!CHECK(strstr(err.message, bad[i][1]) != NULL)) printf("%zu: %s\n", i, err.message);
    }
    small_close(&s);
}

int main(void) {
    UNIT_RUN(steps);
    UNIT_RUN(patterns);
    UNIT_RUN(bad_patterns);
    UNIT_RUN(clusters);
    UNIT_RUN(growth_is_bounded);
    UNIT_RUN(around_and_words);
    UNIT_RUN(decoders);
    UNIT_RUN(strip_end);
    UNIT_RUN(decoding_is_bounded);
    UNIT_RUN(what_is_refused);
    UNIT_RUN(bad_settings);
    return unit_done();
}
