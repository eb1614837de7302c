/* The fast paths of the text layer against the plain ones: patterns matched by scan.c against PCRE2
 * (all code points in their contexts, random texts), what a hostile pattern may cost, NFC in
 * stretches against NFC of the whole, texts cut into words against texts merged whole. */
#include <time.h>

#include "text/text_internal.h"
#include "tokenizer_util.h"

#include <utf8proc.h>

/* ---- where a text is split ---- */

enum { ENDS_MAX = 1 << 20 };
static size_t ends[2][ENDS_MAX], n_ends[2];
static int side;
static const unsigned char *base;

static tfm_status note_end(tfm_tok_run *r, const unsigned char *piece, size_t n) {
    (void)r;
    if (n_ends[side] < ENDS_MAX) ends[side][n_ends[side]++] = (size_t)(piece - base) + n;
    return TFM_OK;
}

typedef struct both {
    tfm_vocab_settings set;
    tfm_pretok *p[2]; /* scan.c where it fits; PCRE2 */
    tfm_tokenizer t[2];
    tfm_tok_run run[2];
} both;

static bool open_both(both *b, const char *const *patterns, uint32_t n) {
    memset(b, 0, sizeof *b);
    b->set.n_patterns = n;
    for (uint32_t i = 0; i < n; i++) {
        b->set.pattern[i] = strdup(patterns[i]);
        b->set.pattern_len[i] = strlen(patterns[i]);
    }
    for (int k = 0; k < 2; k++) {
        if (!CHECK(tfm_pretok_new(&b->p[k], &b->set, k == 0, NULL) == TFM_OK)) return false;
        b->t[k].pretok = b->p[k];
        b->run[k].t = &b->t[k];
    }
    return true;
}

static void close_both(both *b) {
    for (int k = 0; k < 2; k++) {
        tfm_pretok_run_free(&b->run[k]);
        tfm_pretok_free(b->p[k]);
    }
    for (uint32_t i = 0; i < b->set.n_patterns; i++) free(b->set.pattern[i]);
}

static bool agree(both *b, const char *name, const unsigned char *text, size_t n) {
    base = text;
    for (side = 0; side < 2; side++) {
        tfm_error err = {0};
        n_ends[side] = 0;
        b->run[side].src_len = n;
        b->run[side].err = &err;
        b->run[side].steps = b->run[side].steps_max = 0;
        if (!CHECK(tfm_pretok_split(&b->run[side], text, n, note_end) == TFM_OK)) {
            printf("%s: %s\n", name, err.message);
            return false;
        }
    }
    if (CHECK(n_ends[0] == n_ends[1] && memcmp(ends[0], ends[1], n_ends[0] * sizeof **ends) == 0))
        return true;
    for (size_t i = 0; i < n_ends[0] && i < n_ends[1]; i++)
        if (ends[0][i] != ends[1][i]) {
            size_t from = ends[0][i] > 20 ? ends[0][i] - 20 : 0, to = ends[0][i] + 20;
            printf("%s: a piece ends at %zu, by PCRE2 at %zu, in \"%.*s\"\n", name, ends[0][i],
                   ends[1][i], (int)((to < n ? to : n) - from), (const char *)text + from);
            break;
        }
    return false;
}

/* ---- texts ---- */

static unsigned char text[1 << 20];
static size_t text_len;

static void put(const char *s) {
    size_t n = strlen(s);
    memcpy(text + text_len, s, n);
    text_len += n;
}

static void put_char(uint32_t cp) {
    text_len += tfm_utf8_encode(cp, text + text_len);
}

/* Nothing is assigned from 0x32400 to 0xe0000, nor from 0xe1000 on but for private use. */
static bool is_one_of_many(uint32_t cp) {
    return cp >= 0x32400 && (cp < 0xe0000 || cp >= 0xe1000);
}

/* Code points from..to-1, each behind and before what the patterns tell apart. First between a
 * letter, a digit and a sign, whose pieces it joins or not by its class; then in every context
 * where classes are mixed most (or under LONG), in one of them by turns elsewhere. Of those that
 * are all alike one in 16, with the first and last of a block. */
static void put_contexts(uint32_t from, uint32_t to) {
    enum { CONTEXTS = 7 };
    static const char *const around[CONTEXTS][2] = {
        {"a", "b "}, {" ", "1"}, {"'", "s"}, {"\n", "\n"}, {"1", " "}, {"  ", "!"}, {"A", "\t"}};
    const bool is_long = getenv("LONG") != NULL;
    text_len = 0;
    for (uint32_t cp = from; cp < to; cp++) {
        if (!is_long && is_one_of_many(cp) && cp % 16 != 0 && cp % 512 != 511) continue;
        put("a");
        put_char(cp);
        put("!");
        put_char(cp);
        put("1");
        put_char(cp);
        put("\n");
        const bool every = is_long || cp < 0x3000;
        for (uint32_t i = every ? 0 : cp % CONTEXTS; i < CONTEXTS; i += every ? 1 : CONTEXTS) {
            put(around[i][0]);
            put_char(cp);
            put(around[i][1]);
        }
    }
}

static void put_random(uint64_t *seed) {
    static const char *const bits[] = {"a",
                                       "b",
                                       "Z",
                                       "E",
                                       " ",
                                       " ",
                                       "  ",
                                       "\n",
                                       "\r\n",
                                       "\t",
                                       "1",
                                       "23",
                                       "'",
                                       "'s",
                                       "'LL",
                                       "'r",
                                       "!",
                                       ".",
                                       "(",
                                       "$",
                                       "_",
                                       "/",
                                       "\xc2\xa0",
                                       "\xe2\x80\xa8",
                                       "\xc3\xa9",
                                       "\xc3\x89",
                                       "\xcc\x81",
                                       "\xd0\x96",
                                       "\xe4\xbd\xa0",
                                       "\xe3\x81\x82",
                                       "\xea\xb0\x80",
                                       "\xe0\xa4\xbf",
                                       "\xe0\xa4\x95",
                                       "\xf0\x9f\x98\x80",
                                       "\xe2\x80\x8d",
                                       "\xef\xb8\x8f",
                                       "\xc5\xbf",
                                       "\xe2\x84\xaa",
                                       "\xc7\x85",
                                       "\xca\xb0",
                                       "\xd9\xa3",
                                       "\xe2\x85\xa7",
                                       "\xc2\xb2",
                                       "\xe3\x80\x80",
                                       "\xe1\xa0\x8e",
                                       "\xc2\x85"};
    size_t n = small_random(seed) % 200;
    text_len = 0;
    for (size_t i = 0; i < n; i++) {
        const char *bit = bits[small_random(seed) % (sizeof bits / sizeof *bits)];
        for (size_t k = small_random(seed) % 8 ? 1 : small_random(seed) % 300; k > 0; k--) put(bit);
        if (small_random(seed) % 16 == 0) {
            uint32_t cp = small_random(seed) % 0x110000;
            put_char(cp >= 0xd800 && cp < 0xe000 ? 'x' : cp);
        }
    }
}

static void check_patterns(const char *name, const char *const *patterns, uint32_t n, bool all) {
    both b;
    uint64_t seed = 11;
    if (!open_both(&b, patterns, n)) return;
    bool good = true;
    uint32_t stride = all ? 1 : getenv("LONG") ? 5 : 61;
    for (uint32_t cp = 0; good && cp < 0x110000; cp += 512 * stride) {
        if (cp >= 0xd800 && cp < 0xe000) continue;
        put_contexts(cp, cp + 512);
        good = agree(&b, name, text, text_len);
    }
    for (int i = 0; good && i < (getenv("LONG") ? 300 : 30); i++) {
        put_random(&seed);
        good = agree(&b, name, text, text_len);
    }
    close_both(&b);
}

static void scans_split_as_pcre2_does(void) {
    static const char *const names[] = {
        "default",    "gpt-2",       "qwen35",  "llama-bpe",     "qwen2",      "ufakzeka",
        "starcoder",  "falcon",      "bloom",   "deepseek-llm",  "tekken",     "gpt-4o",
        "tiny_aya",   "deepseek-v3", "kimi-k2", "superbpe",      "bailingmoe", "seed-coder",
        "exaone-moe", "jais-2",      "youtu",   "spark2_5",      "laguna",     "minicpm5",
        "chameleon",  "gemma4",      "viking",  "deepseek-coder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tfm_vocab_source src = {0};
        if (!CHECK(split_as(&src, names[i], NULL) == TFM_OK)) continue;
        bool all = strcmp(names[i], "gpt-2") == 0 || strcmp(names[i], "gpt-4o") == 0;
        check_patterns(names[i], src.pattern, src.n_patterns, all);
    }
}

/* Spellings that only look plain, and every kind of repeat. */
static void odd_patterns_split_as_pcre2_does(void) {
    static const char *const odd[] = {"a+?b|a",
                                      "a{2,3}b?|a",
                                      "a{2,}|b{3}",
                                      "\\s{2}(?!\\S)|\\s",
                                      "[^a-z]?[a-z]++|.",
                                      "a*+b|a",
                                      "\\x{e9}+|\\x41",
                                      "(?i:'s|k)|'",
                                      "[\\p{L}--[a]]|a",
                                      "a|^b|$",
                                      "\\bA|Z",
                                      "[[:alpha:]]+|1",
                                      "[]a]+|b",
                                      "[a\\]]+|b",
                                      "(?i:s)?",
                                      "a(?!b)",
                                      "a(?!b)c|a",
                                      "(?i:a)?b",
                                      "x{0}a",
                                      "\\u00e9|a",
                                      "[\\s\\S]",
                                      "\\W+|\\w",
                                      "\\d{1,3}|\\D",
                                      "a||b",
                                      "(?:a)|b",
                                      "\\p{L}\\p{M}*|\\p{^L}",
                                      "\\pL+",
                                      "a\\K|b",
                                      "(?<=a)b|a",
                                      "[a-]+|[^]a]+",
                                      "(a)\\1|b",
                                      "\\h+|\\H",
                                      "b{,2}|a",
                                      "[^\\S\\n]+|\\S+",
                                      "\\R|\\X",
                                      "a++b|a?+b|b"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        tfm_vocab_settings set = {.n_patterns = 1};
        tfm_pretok *p = NULL;
        set.pattern[0] = (char *)(uintptr_t)odd[i];
        set.pattern_len[0] = strlen(odd[i]);
        tfm_status st = tfm_pretok_new(&p, &set, false, NULL);
        tfm_pretok_free(p);
        if (st == TFM_OK) {
            check_patterns(odd[i], &odd[i], 1, false);
        } else { /* refused by one, refused by the other */
            CHECK(tfm_pretok_new(&p, &set, true, NULL) != TFM_OK);
        }
    }
}

/* Patterns whose every match looks far ahead: refused at a cost in proportion to the text, by
 * both. */
static void hostile_patterns_end_soon(void) {
    static const char *const hostile[] = {"[ab]*c|a",           "(?:[ab]*c|a)",
                                          "[ab]*[ab]*[ab]*c|a", "(?:[ab]*[ab]*[ab]*c)|a",
                                          "(?:a+)+c|a",         "(?:a|a)*c|a",
                                          "(?:[ab]*){5}c|a",    "(?=(a*)*b)a|c",
                                          "a(?=.*c)|a",         "(?:(?:a?){30}a{30}c)|a",
                                          "\\s*a*c|[ab]"};
    size_t n = 100000;
    memset(text, 'a', n);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++)
        for (int plain = 0; plain < 2; plain++) {
            both b;
            tfm_error err = {0};
            if (!open_both(&b, &hostile[i], 1)) return;
            b.run[plain].src_len = n;
            b.run[plain].err = &err;
            side = 0;
            n_ends[0] = 0;
            base = text;
            clock_t start = clock();
            tfm_status st = tfm_pretok_split(&b.run[plain], text, n, note_end);
            if (!CHECK(st == TFM_OK || st == TFM_RECORD)) printf("%s\n", err.message);
            if (st == TFM_RECORD) CHECK(strstr(err.message, "takes too long") != NULL);
            if (getenv("LONG"))
                printf("%s: %s, %.3f s\n", hostile[i], st == TFM_OK ? "split" : "refused",
                       (double)(clock() - start) / CLOCKS_PER_SEC);
            close_both(&b);
        }
}

/* ---- NFC ---- */

/* What joins the character in front of it is no boundary; nor is what NFC changes. */
static void nfc_boundaries_are_boundaries(void) {
    utf8proc_int32_t out[32];
    int class = 0;
    unsigned n_pairs = 0;
    for (uint32_t cp = 0x300; cp < 0x110000; cp++) {
        utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)cp, out, 32,
                                                     UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &class);
        for (utf8proc_ssize_t i = 1; i < n; i++) {
            if (!CHECK(out[i] < 0x300 || !tfm_nfc_boundary((uint32_t)out[i])))
                printf("U+%04X joins into U+%04X\n", (unsigned)out[i], cp);
            n_pairs++;
        }
        if (utf8proc_get_property((utf8proc_int32_t)cp)->combining_class != 0)
            CHECK(!tfm_nfc_boundary(cp));
    }
    CHECK(n_pairs > 10000); /* Hangul alone has that many */
}

static void nfc_of_stretches_is_nfc(void) {
    uint64_t seed = 5;
    small s;
    small_init(&s, TFM_VOCAB_BPE);
    small_byte_pieces(&s);
    s.src.normaliser = "nfc";
    if (!small_open(&s)) return;
    static const uint32_t picks[] = {
        'a',    'e',    0x301,   0x323,   0xe9,    0x1100,  0x1161, 0x11a8, 0xac00,
        0xac01, 0x304b, 0x3099,  0x915,   0x93c,   0x958,   0x212b, 0x2126, 0xfb1d,
        0x9c7,  0x9be,  0x1e0a,  0x1f82,  0x345,   0x344,   0x340,  0x37e,  0xd4,
        0x4e00, 0xf900, 0x2f800, 0x1d15e, 0x110ba, 0x11131, 0xfe0f, 0x200d, ' '};
    for (int round = 0; round < 20000; round++) {
        text_len = 0;
        for (uint32_t i = small_random(&seed) % 12; i > 0; i--) {
            uint32_t cp = picks[small_random(&seed) % (sizeof picks / sizeof *picks)];
            if (small_random(&seed) % 3 == 0) cp = 1 + small_random(&seed) % 0x2ffff;
            put_char(cp >= 0xd800 && cp < 0xe000 ? 0x301 : cp);
        }
        text[text_len] = '\0';
        utf8proc_uint8_t *want = utf8proc_NFC(text);
        tfm_ids ids = {0};
        size_t n = 0;
        CHECK(tfm_tokenize(s.t, (const char *)text, text_len, 0, &ids, NULL, NULL) == TFM_OK);
        char *got = text_of(s.t, ids.data, ids.len, 0, &n);
        if (!CHECK(want && got && strcmp((const char *)want, got) == 0)) round = 20000;
        free(want);
        free(got);
        tfm_ids_free(&ids);
    }
    small_close(&s);
}

/* ---- cuts and the cache ---- */

/* Random SentencePiece vocabularies over a few characters: words from the cache and stretches
 * between cuts give what merging the text as a whole gives. */
static void words_give_what_whole_texts_give(void) {
    static const char *const letters[] = {"a",        "b",           "c", "\xe2\x96\x81",
                                          "\xc3\xa9", "\xe4\xbd\xa0"};
    uint64_t seed = 77;
    for (int round = 0; round < 60; round++) {
        small s;
        char made[40][24];
        small_init(&s, round % 2 ? TFM_VOCAB_SPM : TFM_VOCAB_BPE);
        s.src.type = TFM_VOCAB_SPM; /* byte pieces as SentencePiece writes them */
        small_byte_pieces(&s);
        s.src.type = round % 2 ? TFM_VOCAB_SPM : TFM_VOCAB_BPE;
        s.src.byte_level = false;
        s.src.space_to_meta = s.src.add_space_prefix = true;
        for (size_t i = 0; i < 6; i++) small_piece(&s, letters[i], -50, 0);
        for (int k = 0; k < 40; k++) {
            uint32_t l = 256 + small_random(&seed) % (s.src.n - 256);
            uint32_t right = 256 + small_random(&seed) % (s.src.n - 256);
            int n = snprintf(made[k], sizeof made[k], "%s%s", s.piece[l], s.piece[right]);
            if (n < 0 || (size_t)n >= sizeof made[k]) continue;
            bool is_new = true;
            for (uint32_t i = 256; i < s.src.n; i++)
                is_new = is_new && strcmp(s.piece[i], made[k]) != 0;
            small_merge(&s, s.piece[l], s.piece[right]);
            if (is_new) small_piece(&s, made[k], -(float)(small_random(&seed) % 20), 0);
        }
        if (!small_open(&s)) return;
        static char texts[50][600];
        tfm_ids want[50] = {0}, got = {0};
        for (int again = 0; again < 3; again++) { /* whole, then with cuts, then from the cache */
            for (int k = 0; k < 50; k++) {
                if (again == 0) {
                    text_len = 0;
                    for (uint32_t i = small_random(&seed) % 100; i > 0; i--) {
                        uint32_t pick = small_random(&seed) % 8;
                        put(pick < 6 ? letters[pick] : pick == 6 ? " " : "\n");
                    }
                    memcpy(texts[k], text, text_len);
                    texts[k][text_len] = '\0';
                }
                tfm_ids *ids = again ? &got : &want[k];
                ids->len = 0;
                CHECK(tfm_tokenize(s.t, texts[k], strlen(texts[k]), 0, ids, NULL, NULL) == TFM_OK);
                if (again)
                    CHECK(got.len == want[k].len &&
                          (got.len == 0 ||
                           memcmp(got.data, want[k].data, got.len * sizeof *got.data) == 0));
            }
            CHECK(again > 0 || s.t->runs->cuts == NULL);
            memset(text, 'x', 100000);
            got.len = 0;
            CHECK(tfm_tokenize(s.t, (const char *)text, 100000, 0, &got, NULL, NULL) == TFM_OK);
            CHECK(s.t->runs->cuts != NULL);
        }
        for (int k = 0; k < 50; k++) tfm_ids_free(&want[k]);
        tfm_ids_free(&got);
        small_close(&s);
    }
}

/* More words than the cache has slots: results stay those of a new tokenizer. */
static void a_full_cache_is_right(void) {
    small s, fresh;
    uint64_t seed = 3;
    tfm_ids a = {0}, b = {0};
    for (small *p = &s; p; p = p == &s ? &fresh : NULL) {
        small_init(p, TFM_VOCAB_BPE);
        small_byte_pieces(p);
        small_piece(p, "ab", 0, 0);
        small_piece(p, "abab", 0, 0);
        small_merge(p, "a", "b");
        small_merge(p, "ab", "ab");
        CHECK(split_as(&p->src, "gpt-2", NULL) == TFM_OK);
        if (!small_open(p)) return;
    }
    for (int k = 0; k < 20; k++) {
        text_len = 0;
        while (text_len < 100000) {
            char word[64];
            size_t n = 1 + small_random(&seed) % 50;
            for (size_t i = 0; i < n; i++) word[i] = "abx"[small_random(&seed) % 3];
            word[n] = '\0';
            put(word);
            put(" ");
        }
        a.len = b.len = 0;
        CHECK(tfm_tokenize(s.t, (const char *)text, text_len, 0, &a, NULL, NULL) == TFM_OK);
        for (size_t from = 0, to; from < text_len; from = to) { /* one word, one new tokenizer */
            for (to = from + 1; to < text_len && text[to] != ' '; to++) continue;
            if (k == 0 && from % 50 == 0) {
                tfm_tokenizer_free(fresh.t);
                CHECK(tfm_tokenizer_new(&fresh.t, fresh.v, NULL) == TFM_OK);
            }
            CHECK(tfm_tokenize(fresh.t, (const char *)text + from, to - from, 0, &b, NULL, NULL) ==
                  TFM_OK);
        }
        CHECK(a.len == b.len && memcmp(a.data, b.data, a.len * sizeof *a.data) == 0);
    }
    tfm_ids_free(&a);
    tfm_ids_free(&b);
    small_close(&s);
    small_close(&fresh);
}

int main(void) {
    UNIT_RUN(scans_split_as_pcre2_does);
    UNIT_RUN(odd_patterns_split_as_pcre2_does);
    UNIT_RUN(hostile_patterns_end_soon);
    UNIT_RUN(nfc_boundaries_are_boundaries);
    UNIT_RUN(nfc_of_stretches_is_nfc);
    UNIT_RUN(words_give_what_whole_texts_give);
    UNIT_RUN(a_full_cache_is_right);
    return unit_done();
}
