/* WordPiece and vocabularies of characters: how text becomes words and words pieces, the way back,
 * and what the readers take and refuse. The cases of BERT's basic tokenizer were made with Hugging
 * Face's tokenizers 0.20.3. */
#include "model_files.h"
#include "tfm/load.h"
#include "tokenizer_util.h"

static const tfm_load_options load_from_share = {.share_dir = "share"};

enum { PAD, UNK, CLS, SEP };

static void add_pieces(small *s, const char *const *piece) {
    for (; *piece; piece++) small_piece(s, *piece, 0, 0);
}

/* 0-3 are control tokens; then the pieces. */
static void start(small *s, const char *const *pieces) {
    small_init(s, TFM_VOCAB_WORDPIECE);
    small_piece(s, "[PAD]", 0, TFM_TOKEN_CONTROL);
    small_piece(s, "[UNK]", 0, TFM_TOKEN_UNKNOWN);
    small_piece(s, "[CLS]", 0, TFM_TOKEN_CONTROL);
    small_piece(s, "[SEP]", 0, TFM_TOKEN_CONTROL);
    add_pieces(s, pieces);
    s->src.unk = UNK;
    s->src.bos = CLS;
    s->src.eos = SEP;
    s->src.add_bos = s->src.add_eos = true;
    s->src.inner_prefix = "##";
    s->src.max_word = 100;
    s->src.clean_text = s->src.split_cjk = s->src.strip_accents = s->src.lowercase = true;
    s->src.clean_spaces = true;
}

static void longest_pieces(void) {
    static const char *const pieces[] = {"un", "##aff",  "##able", "##a",
                                         "a",  "unaffa", "##x",    NULL}; /* from 4 */
    small s;
    start(&s, pieces);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "unaffable", 0), "1"); /* "unaffa" is longest, and then nothing fits */
    CHECK_STR(ids_of(&s, "unaff a", 0), "4 5 8");
    CHECK_STR(ids_of(&s, "aaxa", 0), "8 7 10 7");
    CHECK_STR(ids_of(&s, "a", TFM_TOK_ADD_SPECIAL), "2 8 3");
    CHECK_STR(ids_of(&s, "[CLS]a", TFM_TOK_PARSE_SPECIAL), "2 8");
    CHECK_STR(ids_of(&s, "[CLS]", 0), "1 1 1");
    CHECK_STR(ids_of(&s, "##a", 0), "1 1 8"); /* # is punctuation, and no piece */
    CHECK_STR(ids_of(&s, "", 0), "");
    CHECK_STR(ids_of(&s, " \n\t\r\xe3\x80\x80", 0), "");
    small_close(&s);
}

static void words_of_bert(void) {
    static const char *const pieces[] = {
        "a",        "e", "i",   "n", "##a", "##e", "##\xcc\x87", "!", "\xe4\xbd\xa0",
        "\xcf\x83", "'", "##i", NULL};
    static const struct {
        const char *text, *ids;
    } cases[] = {
        {"A!a", "4 11 4"},
        {"\xc3\x89", "5"},          /* E with acute */
        {"e\xcc\x81\xcc\x81", "5"}, /* combining marks */
        {"a\xe2\x80\x8b"
         "a",
         "4 8"}, /* zero width space is a format character: it goes */
        {"a\xc2\xad"
         "a",
         "4 8"}, /* so does a soft hyphen */
        {"a\x01\xef\xbf\xbd"
         "a",
         "4 8"}, /* control, U+FFFD */
        {"a\xc2\xa0"
         "a",
         "4 4"}, /* no-break space */
        {"a\x0b"
         "a",
         "4 8"}, /* vertical tab is a control character, not a space */
        {"a\xe4\xbd\xa0"
         "a",
         "4 12 4"},
        {"a\xe2\x80\xa8"
         "a",
         "4 4"},            /* line separator */
        {"\xce\xa3", "13"}, /* capital sigma, alone or at the end, is the same */
        {"\xc4\xb0", "6"},  /* I with dot: the dot is a mark */
        {"a''a", "4 14 14 4"},
        {"\xef\xbc\x81", "1"}, /* fullwidth ! is punctuation, and no piece */
        {"a\xd8\x9d"
         "a",
         "1"}, /* U+061D, punctuation since Unicode 14, is a letter there */
        {"a\xe1\x99\xad"
         "a",
         "4 1 4"} /* U+166D was punctuation then */
    };
    small s;
    start(&s, pieces);
    if (!small_open(&s)) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!CHECK_STR(ids_of(&s, cases[i].text, 0), cases[i].ids)) printf("case %zu\n", i);
    small_close(&s);

    start(&s, pieces);
    s.src.strip_accents = s.src.clean_text = s.src.split_cjk = false;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "\xc4\xb0", 0), "6 10"); /* lower-cased to two characters */
    CHECK_STR(ids_of(&s, "\xc3\x89", 0), "1");
    CHECK_STR(ids_of(&s, "a\xe4\xbd\xa0", 0), "1");
    CHECK_STR(ids_of(&s,
                     "a\x0b"
                     "a",
                     0),
              "4 4"); /* and still white space to who cuts words */
    small_close(&s);

    start(&s, pieces);
    s.src.lowercase = s.src.strip_accents = false;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "A a", 0), "1 4");
    small_close(&s);
}

static void marks_are_put_in_order(void) {
    /* U+302E (224) stays, for it is no non-spacing mark; U+1D165 (216) stays, too, before it. */
    static const char *const pieces[] = {"a", "##\xf0\x9d\x85\xa5", "##\xe3\x80\xae", NULL};
    enum { N = 2001 };
    static char text[1 + 3 * N];
    small s;
    start(&s, pieces);
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "a\xe3\x80\xae\xf0\x9d\x85\xa5", 0), "4 5 6");
    CHECK_STR(ids_of(&s, "a\xe3\x80\xae\xcc\x81\xf0\x9d\x85\xa5", 0), "4 5 6");
    text[0] = 'a';
    for (size_t i = 0; i < N; i++) memcpy(text + 1 + 3 * i, "\xe3\x80\xae", 3);
    CHECK_STR(ids_of_n(s.t, text, sizeof text, 0), "!more than 2000 combining marks in a row");
    small_close(&s);
}

static void unknown_words(void) {
    static const char *const pieces[] = {"a", "##a", "z", NULL};
    static char word[100000];
    small s;
    start(&s, pieces);
    if (!small_open(&s)) return;
    memset(word, 'a', sizeof word);
    CHECK_INT(small_unknown(&s, word, 100), 0);
    CHECK_INT(small_unknown(&s, word, 101), 101); /* longer than a word may be */
    CHECK_INT(small_unknown(&s, word, sizeof word), sizeof word);
    CHECK_INT(small_unknown(&s, "az z \xf0\x9f\x98\x80", 9), 3); /* a whole word is not known */
    CHECK_STR(ids_of(&s, "az z \xf0\x9f\x98\x80", 0), "1 6 1");
    CHECK_STR(ids_of(&s, "a\xff", 0), "!byte 0xff at offset 1: the vocabulary cannot spell it");
    small_close(&s);
    start(&s, pieces);
    s.src.unk = -1;
    s.flags[UNK] = TFM_TOKEN_CONTROL;
    if (!small_open(&s)) return;
    CHECK_STR(ids_of(&s, "b", 0), "!the vocabulary cannot spell \"b\"");
    small_close(&s);
}

static const char *text_is(const small *s, const int32_t *ids, size_t n, unsigned flags) {
    static char out[200];
    size_t len;
    char *text = text_of(s->t, ids, n, flags, &len);
    snprintf(out, sizeof out, "%s", text ? text : "?");
    free(text);
    return out;
}

static void the_way_back(void) {
    static const char *const pieces[] = {"do", "##n", "'", "t", ".", "'s", NULL}; /* from 4 */
    static const int32_t ids[] = {CLS, 4, 5, 6, 7, 8, UNK, 9, SEP};
    small s;
    start(&s, pieces);
    if (!small_open(&s)) return;
    CHECK_STR(text_is(&s, ids, 9, 0), "don ' t. [UNK]'s");
    CHECK_STR(text_is(&s, ids, 9, TFM_DETOK_SHOW_SPECIAL), "[CLS] don ' t. [UNK]'s [SEP]");
    CHECK_STR(text_is(&s, ids + 2, 1, 0), "##n"); /* the first token stays as it is, */
    CHECK_STR(text_is(&s, ids + 1, 1, TFM_DETOK_CONTINUES), " do"); /* unless it is not the first */
    small_close(&s);
    start(&s, pieces);
    s.src.clean_spaces = false;
    if (!small_open(&s)) return;
    CHECK_STR(text_is(&s, ids, 9, 0), "don ' t . [UNK] 's");
    small_close(&s);
}

/* ---- files ---- */

static tfm_model *opened;
static tfm_tokenizer *tokenizer;

static tfm_status open_vocab(const char *name, tfm_error *err) {
    const tfm_vocab *v = NULL;
    tfm_status st = tfm_load_vocab(in_dir(name), &load_from_share, &opened, err);
    if (st == TFM_OK) st = tfm_model_vocab(opened, &v, err);
    if (st == TFM_OK) st = tfm_tokenizer_new(&tokenizer, v, err);
    return st;
}

static void close_vocab(void) {
    tfm_tokenizer_free(tokenizer);
    tfm_model_free(opened);
    tokenizer = NULL;
    opened = NULL;
}

/* The ids of a text by the file, or the message without its path. */
static const char *by_file(const char *name, const char *text, unsigned flags) {
    static char out[1024];
    tfm_error err = {0};
    if (open_vocab(name, &err) != TFM_OK) {
        const char *at = strstr(err.message, name);
        snprintf(out, sizeof out, "!%s", at ? at : err.message);
    } else {
        snprintf(out, sizeof out, "%s", ids_of_n(tokenizer, text, strlen(text), flags));
    }
    close_vocab();
    return out;
}

#define BERT(NORMALIZER, MODEL, DECODER)                                                           \
    "{\"added_tokens\": [{\"id\": 0, \"content\": \"[UNK]\", \"special\": true}],"                 \
    "\"normalizer\": " NORMALIZER ", \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},"         \
    "\"post_processor\": {\"type\": \"BertProcessing\", \"sep\": [\"[S]\", 1],"                    \
    "\"cls\": [\"[C]\", 2]}, \"decoder\": " DECODER ","                                            \
    "\"model\": {" MODEL ", \"unk_token\": \"[UNK]\","                                             \
    "\"vocab\": {\"[UNK]\": 0, \"[S]\": 1, \"[C]\": 2, \"a\": 3, \"~b\": 4, \"\xc3\xa9\": 5,"      \
    "\"e\": 6, \"##b\": 7, \"A\": 8}}}"
#define WORDPIECE "\"type\": \"WordPiece\", \"continuing_subword_prefix\": \"##\""
#define NORM "{\"type\": \"BertNormalizer\"}"
#define DECODER "{\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true}"

static const char *by_json(const char *json, const char *text) {
    put_text("tokenizer.json", json);
    return by_file("tokenizer.json", text, TFM_TOK_ADD_SPECIAL);
}

static void reads_tokenizer_json(void) {
    CHECK_STR(by_json(BERT(NORM, WORDPIECE, DECODER), "Ab \xc3\x89 x"), "2 3 7 6 0 1");
    CHECK_STR(
        by_json(BERT("{\"type\": \"BertNormalizer\", \"lowercase\": false}", WORDPIECE, DECODER),
                "A \xc3\xa9"),
        "2 8 5 1");
    CHECK_STR(by_json(BERT("null", WORDPIECE, DECODER), "A \xc3\xa9"), "2 8 5 1");
    CHECK_STR(by_json(BERT(NORM, WORDPIECE ", \"max_input_chars_per_word\": 1", DECODER), "a ab"),
              "2 3 0 1");
    CHECK_STR(by_json(BERT(NORM,
                           "\"type\": \"WordPiece\", \"continuing_subword_prefix\": \"~\","
                           "\"max_input_chars_per_word\": 100",
                           "{\"type\": \"WordPiece\", \"prefix\": \"~\", \"cleanup\": false}"),
                      "ab"),
              "2 3 4 1");
}

static void other_stages(void) {
    CHECK_STR(by_json(BERT("{\"type\": \"Lowercase\"}", WORDPIECE, DECODER), "A"), "2 3 1");
    CHECK_STR(by_json(BERT(NORM, WORDPIECE, "null"), "a"), "2 3 1");
    CHECK_STR(by_json(BERT(NORM, WORDPIECE, "{\"type\": \"WordPiece\", \"prefix\": \"@\"}"), "a"),
              "2 3 1");
    CHECK_STR(by_json(BERT("{\"type\": \"Unheard\"}", WORDPIECE, DECODER), "a"),
              "!tokenizer.json: normalizer Unheard is not supported (with these settings)");
    CHECK_STR(by_json(BERT(NORM, WORDPIECE ", \"max_input_chars_per_word\": -1", DECODER), "a"),
              "!tokenizer.json: model.max_input_chars_per_word is no number of characters");
    remove_file("tokenizer.json");
}

static void reads_lists(void) {
    put_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n\xc3\xa9\nA\n");
    CHECK_STR(by_file("vocab.txt", "Ab \xc3\x89 [MASK]", TFM_TOK_ADD_SPECIAL), "2 5 6 1 1 1 1 3");
    CHECK_STR(by_file("vocab.txt", "[MASK]", TFM_TOK_PARSE_SPECIAL), "4");
    put_text("tokenizer_config.json", "{\"do_lower_case\": false, \"tokenizer_class\":"
                                      "\"BertTokenizer\", \"unk_token\": \"[UNK]\"}");
    CHECK_STR(by_file("vocab.txt", "Ab \xc3\xa9", 0), "8 6 7");
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"OtherTokenizer\"}");
    CHECK_STR(by_file("vocab.txt", "a", 0),
              "!vocab.txt: vocab.txt of OtherTokenizer, which is not known to be WordPiece; save a "
              "tokenizer.json");
    put_text("tokenizer_config.json", "{\"do_basic_tokenize\": false}");
    CHECK_STR(by_file("vocab.txt", "a", 0),
              "!vocab.txt: tokenizer_config.json: do_basic_tokenize or never_split is set");
    remove_file("tokenizer_config.json");
    put_text("vocab.txt", "[UNK]\na\nb\na\n");
    CHECK_STR(by_file("vocab.txt", "a", 0), "!vocab.txt: lines 2 and 4 are the same token");
    put_text("vocab.txt", "[UNK]\n\xff\n");
    CHECK_STR(by_file("vocab.txt", "a", 0), "!vocab.txt: byte 6 is not UTF-8");
    remove_file("vocab.txt");
}

static void reads_characters(void) {
    put_text("source_vocabulary.txt", "<blank>\n<s>\n</s>\na\n \n\xd8\xa2\n<unk>\n");
    CHECK_STR(by_file("source_vocabulary.txt", "a \xd8\xa2zza", 0), "3 4 5 6 6 3");
    CHECK_STR(by_file("source_vocabulary.txt", "<s>", TFM_TOK_PARSE_SPECIAL), "1");
    CHECK_STR(by_file("source_vocabulary.txt", "a\xff", 0),
              "!byte 0xff at offset 1: the vocabulary cannot spell it");
    put_text("source_vocabulary.txt", "<blank>\r\na\r\nb");
    CHECK_STR(by_file("source_vocabulary.txt", "ba", 0), "2 1");
    CHECK_STR(by_file("source_vocabulary.txt", "bc", 0), "!the vocabulary cannot spell \"c\"");
    put_text("source_vocabulary.txt", "a\nab\n");
    CHECK_STR(by_file("source_vocabulary.txt", "a", 0),
              "!source_vocabulary.txt: token 1, 'ab', is more than one character, and a list does "
              "not say how text is cut into such; give the tokenizer that cuts it");
    remove_file("source_vocabulary.txt");
    put_text("vocab.json", "{\"\\n\": 0, \" \": 1, \"a\": 2, \"[PAD]\": 3}");
    CHECK_STR(by_file("vocab.json", "a\n a", 0), "2 0 1 2");
    put_text("vocab.json", "{\"ab\": 0, \"a\": 1}");
    CHECK(strstr(by_file("vocab.json", "a", 0), "merges.txt, are not beside it: token 0, 'ab',"));
    remove_file("vocab.json");
}

int main(void) {
    make_dir("wordpiece");
    UNIT_RUN(longest_pieces);
    UNIT_RUN(words_of_bert);
    UNIT_RUN(marks_are_put_in_order);
    UNIT_RUN(unknown_words);
    UNIT_RUN(the_way_back);
    UNIT_RUN(reads_tokenizer_json);
    UNIT_RUN(other_stages);
    UNIT_RUN(reads_lists);
    UNIT_RUN(reads_characters);
    rmdir(dir);
    return unit_done();
}
