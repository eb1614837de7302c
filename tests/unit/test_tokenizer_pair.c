/* A model that cuts text into the pieces of another vocabulary (Marian): what the map says,
 * stretches that the model does not know, and the real one of $TFM_ASSETS, whose ids were made with
 * transformers 4.46.3 (MarianTokenizer). */
#include "model_files.h"
#include "tfm/load.h"
#include "tokenizer_util.h"

static const tfm_load_options load_from_share = {.share_dir = "share"};

#define M "\xe2\x96\x81" /* U+2581 */

enum { EOS, UNK, A, B, NI, XY };

static const char *const source[] = {"<unk>", M "a", "b", M, "c", "bb"};
static const uint32_t source_len[] = {5, 4, 1, 3, 1, 2};
static const float source_score[] = {0, -1, -2, -3, -4, -2.5f};
static const int32_t source_id[] = {TFM_PAIR_NO_TEXT, A, B, -1, -1, 77};

static void start(small *s) {
    small_init(s, TFM_VOCAB_UNIGRAM);
    small_piece(s, "</s>", 0, TFM_TOKEN_CONTROL);
    small_piece(s, "<unk>", 0, TFM_TOKEN_UNKNOWN);
    small_piece(s, M "a", 0, 0);
    small_piece(s, "b", 0, 0);
    small_piece(s, "\xe4\xbd\xa0", 0, 0); /* ni: the other language's */
    small_piece(s, "xy", 0, 0);
    s->src.eos = EOS;
    s->src.unk = UNK;
    s->src.add_eos = true;
    s->src.n_source = 6;
    s->src.source_piece = source;
    s->src.source_len = source_len;
    s->src.source_score = source_score;
    s->src.source_id = source_id;
    s->src.normaliser = "charsmap";
    s->src.add_space_prefix = s->src.remove_extra_spaces = s->src.space_to_meta = true;
}

static void pieces_are_looked_up(void) {
    small s;
    start(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "ab a", TFM_TOK_ADD_SPECIAL), "2 3 2 0");
    CHECK_STR(ids_of(&s, "acb", 0), "2 1 3"); /* "c" has no id */
    CHECK_STR(ids_of(&s, "acc", 0), "2 1 1"); /* each such piece by itself */
    CHECK_STR(ids_of(&s, "abb", 0), "2 1");   /* "bb" scores more, though 77 is no id */
    CHECK_INT(small_unknown(&s, "acb bb", 6),
              3); /* c and bb; the space before words is no character */
    small_close(&s);
}

static void unknown_stretches(void) {
    static char text[200000];
    small s;
    start(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "a\xe4\xbd\xa0", 0), "2 4"); /* not the model's, but the vocabulary's */
    CHECK_STR(ids_of(&s, "a\xe4\xbd\xa0\xe4\xbd\xa0", 0), "2 1"); /* a stretch is one piece */
    CHECK_STR(ids_of(&s, "axyb", 0), "2 5 3");
    CHECK_STR(ids_of(&s, "axzb", 0), "2 1 3");
    CHECK_INT(small_unknown(&s, "axzb", 4), 2);
    /* Where a long text is written out in between, a stretch still stays together. */
    memset(text, 'b', sizeof text);
    for (size_t i = 1000; i < 1100; i++) {
        tfm_ids ids = {0};
        memcpy(text, "a", 1);
        memcpy(text + i, "\xe4\xbd\xa0zb", 5);
        CHECK_INT(tfm_tokenize(s.t, text, 3000, 0, &ids, NULL, NULL), TFM_OK);
        size_t found = 0;
        for (size_t k = 0; k < ids.len; k++) found += ids.data[k] == NI;
        CHECK_INT(found, 0);
        tfm_ids_free(&ids);
        memset(text + i, 'b', 5);
    }
    memset(text, 'z', sizeof text);
    CHECK_INT(small_unknown(&s, text, sizeof text), sizeof text);
    CHECK_STR(ids_of_n(s.t, text, sizeof text, 0),
              "1 1"); /* the space before it, and the stretch */
    small_close(&s);
}

static void the_way_back(void) {
    static const int32_t ids[] = {A, B, XY, A, EOS};
    small s;
    size_t n;
    start(&s);
    if (!small_open(&s)) return;
    char *text = text_of(s.t, ids, 5, 0, &n);
    CHECK_STR(text, "abxy a");
    free(text);
    CHECK(tfm_vocab_score(s.v, A) == 0);
    small_close(&s);
}

/* ---- the files ---- */

static const char *by_file(const char *path, const char *text, bool decode) {
    static char out[2048];
    tfm_error err = {0};
    tfm_model *m = NULL;
    tfm_tokenizer *t = NULL;
    const tfm_vocab *v = NULL;
    tfm_ids ids = {0};
    size_t n;
    tfm_status st = tfm_load_vocab(path, &load_from_share, &m, &err);
    if (st == TFM_OK) st = tfm_model_vocab(m, &v, &err);
    if (st == TFM_OK) st = tfm_tokenizer_new(&t, v, &err);
    if (st != TFM_OK)
        snprintf(out, sizeof out, "!%s", err.message);
    else
        snprintf(out, sizeof out, "%s", ids_of_n(t, text, strlen(text), TFM_TOK_ADD_SPECIAL));
    if (st == TFM_OK && decode &&
        CHECK_INT(tfm_tokenize(t, text, strlen(text), 0, &ids, NULL, &err), TFM_OK)) {
        char *back = text_of(t, ids.data, ids.len, 0, &n);
        CHECK_STR(back, text);
        free(back);
    }
    tfm_ids_free(&ids);
    tfm_tokenizer_free(t);
    tfm_model_free(m);
    return out;
}

static void real_pair(void) {
    static const struct {
        const char *file, *text, *ids;
        bool is_exact;
    } cases[] = {
        {"marian-tokenizer", "Hello, world! How are you?", "34291 3 245 95 214 55 65 24 0", true},
        {"marian-tokenizer/target.spm", "Hello, world! How are you?",
         "448 17531 3 28 13946 95 271 989 55 65 24 0", true},
        {"marian-tokenizer", "na\xc3\xafve  \xe4\xbd\xa0\xe5\xa5\xbd \xe4\xbd\xa0 \xf0\x9f\xa6\x99",
         "44 7543 762 28 53868 53422 28 53868 28 1 0", false},
        {"marian-tokenizer", "a | b \xeb\x8b\xa4 Is", "17 1 755 28 1 673 0", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = unit_asset(cases[i].file);
        if (path == NULL) {
            UNIT_SKIP("needs $TFM_ASSETS/marian-tokenizer");
            return;
        }
        CHECK_STR(by_file(path, cases[i].text, cases[i].is_exact), cases[i].ids);
    }
}

static void refuses_half_a_pair(void) {
    /* A SentencePiece model of two pieces, unigram: <unk> and a. */
    static const char model[] = "\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02"
                                "\x0a\x08\x0a\x01"
                                "a\x15\0\0\x80\xbf";
    put_file("source.spm", model, sizeof model - 1);
    CHECK(by_file(in_dir("source.spm"), "b", false)[0] !=
          '!'); /* by itself it is one as any other */
    put_text("vocab.json", "{\"</s>\": 0, \"<unk>\": 1, \"a\": 2}");
    CHECK(strstr(by_file(in_dir("source.spm"), "a", false), "target.spm is not there"));
    put_file("target.spm", model, sizeof model - 1);
    CHECK_STR(by_file(in_dir(""), "ab", false), "1 2 1 0");
    put_text("tokenizer_config.json", "{\"separate_vocabs\": true}");
    CHECK(strstr(by_file(in_dir("source.spm"), "a", false),
                 "tokenizer_config.json: separate_vocabs"));
    remove_file("tokenizer_config.json");
    put_text("vocab.json", "{\"</s>\": 0, \"a\": 1}");
    CHECK(strstr(by_file(in_dir("source.spm"), "a", false), "vocab.json has no <unk>"));
    remove_file("vocab.json");
    remove_file("source.spm");
    remove_file("target.spm");
}

int main(void) {
    make_dir("pair");
    UNIT_RUN(pieces_are_looked_up);
    UNIT_RUN(unknown_stretches);
    UNIT_RUN(the_way_back);
    UNIT_RUN(real_pair);
    UNIT_RUN(refuses_half_a_pair);
    rmdir(dir);
    return unit_done();
}
