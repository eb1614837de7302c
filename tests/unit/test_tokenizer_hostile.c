/* Vocabularies that lie: settings and tables of a good one, changed at random, must be refused or
 * used without a crash; the sanitizer builds watch. Also what the builder must refuse, and that
 * settings survive being written and read. */
#include "tokenizer_util.h"

static void make(small *s, int kind) {
    /* A -> a, B -> "b " */
    static unsigned char map[4 + 0x400 * 4 + 5];
    small_init(s, kind == 0 ? TFM_VOCAB_BPE : TFM_VOCAB_SPM);
    small_byte_pieces(s);
    if (kind == 2) {
        s->src.type = TFM_VOCAB_UNIGRAM;
        s->src.charsmap = map;
        s->src.charsmap_len = small_charsmap(map);
        s->src.remove_extra_spaces = true;
    }
    s->src.bos = small_piece(s, "<s>", 0, TFM_TOKEN_CONTROL);
    small_piece(s, "<tool>", 0, TFM_TOKEN_ADDED);
    small_piece(s, "<tools>", 0, TFM_TOKEN_ADDED | TFM_TOKEN_RSTRIP);
    small_piece(s, "a", 0, 0);
    small_piece(s, "aa", 0, 0);
    small_piece(s, "aaaa", 0, 0);
    small_merge(s, "a", "a");
    small_merge(s, "aa", "aa");
    s->pattern[0] = "\\s+|\\p{N}|a+\"\\x{2581}\xe2\x96\x81\xf0\x9f\x98\x80";
    s->src.n_patterns = kind == 0;
    s->src.add_bos = true;
    s->src.add_space_prefix = s->src.space_to_meta = kind > 0;
    s->src.normaliser = kind == 0 ? "nfc" : kind == 1 ? "none" : "charsmap";
}

/* Everything that can be asked of a vocabulary. */
static void use(const tfm_vocab *v) {
    static const char text[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
        "ABA <tool><tools> <s> \xe2\x96\x81 e\xcc\x81 12 \xff\xf0\x9f\x98\x80";
    tfm_tokenizer *t = NULL;
    tfm_ids ids = {0};
    tfm_detok *d = NULL;
    const char *bytes;
    size_t n;
    uint32_t size = tfm_vocab_size(v);
    for (uint32_t i = 0; i < size && i < 1000; i++) {
        const char *p = tfm_vocab_piece(v, i, &n);
        tfm_vocab_find(v, p, n);
        tfm_vocab_flags(v, i);
        tfm_vocab_score(v, i);
    }
    if (tfm_tokenizer_new(&t, v, NULL) != TFM_OK) return;
    for (unsigned flags = 0; flags < 4; flags++) {
        tfm_status st = tfm_tokenize(t, text, sizeof text - 1, flags, &ids, NULL, NULL);
        CHECK(st == TFM_OK || st == TFM_RECORD);
    }
    if (tfm_detok_new(&d, t, 0, NULL) == TFM_OK) {
        for (uint32_t i = 0; i <= size && i < 1000; i++)
            if (tfm_detok_push(d, (int32_t)i, &bytes, &n, NULL) == TFM_OK) CHECK(n < 100000);
        for (size_t i = 0; i < ids.len; i++) {
            CHECK(ids.data[i] >= 0 && (uint32_t)ids.data[i] < size);
            CHECK(tfm_detok_push(d, ids.data[i], &bytes, &n, NULL) == TFM_OK);
        }
        CHECK(tfm_detok_finish(d, &bytes, &n, NULL) == TFM_OK);
    }
    tfm_detok_free(d);
    tfm_ids_free(&ids);
    tfm_tokenizer_free(t);
}

/* Copies of the tables that may be spoiled. */
typedef struct copy {
    tfm_vocab_tables t;
    tfm_tensor tensor[16];
    void *data[16];
} copy;

static void copy_tables(copy *c, const tfm_vocab_tables *t) {
    c->t = *t;
    c->t.tensor = c->tensor;
    for (size_t i = 0; i < t->n_tensors; i++) {
        c->tensor[i] = t->tensor[i];
        c->data[i] = malloc((size_t)t->tensor[i].bytes + 1);
        if (c->data[i] == NULL) abort();
        if (t->tensor[i].bytes) memcpy(c->data[i], t->tensor[i].data, (size_t)t->tensor[i].bytes);
        c->tensor[i].data = c->data[i];
    }
}

static void free_tables(copy *c) {
    for (size_t i = 0; i < c->t.n_tensors; i++) free(c->data[i]);
}

static void spoil_table(copy *c, uint64_t *seed) {
    size_t i = small_random(seed) % c->t.n_tensors;
    tfm_tensor *t = &c->tensor[i];
    unsigned char *p = c->data[i];
    if (t->bytes == 0) return;
    size_t at = small_random(seed) % (size_t)t->bytes;
    static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
    switch (small_random(seed) % 6) {
    case 0: p[at] = (unsigned char)small_random(seed); break;
    case 1: memset(p + at, values[small_random(seed) % 5], ((size_t)t->bytes - at) % 9); break;
    case 2: t->dims[0] = small_random(seed) % 3 ? t->dims[0] / 2 : small_random(seed); break;
    case 3: t->dtype = (tfm_dtype)(small_random(seed) % 9); break;
    case 4: t->bytes = at; break;
    default: memset(p, values[small_random(seed) % 5], (size_t)t->bytes); break;
    }
}

static void spoiled_tables_do_no_harm(void) {
    uint64_t seed = 20260101;
    unsigned n_opened = 0;
    for (int kind = 0; kind < 3; kind++) {
        small s;
        make(&s, kind);
        if (!small_open(&s)) return;
        for (int round = 0; round < 3000; round++) {
            copy c;
            tfm_vocab *v = NULL;
            tfm_error err = {0};
            copy_tables(&c, s.tables);
            for (uint32_t k = 0; k <= small_random(&seed) % 3; k++) spoil_table(&c, &seed);
            tfm_status st =
                tfm_vocab_open(&v, c.t.settings, c.t.settings_len, small_lookup, &c.t, &err);
            CHECK((st == TFM_OK) == (v != NULL));
            if (st == TFM_OK)
                use(v);
            else
                CHECK(st == TFM_FORMAT && err.message[0]);
            n_opened += st == TFM_OK;
            tfm_vocab_free(v);
            free_tables(&c);
        }
        small_close(&s);
    }
    CHECK(n_opened > 1000); /* most lies are found only when a piece is read */
}

static void spoiled_settings_do_no_harm(void) {
    uint64_t seed = 42;
    for (int kind = 0; kind < 3; kind++) {
        small s;
        make(&s, kind);
        if (!small_open(&s)) return;
        for (int round = 0; round < 3000; round++) {
            char text[4096];
            size_t n = s.tables->settings_len;
            tfm_vocab *v = NULL;
            if (!CHECK(n < sizeof text)) return;
            memcpy(text, s.tables->settings, n);
            for (uint32_t k = 0; k <= small_random(&seed) % 4; k++) {
                size_t at = small_random(&seed) % n;
                switch (small_random(&seed) % 3) {
                case 0: text[at] = (char)small_random(&seed); break;
                case 1: text[at] = "0919tfn:- \n\"\\[{&*Z"[small_random(&seed) % 19]; break;
                default: n = at + 1; break;
                }
            }
            if (tfm_vocab_open(&v, text, n, small_lookup, s.tables, NULL) == TFM_OK) use(v);
            tfm_vocab_free(v);
        }
        small_close(&s);
    }
}

/* All slots taken: a look-up that finds nothing must still end. */
static void full_tables_end_the_search(void) {
    small s;
    copy c;
    tfm_vocab *v = NULL;
    make(&s, 0);
    if (!small_open(&s)) return;
    copy_tables(&c, s.tables);
    for (size_t i = 0; i < c.t.n_tensors; i++)
        if (strcmp(c.tensor[i].name, "vocab.hash") == 0 ||
            strcmp(c.tensor[i].name, "vocab.merges") == 0)
            memset(c.data[i], 1, (size_t)c.tensor[i].bytes);
    CHECK(tfm_vocab_open(&v, c.t.settings, c.t.settings_len, small_lookup, &c.t, NULL) == TFM_OK);
    CHECK_INT(tfm_vocab_find(v, "a", 1), -1);
    use(v);
    tfm_vocab_free(v);
    free_tables(&c);
    small_close(&s);
}

static void settings_come_back(void) {
    small s, again;
    make(&s, 0);
    make(&again, 0);
    if (!small_open(&s) || !small_open(&again)) return;
    CHECK_STR(s.tables->id, again.tables->id); /* the same source, the same id */
    CHECK_INT(strlen(s.tables->id), 16);
    CHECK_STR(tfm_vocab_id(s.v), s.tables->id);
    CHECK_INT(tfm_vocab_size(s.v), s.src.n);
    CHECK_INT(tfm_vocab_bos(s.v), 256);
    CHECK_INT(tfm_vocab_eos(s.v), -1);
    CHECK(tfm_vocab_kind(s.v) == TFM_VOCAB_BPE);
    CHECK(strstr(s.tables->settings, "normaliser: nfc\n") != NULL);
    CHECK(strstr(s.tables->settings, "\\U0001F600") != NULL); /* ASCII only */
    small_close(&again);
    make(&again, 0);
    again.src.add_bos = false;
    if (!small_open(&again)) return;
    CHECK(strcmp(s.tables->id, again.tables->id) != 0); /* other ids for a text: another id */
    small_close(&again);
    small_close(&s);
}

static void check_refused(small *s, tfm_status want, const char *text) {
    tfm_error err = {0};
    CHECK_INT(tfm_vocab_build(&s->tables, &s->src, &err), want);
    CHECK(s->tables == NULL);
    if (!CHECK(strstr(err.message, text) != NULL)) printf("%s\n", err.message);
    small_close(s);
}

static void the_builder_refuses(void) {
    small s;
    make(&s, 0);
    small_merge(&s, "a", "<x>");
    check_refused(&s, TFM_FORMAT, "not in the vocabulary");
    make(&s, 0);
    s.src.bos = 1000;
    check_refused(&s, TFM_FORMAT, "special token 1000");
    make(&s, 0);
    s.src.normaliser = "nmt";
    check_refused(&s, TFM_UNSUPPORTED, "nmt");
    make(&s, 0);
    s.pattern[0] = "\xff";
    check_refused(&s, TFM_FORMAT, "UTF-8");
    make(&s, 1);
    s.src.score = NULL;
    check_refused(&s, TFM_FORMAT, "scores");
    make(&s, 1);
    s.src.n = 0;
    check_refused(&s, TFM_FORMAT, "no pieces");
    static char longest[2000];
    memset(longest, 'x', sizeof longest - 1);
    make(&s, 1);
    small_piece(&s, longest, 0, TFM_TOKEN_ADDED);
    check_refused(&s, TFM_LIMIT, "1999 bytes");
}

int main(void) {
    UNIT_RUN(spoiled_tables_do_no_harm);
    UNIT_RUN(spoiled_settings_do_no_harm);
    UNIT_RUN(full_tables_end_the_search);
    UNIT_RUN(settings_come_back);
    UNIT_RUN(the_builder_refuses);
    return unit_done();
}
