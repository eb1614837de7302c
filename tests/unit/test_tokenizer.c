/* The text layer on vocabularies small enough to follow by hand: merging, special tokens,
 * normalisation, byte fallback, detokenizing; and against a plain reference on random input. */
#include "tokenizer_util.h"

/* ---- byte-level BPE ---- */

static void bpe_small(small *s) {
    small_init(s, TFM_VOCAB_BPE);
    small_byte_pieces(s);        /* ids are the bytes */
    small_piece(s, "ab", 0, 0);  /* 256 */
    small_piece(s, "bc", 0, 0);  /* 257 */
    small_piece(s, "abc", 0, 0); /* 258 */
    small_piece(s, "aa", 0, 0);  /* 259 */
    small_merge(s, "b", "c");
    small_merge(s, "a", "b");
    small_merge(s, "a", "bc");
    small_merge(s, "a", "a");
}

static void bpe_merges_by_rank_then_leftmost(void) {
    small s;
    bpe_small(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "", 0), "");
    CHECK_STR(ids_of(&s, "a", 0), "97");
    CHECK_STR(ids_of(&s, "abc", 0), "258"); /* bc first, then a + bc */
    CHECK_STR(ids_of(&s, "abab", 0), "256 256");
    CHECK_STR(ids_of(&s, "aaa", 0), "259 97"); /* the leftmost pair */
    CHECK_STR(ids_of(&s, "\xff\xfe", 0), "255 254");
    small_close(&s);
}

static void a_whole_piece_can_skip_merges(void) {
    small s;
    bpe_small(&s);
    small_piece(&s, "xyz", 0, 0); /* 260: no merge makes it */
    s.src.ignore_merges = true;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "xyz", 0), "260");
    CHECK_STR(ids_of(&s, "xyza", 0), "120 121 122 97");
    small_close(&s);
}

static void patterns_split_one_after_another(void) {
    small s;
    bpe_small(&s);
    s.pattern[0] = "[0-9]";
    s.pattern[1] = "a+|\\s+(?!\\S)"; /* sees nothing outside its piece */
    s.src.n_patterns = 2;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "ab1bc", 0), "97 98 49 257");
    CHECK_STR(ids_of(&s, "1  2", 0), "49 32 32 50");
    small_close(&s);
}

/* \G is where the search began, not where PCRE2 was asked once more. */
static void a_search_begins_once(void) {
    char text[258];
    small s;
    bpe_small(&s);
    s.pattern[0] = "\\Gc";
    s.src.n_patterns = 1;
    memset(text, 'b', 256);
    strcpy(text + 256, "c");
    if (!small_open(&s)) return;
    const char *ids = ids_of(&s, text, 0);
    CHECK_STR(ids + strlen(ids) - 6, "98 257"); /* bc */
    small_close(&s);
}

static void hostile_patterns_are_refused(void) {
    static char bounds[2 * 4000 + 1]; /* of words: each is long for PCRE2 */
    static const char *const bad[] = {"(",       "[a&&b]",          "[a[^b]]",    "a\\",
                                      "(a+)\\1", "(?P<n>a+)(?P=n)", "(?:a|\\C)+", bounds};
    for (size_t i = 0; i + 1 < sizeof bounds; i++) bounds[i] = i % 2 ? 'b' : '\\';
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        small s;
        tfm_error err = {0};
        bpe_small(&s);
        s.pattern[0] = bad[i];
        s.src.n_patterns = 1;
        CHECK(tfm_vocab_build(&s.tables, &s.src, &err) == TFM_OK);
        CHECK(tfm_vocab_open(&s.v, s.tables->settings, s.tables->settings_len, small_lookup,
                             s.tables, &err) == TFM_OK);
        CHECK(tfm_tokenizer_new(&s.t, s.v, &err) != TFM_OK);
        CHECK(s.t == NULL && err.message[0] != '\0');
        small_close(&s);
    }
}

/* A pattern that backtracks without end costs a bounded number of steps, then one record. */
static void an_endless_pattern_fails_the_record(void) {
    small s;
    char text[64];
    bpe_small(&s);
    s.pattern[0] = "(a+)+$(?<!a)|(a|aa|a+b)+c";
    s.src.n_patterns = 1;
    if (!small_open(&s)) return;
    memset(text, 'a', sizeof text);
    const char *got = ids_of_n(s.t, text, sizeof text, 0);
    CHECK(got[0] == '!');
    CHECK(strstr(got, "too long") != NULL);
    small_close(&s);
}

/* Without windows each match may look at all the rest of the text. */
static void whole_matches_are_charged(void) {
    enum { N = 300000 };
    small s;
    char *text = malloc(N);
    bpe_small(&s);
    s.pattern[0] = "\\Ka(?=[^z]*)";
    s.src.n_patterns = 1;
    if (text && small_open(&s)) {
        memset(text, 'a', N);
        CHECK(strstr(ids_of_n(s.t, text, N, 0), "too long") != NULL);
        CHECK_STR(ids_of_n(s.t, text, 3, 0), "97 97 97");
    }
    small_close(&s);
    free(text);
}

/* U+180E is no white space for Unicode since 6.3, nor for Hugging Face's tokenizers. */
static void white_space_is_unicodes(void) {
    small s;
    bpe_small(&s);
    s.pattern[0] = "\\s+";
    s.src.n_patterns = 1;
    small_piece(&s, "a\xc3\xa1", 0, 0); /* 260: merges across if there is no split */
    small_merge(&s, "a", "\xc3\xa1");
    small_piece(&s, "a\xc3\x82", 0, 0); /* 261 */
    small_merge(&s, "a", "\xc3\x82");
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "a\xe1\xa0\x8e", 0), "260 160 142"); /* U+180E: no space, no split */
    CHECK_STR(ids_of(&s, "a\xc2\xa0", 0), "97 194 160");      /* U+00A0: a space */
    small_close(&s);
}

/* ---- special tokens ---- */

static void special_small(small *s) {
    bpe_small(s);
    s->src.bos = small_piece(s, "<s>", 0, TFM_TOKEN_CONTROL);                      /* 260 */
    s->src.eos = small_piece(s, "</s>", 0, TFM_TOKEN_CONTROL);                     /* 261 */
    small_piece(s, "<tool>", 0, TFM_TOKEN_ADDED);                                  /* 262 */
    small_piece(s, "<tool>x", 0, TFM_TOKEN_ADDED);                                 /* 263 */
    small_piece(s, "<tool>xy", 0, TFM_TOKEN_CONTROL);                              /* 264 */
    small_piece(s, "|", 0, TFM_TOKEN_ADDED | TFM_TOKEN_LSTRIP | TFM_TOKEN_RSTRIP); /* 265 */
    s->src.add_bos = s->src.add_eos = true;
}

static void control_tokens_only_on_request(void) {
    small s;
    special_small(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "", TFM_TOK_ADD_SPECIAL), "260 261");
    CHECK_STR(ids_of(&s, "a<s>", 0), "97 60 115 62");
    CHECK_STR(ids_of(&s, "a<s>", TFM_TOK_PARSE_SPECIAL), "97 260");
    CHECK_STR(ids_of(&s, "a<s>", TFM_TOK_PARSE_SPECIAL | TFM_TOK_ADD_SPECIAL), "260 97 260 261");
    small_close(&s);
}

static void added_tokens_leftmost_longest(void) {
    small s;
    special_small(&s);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "ab<tool>ab", 0), "256 262 256");
    CHECK_STR(ids_of(&s, "<tool><tool>xy", 0), "262 263 121");
    CHECK_STR(ids_of(&s, "<tool>xy", TFM_TOK_PARSE_SPECIAL), "264");
    CHECK_STR(ids_of(&s, "<tool", 0), "60 116 111 111 108");
    CHECK_STR(ids_of(&s, "a \t|\xc2\xa0 b", 0), "97 265 98"); /* takes white space along */
    small_close(&s);
}

static void special_tokens_are_hidden_or_shown(void) {
    small s;
    size_t n;
    special_small(&s);
    if (!small_open(&s)) return;
    const int32_t ids[] = {260, 97, 262, 261};
    char *text = text_of(s.t, ids, 4, 0, &n);
    CHECK_STR(text, "a<tool>");
    free(text);
    text = text_of(s.t, ids, 4, TFM_DETOK_SHOW_SPECIAL, &n);
    CHECK_STR(text, "<s>a<tool></s>");
    free(text);
    small_close(&s);
}

/* ---- SentencePiece ---- */

#define META "\xe2\x96\x81"

static void spm_small(small *s, bool bytes) {
    small_init(s, TFM_VOCAB_SPM);
    if (bytes) small_byte_pieces(s); /* 0-255 */
    s->src.unk = small_piece(s, "<unk>", 0, TFM_TOKEN_UNKNOWN);
    s->src.bos = small_piece(s, "<s>", 0, TFM_TOKEN_CONTROL);
    small_piece(s, META, -10, 0);
    small_piece(s, "a", -11, 0);
    small_piece(s, "b", -12, 0);
    small_piece(s, META "a", -3, 0);
    small_piece(s, "ab", -2, 0);
    small_piece(s, "ba", -2, 0);
    small_piece(s, META META, -1, 0);
    s->src.add_space_prefix = s->src.space_to_meta = true;
    s->src.add_bos = true;
}

static void spm_merges_by_score_then_leftmost(void) {
    small s;
    spm_small(&s, false); /* unk 0, s 1, _ 2, a 3, b 4, _a 5, ab 6, ba 7, __ 8 */
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "", TFM_TOK_ADD_SPECIAL), "1");
    CHECK_STR(ids_of(&s, "a", TFM_TOK_ADD_SPECIAL), "1 5");
    CHECK_STR(ids_of(&s, "ab", 0), "2 6");    /* ab is better than _a */
    CHECK_STR(ids_of(&s, "aba", 0), "2 6 3"); /* ab and ba are equal: the leftmost */
    CHECK_STR(ids_of(&s, " a", 0), "8 3");
    small_close(&s);
}

static void what_is_not_in_the_vocabulary_becomes_unknown(void) {
    small s;
    tfm_ids ids = {0};
    uint64_t unknown = 0;
    size_t n;
    spm_small(&s, false);
    if (!small_open(&s)) return;
    CHECK(!tfm_tokenizer_spells_bytes(s.t));
    CHECK(tfm_tokenize(s.t, "axyb", 4, 0, &ids, &unknown, NULL) == TFM_OK);
    CHECK_INT(unknown, 2);
    CHECK_INT(ids.len, 3); /* a run of unknown characters is one token */
    char *text = text_of(s.t, ids.data, ids.len, 0, &n);
    CHECK_STR(text, "a \xe2\x81\x87 b");
    free(text);
    CHECK(ids_of(&s, "a\xff", 0)[0] == '!'); /* bytes that are no text are not lost silently */
    CHECK(strstr(ids_of(&s, "a\xff", 0), "offset 1") != NULL);
    CHECK(strstr(ids_of(&s, "<unk>", TFM_TOK_PARSE_SPECIAL), "0") != NULL);
    tfm_ids_free(&ids);
    small_close(&s);
}

static void bytes_spell_the_rest(void) {
    small s;
    spm_small(&s, true); /* unk 256, s 257, _ 258, a 259, b 260, _a 261, ab 262, ba 263, __ 264 */
    if (!small_open(&s)) return;
    CHECK(tfm_tokenizer_spells_bytes(s.t));
    CHECK_STR(ids_of(&s, "a\xc3\xa9", 0), "261 195 169");
    CHECK_STR(ids_of(&s, "a\xc3", 0), "261 195");
    CHECK_STR(ids_of(&s, META, 0), "258 226 150 129");            /* a literal one is not a space */
    CHECK(strncmp(ids_of(&s, "<0x41>", 0), "258 60 48", 9) == 0); /* text never turns into one */
    small_close(&s);
}

static void leading_space_is_taken_off_once(void) {
    small s;
    size_t n;
    spm_small(&s, true);
    if (!small_open(&s)) return;
    const int32_t ids[] = {257, 261, 261};
    char *text = text_of(s.t, ids, 3, 0, &n);
    CHECK_STR(text, "a a");
    free(text);
    text = text_of(s.t, ids, 3, TFM_DETOK_CONTINUES, &n);
    CHECK_STR(text, " a a");
    free(text);
    text = text_of(s.t, ids, 3, TFM_DETOK_SHOW_SPECIAL, &n);
    CHECK_STR(text, "<s>a a");
    free(text);
    small_close(&s);
}

static void added_token_text_may_hold_spaces(void) {
    small s;
    spm_small(&s, true);
    int32_t id = small_piece(&s, META META META, 0, TFM_TOKEN_ADDED);
    char want[64];
    if (!small_open(&s)) return;
    snprintf(want, sizeof want, "261 %d 259", (int)id);
    CHECK_STR(ids_of(&s, "a   a", 0), want);
    CHECK(survives(s.t, "   a   ", 7));
    small_close(&s);
}

static void extra_spaces_are_removed_on_request(void) {
    small s;
    spm_small(&s, true);
    s.src.remove_extra_spaces = true;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "  a   a  ", 0), "261 261");
    CHECK_STR(ids_of(&s, "a a", 0), "261 261");
    small_close(&s);
}

/* BPE with merges over characters, as tokenizer.json has it for SentencePiece models. */
static void bpe_over_characters(void) {
    small s;
    spm_small(&s, true);
    s.src.type = TFM_VOCAB_BPE;
    s.src.byte_level = false;
    small_merge(&s, "a", "b");
    small_merge(&s, META, "a");
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "a ab\n", 0), "261 258 262 10");
    CHECK(survives(s.t, " a " META " \xf0\x9f\x98\x80\xff ", 13));
    small_close(&s);
}

/* ---- normalising ---- */

static void nfc_for_text_only(void) {
    small s;
    bpe_small(&s);
    s.src.normaliser = "nfc";
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "e\xcc\x81", 0), "195 169");
    CHECK_STR(ids_of(&s, "e\xcc\x81\xff", 0), "101 204 129 255"); /* no text: kept as it is */
    CHECK_STR(ids_of(&s, "plain", 0), "112 108 97 105 110");
    small_close(&s);
}

static void other_forms(void) {
    static const struct {
        const char *form, *ids;
    } cases[] = {
        {"nfd", "101 204 129 194 178"}, {"nfkd", "101 204 129 50"}, {"nfkc", "195 169 50"}};
    for (size_t i = 0; i < 3; i++) {
        small s;
        bpe_small(&s);
        s.src.normaliser = cases[i].form;
        if (!small_open(&s)) return;
        CHECK_STR(ids_of(&s, "\xc3\xa9\xc2\xb2", 0), cases[i].ids);
        small_close(&s);
    }
}

static void endless_marks_are_refused(void) {
    small s;
    char *text = malloc(20001);
    bpe_small(&s);
    s.src.normaliser = "nfc";
    if (text == NULL || !small_open(&s)) return;
    for (int i = 0; i < 10000; i++) memcpy(text + 2 * i, i % 2 ? "\xcc\x81" : "\xcc\xa3", 2);
    text[20000] = '\0';
    CHECK(ids_of(&s, text, 0)[0] == '!');
    free(text);
    small_close(&s);
}

/* ---- detokenizing in pieces ---- */

static void characters_come_whole(void) {
    small s;
    tfm_detok *d;
    const char *bytes;
    size_t n;
    bpe_small(&s);
    if (!small_open(&s)) return;
    if (!CHECK(tfm_detok_new(&d, s.t, 0, NULL) == TFM_OK)) return;
    static const unsigned char smile[] = {0xf0, 0x9f, 0x98, 0x80};
    for (int i = 0; i < 4; i++) {
        CHECK(tfm_detok_push(d, smile[i], &bytes, &n, NULL) == TFM_OK);
        CHECK_INT(n, i < 3 ? 0 : 4);
    }
    CHECK(memcmp(bytes, smile, 4) == 0);
    CHECK(tfm_detok_push(d, 0xe2, &bytes, &n, NULL) == TFM_OK && n == 0);
    CHECK(tfm_detok_push(d, 'x', &bytes, &n, NULL) == TFM_OK && n == 2); /* broken: as it is */
    CHECK(memcmp(bytes, "\xe2x", 2) == 0);
    CHECK(tfm_detok_push(d, 0xc3, &bytes, &n, NULL) == TFM_OK && n == 0);
    CHECK(tfm_detok_finish(d, &bytes, &n, NULL) == TFM_OK && n == 1);
    CHECK((unsigned char)bytes[0] == 0xc3);
    CHECK(tfm_detok_push(d, 'a', &bytes, &n, NULL) == TFM_OK && n == 1 && bytes[0] == 'a');
    CHECK(tfm_detok_push(d, -1, &bytes, &n, NULL) == TFM_RECORD);
    CHECK(tfm_detok_push(d, (int32_t)s.src.n, &bytes, &n, NULL) == TFM_RECORD);
    tfm_detok_free(d);
    small_close(&s);
}

/* ---- raw bytes ---- */

static void raw_bytes(void) {
    tfm_vocab *v;
    tfm_tokenizer *t;
    char all[256];
    for (int i = 0; i < 256; i++) all[i] = (char)i;
    CHECK(tfm_vocab_raw_bytes(&v, NULL) == TFM_OK);
    CHECK_STR(tfm_vocab_id(v), "raw-bytes");
    CHECK_INT(tfm_vocab_size(v), 256);
    CHECK(tfm_tokenizer_new(&t, v, NULL) == TFM_OK);
    CHECK_STR(ids_of_n(t, "a\0\xff", 3, TFM_TOK_ADD_SPECIAL), "97 0 255");
    CHECK(survives(t, all, 256));
    CHECK_INT(tfm_vocab_find(v, "a", 1), 97);
    CHECK_INT(tfm_vocab_find(v, "ab", 2), -1);
    tfm_tokenizer_free(t);
    tfm_vocab_free(v);
}

/* ---- against plain references, on random input ---- */

/* The rank of joining two ids of a BPE vocabulary, by search through the merge list. */
static int reference_rank(const small *s, int32_t left, int32_t right, int32_t *id) {
    char joined[64];
    for (uint32_t i = 0; i < s->src.n_merges; i++)
        if (strcmp(s->left[i], s->piece[left]) == 0 && strcmp(s->right[i], s->piece[right]) == 0) {
            snprintf(joined, sizeof joined, "%s%s", s->left[i], s->right[i]);
            for (uint32_t k = 0; k < s->src.n; k++)
                if (strcmp(s->piece[k], joined) == 0) {
                    *id = (int32_t)k;
                    return (int)i;
                }
        }
    return -1;
}

/* Merging as the papers have it: look at all pairs, take the best, again. */
static size_t reference_bpe(const small *s, int32_t *ids, size_t n) {
    for (;;) {
        size_t best = n;
        int best_rank = -1;
        int32_t id = -1, best_id = -1;
        for (size_t i = 0; i + 1 < n; i++) {
            int rank = reference_rank(s, ids[i], ids[i + 1], &id);
            if (rank >= 0 && (best_rank < 0 || rank < best_rank)) {
                best = i;
                best_rank = rank;
                best_id = id;
            }
        }
        if (best == n) return n;
        ids[best] = best_id;
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        n--;
    }
}

/* Random vocabularies over three letters; texts short (scanned) and long (heap). */
static void merging_equals_the_reference(void) {
    uint64_t seed = 0x1234567;
    for (int round = 0; round < 40; round++) {
        small s;
        char made[24][32];
        int32_t ids[300];
        char text[300];
        small_init(&s, TFM_VOCAB_BPE);
        small_byte_pieces(&s);
        for (int k = 0; k < 24; k++) {
            int32_t l = 0, r = 0;
            for (int32_t *p = &l; p; p = p == &l ? &r : NULL) {
                uint32_t pick = small_random(&seed) % (3 + s.src.n - 256);
                *p = pick < 3 ? (int32_t)('a' + pick) : (int32_t)(253 + pick);
            }
            int n = snprintf(made[k], sizeof made[k], "%s%s", s.piece[l], s.piece[r]);
            if (n < 0 || (size_t)n >= sizeof made[k]) continue;
            bool is_new = true;
            for (uint32_t i = 0; i < s.src.n; i++) is_new = is_new && strcmp(s.piece[i], made[k]);
            small_merge(&s, s.piece[l], s.piece[r]);
            if (is_new) small_piece(&s, made[k], 0, 0);
        }
        if (!small_open(&s)) return;
        for (int k = 0; k < 20; k++) {
            size_t n = 1 + small_random(&seed) % (k % 2 ? 20 : sizeof text - 1);
            for (size_t i = 0; i < n; i++) {
                text[i] = (char)('a' + small_random(&seed) % 3);
                ids[i] = text[i];
            }
            tfm_ids got = {0};
            CHECK(tfm_tokenize(s.t, text, n, 0, &got, NULL, NULL) == TFM_OK);
            size_t want = reference_bpe(&s, ids, n);
            CHECK(got.len == want && memcmp(got.data, ids, want * sizeof *ids) == 0);
            tfm_ids_free(&got);
        }
        small_close(&s);
    }
}

static void random_bytes_survive(void) {
    uint64_t seed = 99;
    char text[400];
    for (int kind = 0; kind < 3; kind++) {
        small s;
        if (kind == 0)
            bpe_small(&s);
        else
            spm_small(&s, true);
        if (kind == 0) {
            CHECK(split_as(&s.src, "llama-bpe", NULL) == TFM_OK);
            s.src.add_bos = false;
        }
        if (kind == 2) s.src.add_space_prefix = false;
        if (!small_open(&s)) return;
        for (int k = 0; k < 2000; k++) {
            static const char *const bits[] = {META,           " ",        "a",    "\xc3", "\xa9",
                                               "\n",           "\xf0\x9f", "\xe2", "ab",   "<0x0A>",
                                               "\xed\xa0\x80", ""};
            size_t n = 0, parts = small_random(&seed) % 30;
            for (size_t i = 0; i < parts; i++) {
                const char *bit = bits[small_random(&seed) % 12];
                size_t len = strlen(bit);
                memcpy(text + n, bit, len);
                n += len;
                if (len == 0) text[n++] = (char)small_random(&seed);
            }
            CHECK(survives(s.t, text, n));
        }
        small_close(&s);
    }
}

/* Not a time limit: a quadratic merge would run for hours and meet the runner's. */
static void a_megabyte_of_one_letter(void) {
    size_t n = 1000000;
    char *text = malloc(n);
    if (!CHECK(text != NULL)) return;
    memset(text, 'a', n);
    for (int kind = 0; kind < 2; kind++) {
        small s;
        tfm_ids ids = {0};
        if (kind == 0)
            bpe_small(&s);
        else
            spm_small(&s, true);
        small_piece(&s, "aaaa", -1, 0);
        if (kind == 0)
            small_merge(&s, "aa", "aa");
        else
            small_piece(&s, "aa", -1, 0);
        if (!small_open(&s)) break;
        CHECK(tfm_tokenize(s.t, text, n, 0, &ids, NULL, NULL) == TFM_OK);
        CHECK_INT(ids.len, kind == 0 ? n / 4 : n / 4 + 1);
        tfm_ids_free(&ids);
        small_close(&s);
    }
    free(text);
}

static void many_texts_at_once(void) {
    enum { N = 50 };
    small s;
    tfm_tok_item one[N] = {0}, four[N] = {0};
    char text[N][8];
    spm_small(&s, false);
    if (!small_open(&s)) return;
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], i == 7 ? "\xff" : "ab%d", i % 3);
        one[i].text = four[i].text = text[i];
        one[i].len = four[i].len = strlen(text[i]);
        one[i].skip = four[i].skip = i == 9;
    }
    CHECK(tfm_tokenize_many(s.t, one, N, 0, 1, NULL) == TFM_OK);
    CHECK(tfm_tokenize_many(s.t, four, N, 0, 4, NULL) == TFM_OK);
    for (int i = 0; i < N; i++) {
        CHECK_INT(one[i].err.status, i == 7 ? TFM_RECORD : TFM_OK);
        CHECK_INT(four[i].err.status, one[i].err.status);
        CHECK(one[i].ids.len == four[i].ids.len && (i == 7 || i == 9 || one[i].ids.len > 0));
        if (one[i].ids.len)
            CHECK(memcmp(one[i].ids.data, four[i].ids.data, one[i].ids.len * sizeof(int32_t)) == 0);
        tfm_ids_free(&one[i].ids);
        tfm_ids_free(&four[i].ids);
    }
    small_close(&s);
}

int main(void) {
    UNIT_RUN(bpe_merges_by_rank_then_leftmost);
    UNIT_RUN(a_whole_piece_can_skip_merges);
    UNIT_RUN(patterns_split_one_after_another);
    UNIT_RUN(a_search_begins_once);
    UNIT_RUN(hostile_patterns_are_refused);
    UNIT_RUN(an_endless_pattern_fails_the_record);
    UNIT_RUN(whole_matches_are_charged);
    UNIT_RUN(white_space_is_unicodes);
    UNIT_RUN(control_tokens_only_on_request);
    UNIT_RUN(added_tokens_leftmost_longest);
    UNIT_RUN(special_tokens_are_hidden_or_shown);
    UNIT_RUN(spm_merges_by_score_then_leftmost);
    UNIT_RUN(what_is_not_in_the_vocabulary_becomes_unknown);
    UNIT_RUN(bytes_spell_the_rest);
    UNIT_RUN(leading_space_is_taken_off_once);
    UNIT_RUN(added_token_text_may_hold_spaces);
    UNIT_RUN(extra_spaces_are_removed_on_request);
    UNIT_RUN(bpe_over_characters);
    UNIT_RUN(nfc_for_text_only);
    UNIT_RUN(other_forms);
    UNIT_RUN(endless_marks_are_refused);
    UNIT_RUN(characters_come_whole);
    UNIT_RUN(raw_bytes);
    UNIT_RUN(merging_equals_the_reference);
    UNIT_RUN(random_bytes_survive);
    UNIT_RUN(a_megabyte_of_one_letter);
    UNIT_RUN(many_texts_at_once);
    return unit_done();
}
