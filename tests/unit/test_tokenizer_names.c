/* test_tokenizer_names.c - share/tokenizers.yaml: every name in it means something, mistakes are
 * named with their line, and what somebody else's file says is done. That the shipped names mean
 * what they should is shown by real vocabularies (test_tokenizer_cases.c, _tiktoken.c). */
#include "model/tokenizer_names_internal.h"
#include "model_files.h"
#include "tokenizer_util.h"

static const char text[] = "I'm 12345 years OLD,  isn't it?\n\n \xe4\xbd\xa0\xe5\xa5\xbd \xd0\x9f";

/* A vocabulary that splits so can be made, and text comes back. */
static void splits_text(const tfm_split *split) {
    small s;
    small_init(&s, TFM_VOCAB_BPE);
    if (split->characters) s.src.type = TFM_VOCAB_SPM; /* for its byte pieces */
    small_byte_pieces(&s);
    s.src.type = TFM_VOCAB_BPE;
    if (split->characters) small_piece(&s, "\xe2\x96\x81", 0, 0);
    tfm_split_apply(split, &s.src);
    s.src.add_bos = false;
    if (!small_open(&s) || !CHECK(survives(s.t, text, sizeof text - 1)))
        printf("%s\n", split->names->entry[0].value->text);
    small_close(&s);
}

static void shipped_ways_of_splitting(void) {
    tfm_tokenizer_names *names;
    const tfm_split *split;
    size_t n = 0, n_names = 0;
    if (!CHECK_INT(tfm_tokenizer_names_open(&names, "share", NULL), TFM_OK)) return;
    for (; (split = tfm_tokenizer_names_split_at(names, n)) != NULL; n++) {
        splits_text(split);
        for (size_t i = 0; i < split->names->n; i++, n_names++) {
            tfm_vocab_source src = {0};
            const char *name = split->names->entry[i].value->text;
            CHECK_INT(tfm_tokenizer_names_split(names, name, &src, NULL), TFM_OK);
            /* else the name stands twice */
            if (!CHECK(src.pattern == split->pattern)) printf("%s\n", name);
        }
    }
    CHECK(n >= 30 && n_names >= 80);
    tfm_tokenizer_names_free(names);
}

static void shipped_kinds(void) {
    static const tfm_vocab_type types[] = {TFM_VOCAB_SPM, TFM_VOCAB_BPE, TFM_VOCAB_UNIGRAM,
                                           TFM_VOCAB_WORDPIECE};
    tfm_tokenizer_names *names;
    if (!CHECK_INT(tfm_tokenizer_names_open(&names, "share", NULL), TFM_OK)) return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        CHECK(tfm_tokenizer_names_gguf_of_type(names, types[i]) != NULL);
    CHECK(tfm_tokenizer_names_merges_split(names, NULL) != NULL);
    CHECK(tfm_tokenizer_names_merges_split(names, "GPT2TokenizerFast") != NULL);
    CHECK(tfm_tokenizer_names_merges_split(names, "GPT") == NULL);
    CHECK(tfm_tokenizer_names_merges_split(names, "none") != NULL);
    CHECK(tfm_tokenizer_names_is_wordpiece(names, NULL));
    CHECK(tfm_tokenizer_names_is_wordpiece(names, "BertTokenizerFast"));
    CHECK(!tfm_tokenizer_names_is_wordpiece(names, "BertTokenizerFaster"));
    tfm_tokenizer_names_free(names);
}

static void unknown_names(void) {
    tfm_vocab_source src = {0};
    tfm_error err = {0};
    CHECK(split_as(&src, "llama", &err) == TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "\"llama\" is not known") && strstr(err.message, "gpt-2"));
    CHECK(split_as(&src, "", NULL) == TFM_UNSUPPORTED);
    CHECK(split_as(&src, "gpt-2 phi-2", NULL) == TFM_UNSUPPORTED);
}

/* ---- other files ---- */

static void mistake(const char *yaml, const char *message) {
    tfm_tokenizer_names *names;
    tfm_error err = {0};
    put_text("tokenizers.yaml", yaml);
    CHECK(tfm_tokenizer_names_open(&names, in_dir("."), &err) != TFM_OK);
    CHECK_STR(err.message, message);
}

#define WAY "splits:\n- names: [a]\n  "

static void mistakes_have_a_line(void) {
    static const char *const bad[][2] = {
        {"[a]", "tokenizers.yaml:1: expected a mapping"},
        {"gguf: {}\nother: {}\n", "tokenizers.yaml:2: unknown key 'other'"},
        {"splits: {}\n", "tokenizers.yaml:1: splits is no list"},
        {"gguf: []\n", "tokenizers.yaml:1: gguf is no mapping"},
        {"patterns: [a]\n", "tokenizers.yaml:1: patterns is no mapping"},
        {"splits:\n- split: [x]\n", "tokenizers.yaml:2: no names"},
        {"splits:\n- names: a\n", "tokenizers.yaml:2: expected a list of names"},
        {"splits:\n- names: [a, '']\n", "tokenizers.yaml:2: expected a text"},
        {WAY "split: x\n", "tokenizers.yaml:3: split is no list of 1 to 16 patterns"},
        {WAY "split: []\n", "tokenizers.yaml:3: split is no list of 1 to 16 patterns"},
        {WAY "split: [[]]\n", "tokenizers.yaml:3: an empty pattern"},
        {WAY "split: [{use: b}]\n", "tokenizers.yaml:3: patterns has no pattern 'b'"},
        {WAY "split: [{used: b}]\n", "tokenizers.yaml:3: unknown key 'used'"},
        {WAY "split: [{}]\n", "tokenizers.yaml:3: use is missing"},
        {WAY "x: 1\n", "tokenizers.yaml:3: unknown key 'x'"},
        {WAY "add_bos: yes\n", "tokenizers.yaml:3: add_bos is neither true nor false"},
        {WAY "add_bos: true\n", "tokenizers.yaml:2: no split"},
        {WAY "normaliser: nfx\n",
         "tokenizers.yaml:3: normaliser is none of none, nfc, nfd, nfkc, nfkd"},
        {"gguf:\n  a: {type: b}\n",
         "tokenizers.yaml:2: type is none of spm, bpe, unigram, wordpiece"},
        {"gguf:\n  a: {bos: 1}\n",
         "tokenizers.yaml:2: type is none of spm, bpe, unigram, wordpiece"},
        {"gguf:\n  a: {type: bpe, bos: -1}\n",
         "tokenizers.yaml:2: bos is no number from 0 to 4194304"},
        {"merges: {b: [none]}\n", "tokenizers.yaml:1: splits has no name 'b'"},
        {WAY "split: [x]\nmerges: {a: none}\n", "tokenizers.yaml:4: expected a list of names"},
        {"wordpiece: [[]]\n", "tokenizers.yaml:1: expected a text"},
        {"words: {a: [b]}\n", "tokenizers.yaml:1: expected a text"},
        {"tiktoken:\n- names: [a]\n", "tokenizers.yaml:2: no split"},
        {"tiktoken:\n- {names: [a], split: b}\n", "tokenizers.yaml:2: splits has no name 'b'"},
        {"tiktoken:\n- {names: [a], split: [b], next: 1}\n", "tokenizers.yaml:2: next is no list"},
        {"tiktoken:\n- {names: [a], split: [b], tokens: []}\n",
         "tokenizers.yaml:2: tokens is no mapping of texts to ids"},
        {"tiktoken:\n- {names: [a], split: [b], reserved: x}\n",
         "tokenizers.yaml:2: reserved is no mapping"},
        {"tiktoken:\n- {names: [a], split: [b], vocab_size: 0}\n",
         "tokenizers.yaml:2: vocab_size is no number from 1 to 4194304"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) mistake(bad[i][0], bad[i][1]);
    remove_file("tokenizers.yaml");
}

static void the_folder_is_needed(void) {
    const tfm_vocab_tables *v;
    tfm_tokenizer_names *names;
    tfm_error err = {0};
    tfm_source *s;
    CHECK_INT(tfm_tokenizer_names_open(&names, in_dir("."), &err), TFM_IO);
    CHECK(strstr(err.message, "tokenizers.yaml") != NULL);
    if (!CHECK_INT(tfm_source_open(&s, "tests/golden/hf/gpt2-bare", NULL, &err), TFM_OK)) return;
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_USAGE);
    CHECK(strstr(err.message, "share_dir") != NULL);
    tfm_source_free(s);
}

/* The id of the vocabulary at a path, by the names of a folder, or the message. */
static const char *vocab_id(const char *path, const char *share_dir) {
    static char out[2][700];
    static unsigned turn;
    const tfm_source_options o = {.share_dir = share_dir};
    const tfm_vocab_tables *v = NULL;
    tfm_error err = {0};
    tfm_source *s;
    char *to = out[turn++ % 2];
    tfm_status st = tfm_source_open(&s, path, &o, &err);
    if (st == TFM_OK) st = tfm_source_vocab(s, &v, &err);
    snprintf(to, sizeof *out, "%s", st != TFM_OK ? err.message : v ? v->id : "none");
    tfm_source_free(s);
    return to;
}

static void write_made(const char *share_dir) {
    const tfm_source_options o = {.share_dir = share_dir};
    tfm_model *m = NULL;
    tfm_error err = {0};
    tfm_source *s;
    if (!CHECK_INT(tfm_source_open(&s, "tests/golden/hf/gpt2-bare", &o, &err), TFM_OK)) return;
    if (CHECK_INT(model_of(&m, s, "gguf:\n  general.architecture: {str: \"x\"}\n", &err), TFM_OK)) {
        int fd = open(in_dir("made.gguf"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (!CHECK_INT(tfm_gguf_write(m, share_dir, fd, "made.gguf", &err), TFM_OK))
            puts(err.message);
        close(fd);
    }
    tfm_model_free(m);
    tfm_source_free(s);
}

/* Names that nobody else has, from a folder of pieces and merges to a GGUF and back. */
static void own_names(void) {
    static const char own[] = "splits:\n"
                              "- {names: [my-way], normaliser: nfc, split: [[a, b+], '\\s+']}\n"
                              "gguf: {mine: {type: bpe}}\n"
                              "merges: {my-way: [none, GPT2*]}\n";
    char id[700];
    put_text("tokenizers.yaml", own);
    snprintf(id, sizeof id, "%s", vocab_id("tests/golden/hf/gpt2-bare", in_dir(".")));
    CHECK_INT(strlen(id), 16);
    CHECK(strcmp(id, vocab_id("tests/golden/hf/gpt2-bare", "share")) != 0);
    write_made(in_dir("."));
    CHECK_STR(vocab_id(in_dir("made.gguf"), in_dir(".")), id);
    const char *message = strstr(vocab_id(in_dir("made.gguf"), "share"), "tokenizer model");
    CHECK_STR(message ? message : "",
              "tokenizer model 'mine' is not supported (known: llama, gpt2, bert, t5)");
    put_text("tokenizers.yaml", "gguf: {mine: {type: bpe}}\n");
    message = strstr(vocab_id(in_dir("made.gguf"), in_dir(".")), "pre-tokenizer");
    CHECK_STR(message ? message : "",
              "pre-tokenizer \"my-way\" is not known; known are, among others: ");
    message = strstr(vocab_id("tests/golden/hf/gpt2-bare", in_dir(".")), "vocab.json of");
    CHECK(message && strstr(message, "how it splits text is not known"));
    remove_file("made.gguf");
    remove_file("tokenizers.yaml");
}

/* Used a thousand times, a long pattern is there once. */
static void patterns_are_shared(void) {
    tfm_tokenizer_names *names;
    const tfm_split *split;
    put_text("tokenizers.yaml", "patterns: {p: [a, b]}\n"
                                "splits:\n"
                                "- {names: [x], split: [{use: p}, c]}\n"
                                "- {names: [y], split: [{use: p}, {use: p}]}\n");
    if (!CHECK_INT(tfm_tokenizer_names_open(&names, in_dir("."), NULL), TFM_OK)) return;
    split = tfm_tokenizer_names_split_at(names, 0);
    CHECK_STR(split->pattern[0], "a|b");
    CHECK_STR(split->pattern[1], "c");
    CHECK(tfm_tokenizer_names_split_at(names, 1)->pattern[1] == split->pattern[0]);
    tfm_tokenizer_names_free(names);
    remove_file("tokenizers.yaml");
}

/* The examples of the page are one file together. */
static void the_page_is_right(void) {
    FILE *f = fopen("man/tfm-tokenizers.5", "r");
    tfm_tokenizer_names *names;
    tfm_vocab_source src = {0};
    tfm_error err = {0};
    tfm_buf yaml = {0};
    char line[200];
    bool inside = false;
    if (!CHECK(f != NULL)) return;
    while (fgets(line, sizeof line, f)) {
        const bool is_end = strncmp(line, ".Ed", 3) == 0;
        for (const char *c = line; inside && !is_end && *c; c++) {
            put_bytes(&yaml, c, 1);
            if (strncmp(c, "\\e", 2) == 0) c++; /* a backslash */
        }
        inside = !is_end && (inside || strncmp(line, ".Bd -literal", 12) == 0);
    }
    fclose(f);
    put_file("tokenizers.yaml", yaml.data, yaml.len);
    tfm_buf_free(&yaml);
    if (!CHECK_INT(tfm_tokenizer_names_open(&names, in_dir("."), &err), TFM_OK)) puts(err.message);
    if (names) CHECK_INT(tfm_tokenizer_names_split(names, "novel-chat", &src, NULL), TFM_OK);
    if (CHECK_INT(src.n_patterns, 2)) CHECK_STR(src.pattern[1], " ?\\p{L}+| ?[^\\s\\p{L}]+|\\s+");
    tfm_tokenizer_names_free(names);
    remove_file("tokenizers.yaml");
}

int main(void) {
    make_dir("names");
    UNIT_RUN(shipped_ways_of_splitting);
    UNIT_RUN(shipped_kinds);
    UNIT_RUN(unknown_names);
    UNIT_RUN(mistakes_have_a_line);
    UNIT_RUN(the_folder_is_needed);
    UNIT_RUN(own_names);
    UNIT_RUN(patterns_are_shared);
    UNIT_RUN(the_page_is_right);
    rmdir(dir);
    return unit_done();
}
