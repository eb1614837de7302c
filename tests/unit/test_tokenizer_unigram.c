/* Unigram vocabularies and SentencePiece's normalisation by a table: small ones by hand, and the
 * test models of SentencePiece against the ids that it gives (version 0.2.3). Needs $TFM_ASSETS for
 * these. */
#include "tfm/load.h"
#include "tokenizer_util.h"

static const tfm_load_options load_from_share = {.share_dir = "share"};

#define META "\xe2\x96\x81"

static unsigned char map[4 + 0x400 * 4 + 5];

/* 0 <unk>  1 ▁  2 a  3 b  4 ab  5 ▁a  6 abc  7 <s>  8 <sep>  9 aaa */
static void make(small *s) {
    small_init(s, TFM_VOCAB_UNIGRAM);
    s->src.unk = small_piece(s, "<unk>", 0, TFM_TOKEN_UNKNOWN);
    small_piece(s, META, -2, 0);
    small_piece(s, "a", -2, 0);
    small_piece(s, "b", -3, 0);
    small_piece(s, "ab", -4.5f, 0);
    small_piece(s, META "a", -3, 0);
    small_piece(s, "abc", -5, 0);
    small_piece(s, "<s>", 0, TFM_TOKEN_CONTROL);
    small_piece(s, "<sep>", 0, TFM_TOKEN_ADDED);
    small_piece(s, "aaa", -6, 0);
    s->src.add_space_prefix = s->src.space_to_meta = s->src.remove_extra_spaces = true;
    s->src.normaliser = "charsmap";
    s->src.charsmap = map;
    s->src.charsmap_len = small_charsmap(map);
}

static void the_best_way_is_found(void) {
    small s;
    make(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "a", 0), "5");
    CHECK_STR(ids_of(&s, "ab", 0), "5 3");    /* -6 against -6.5 */
    CHECK_STR(ids_of(&s, "bab", 0), "1 3 4"); /* ab -4.5 against a b -5 */
    CHECK_STR(ids_of(&s, "babc", 0), "1 3 6");
    CHECK_STR(ids_of(&s, "baaa", 0), "1 3 9"); /* of equal sums the one found first */
    CHECK_STR(ids_of(&s, "", 0), "");
    CHECK_STR(ids_of(&s, "<s>", 0), "1 0"); /* what is written is not meant */
    CHECK_STR(ids_of(&s, "<s>a", TFM_TOK_PARSE_SPECIAL), "7 5");
    CHECK_STR(ids_of(&s, "<sep>a", 0), "1 8 2");
    CHECK_STR(ids_of(&s, "a <sep> a ", 0), "5 1 8 5");
    small_close(&s);
}

static void unknown_characters_are_one_token_and_counted(void) {
    small s;
    make(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s,
                     "xyz\xf0\x9f\x99\x82"
                     "bxb",
                     0),
              "1 0 3 0 3");
    CHECK_INT(small_unknown(&s,
                            "xyz\xf0\x9f\x99\x82"
                            "bxb",
                            10),
              5);
    CHECK_INT(small_unknown(&s, "ab", 2), 0);
    CHECK(strstr(ids_of(&s, "ab\xff", 0), "byte 0xff at offset 2") != NULL);
    small_close(&s);
    make(&s);
    s.src.unk = -1;
    if (!small_open(&s)) return;
    CHECK(ids_of(&s, "x", 0)[0] == '!');
    small_close(&s);
}

static void bytes_spell_what_is_unknown(void) {
    small s;
    make(&s);
    s.src.type = TFM_VOCAB_SPM; /* for the names of the byte pieces */
    small_byte_pieces(&s);
    s.src.type = TFM_VOCAB_UNIGRAM;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "bx\xc3\xa9", 0), "1 3 130 205 179"); /* piece 10 + byte */
    CHECK_STR(ids_of(&s, "b\xff", 0), "1 3 265");
    CHECK_INT(small_unknown(&s, "bx\xc3\xa9\xff", 5), 0);
    small_close(&s);
}

static void the_table_normalises(void) {
    small s;
    make(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "  A  bAB ", 0), "5 1 3 4"); /* ▁a ▁b ab, and the end is stripped */
    CHECK_STR(ids_of(&s, "B a", 0), "1 3 5");         /* "b " and a space are one space */
    CHECK_STR(ids_of(&s, "   ", 0), "");
    small_close(&s);
    make(&s);
    s.src.remove_extra_spaces = s.src.add_space_prefix = false;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, " B ", 0), "1 3 1 1");
    small_close(&s);
    make(&s);
    s.src.charsmap_len = 0;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "Ab", 0), "1 0 3");
    small_close(&s);
}

static void double_precision_decides_what_single_cannot(void) {
    double wide[10] = {0, -2, -2, -3, -4.5, -3, -5, 0, 0, -6.0000000001};
    small s;
    make(&s);
    s.src.wide_score = wide;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "baaa", 0), "1 3 2 2 2");
    small_close(&s);
}

/* Far more than one window of the search, and one that no window boundary cuts. */
static void long_texts(void) {
    enum { N = 200000 };
    small s;
    make(&s);
    char *text = malloc(N);
    if (text == NULL || !small_open(&s)) abort();
    for (unsigned kind = 0; kind < 3; kind++) {
        tfm_ids ids = {0};
        for (size_t i = 0; i < N; i++) text[i] = "abc a"[kind == 0 ? 0 : kind == 1 ? i % 5 : 4];
        if (kind == 2) memset(text, 'x', N);
        CHECK(tfm_tokenize(s.t, text, N, 0, &ids, NULL, NULL) == TFM_OK);
        /* ▁a, then (N - 1) / 3 aaa and one a; ▁ abc and ▁a abc ▁a ...; ▁ and one unknown token */
        CHECK_INT(ids.len, kind == 0 ? 1 + (N - 1) / 3 + 1 : kind == 1 ? N / 5 * 2 + 1 : 2);
        tfm_ids_free(&ids);
    }
    free(text);
    small_close(&s);
}

static void what_is_no_table_is_refused(void) {
    small s;
    tfm_error err = {0};
    make(&s);
    for (size_t n = 1; n < s.src.charsmap_len; n += 7) {
        small cut;
        make(&cut);
        cut.src.charsmap_len = n < 4101 ? n : 4101;
        CHECK(tfm_vocab_build(&cut.tables, &cut.src, &err) == TFM_FORMAT);
    }
    map[0] = 1; /* units of half a word */
    CHECK(tfm_vocab_build(&s.tables, &s.src, &err) == TFM_FORMAT);
    char *piece = calloc(2000, 1);
    if (piece == NULL) abort();
    memset(piece, 'a', 1500);
    make(&s);
    small_piece(&s, piece, -1, 0);
    CHECK(tfm_vocab_build(&s.tables, &s.src, &err) == TFM_LIMIT);
    free(piece);
}

static void as_sentencepiece_does(void) {
    static const struct {
        const char *text, *english, *japanese;
    } list[] = {
        {"I saw a girl with a telescope.", "9 459 11 939 44 11 4 142 82 8 28 21 132 6",
         "6 3213 6 1995 931 5808 6 931 6 2373 1079 2366 2123 6 5808 1079 1485 1895 6 931 6 1485 "
         "1129 2123 1129 1995 2355 1477 2586 1129 601"},
        {" \343\200\200 \357\254\201ne\302\240 \342\221\240\342\221\241  x ", "706 4 357 596 4 297",
         "6 5642 5463 1129 1847 6 5887"},
        {"\357\274\241\357\274\242\357\274\243\343\200\200\343\215\277\357\275\266\357\276\236",
         "104 540 381 4 0", "6 1427 2865 1531 6 4579 878"},
        {"\345\220\276\350\274\251\343\201\257\347\214\253\343\201\247\343\201\202\343\202\213"
         "\343\200\202\345\220\215\345\211\215\343\201\257\343\201\276\343\201\240\347\204\241"
         "\343\201\204\343\200\202",
         "4 0", "6 3973 6019 9 6022 24 5 1606 9 2206 2441 5"},
        {"\346\227\245\346\234\254\314\201\350\252\236 <sep>a <sep> b\342\226\201",
         "4 0 4 0 91 29 0 19 4 0 91 29 0 80",
         "6 47 0 329 6 6051 1995 1129 2586 4977 931 6 6051 1995 1129 2586 4977 6 4717"},
        {"\360\237\231\202\360\237\231\202 x\360\237\231\202", "4 0 4 297 0", "6 0 6 5887 0"},
        {"-----------------------", "4 35 415 415 415 415 415 415 415 415 415 415 415", NULL},
        {"   ", "", ""}};
    const char *dir = getenv("TFM_ASSETS");
    for (int language = 0; language < 2 && dir; language++) {
        char path[4096];
        tfm_model *m = NULL;
        tfm_tokenizer *t = NULL;
        const tfm_vocab *v = NULL;
        snprintf(path, sizeof path, "%s/sentencepiece/%s", dir,
                 language == 0 ? "test_model.model" : "test_ja_model.model");
        FILE *f = fopen(path, "rb");
        if (f == NULL) continue;
        fclose(f);
        if (CHECK(tfm_load_vocab(path, &load_from_share, &m, NULL) == TFM_OK) &&
            CHECK(tfm_model_vocab(m, &v, NULL) == TFM_OK && v) &&
            CHECK(tfm_tokenizer_new(&t, v, NULL) == TFM_OK))
            for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
                const char *want = language == 0 ? list[i].english : list[i].japanese;
                if (want) CHECK_STR(ids_of_n(t, list[i].text, strlen(list[i].text), 0), want);
            }
        tfm_tokenizer_free(t);
        tfm_model_free(m);
    }
}

int main(void) {
    the_best_way_is_found();
    unknown_characters_are_one_token_and_counted();
    bytes_spell_what_is_unknown();
    the_table_normalises();
    double_precision_decides_what_single_cannot();
    long_texts();
    what_is_no_table_is_refused();
    as_sentencepiece_does();
    return unit_done();
}
