/* test_model_hf.c - Hugging Face folders: safetensors, shards, configurations, tokenizer files. */
#include "model_files.h"
#include "text/text_internal.h"

/* A safetensors file of this header and n zero bytes of data. */
static void put_safetensors(const char *name, const char *header, size_t n) {
    static const char zeros[4096];
    tfm_buf b = {0};
    put_u64(&b, strlen(header));
    put_bytes(&b, header, strlen(header));
    put_bytes(&b, zeros, n);
    put_file(name, b.data, b.len);
    tfm_buf_free(&b);
}

static tfm_status try_header(const char *header, size_t n, tfm_error *err) {
    put_text("config.json", "{\"model_type\": \"x\"}");
    put_safetensors("model.safetensors", header, n);
    return try_source("", err);
}

#define T(name, dtype, shape, from, to)                                                            \
    "\"" name "\": {\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": [" from      \
    ", " to "]}"

static void reads_safetensors(void) {
    static const char header[] =
        "{\"__metadata__\": {\"format\": \"pt\"}, " T("b", "F16", "[2, 3]", "16", "28") ", " T(
            "a", "F32", "[4]", "0", "16") ", " T("s", "I64", "[]", "28", "36") "}  ";
    tfm_error err = {0};
    tfm_source *s;
    CHECK_INT(try_header(header, 36, &err), TFM_OK);
    if (!CHECK_INT(tfm_source_open(&s, in_dir(""), &from_share, &err), TFM_OK)) return;
    CHECK_STR(tfm_source_format_name(tfm_source_get_format(s)), "hf");
    CHECK_INT(tfm_source_n_tensors(s), 3);
    CHECK_STR(tfm_source_tensor_at(s, 0)->name, "a"); /* by place in the file */
    const tfm_tensor *t = tfm_source_tensor(s, "b");
    CHECK(t && t->dtype == TFM_F16 && t->rank == 2 && t->dims[0] == 2 && t->dims[1] == 3);
    CHECK_INT(tfm_source_tensor(s, "s")->rank, 0);
    tfm_source_free(s);
    /* the file itself, with config.json beside it */
    CHECK_INT(tfm_source_open(&s, in_dir("model.safetensors"), &from_share, &err), TFM_OK);
    CHECK_INT(tfm_source_n_tensors(s), 3);
    CHECK_STR(tfm_source_meta(s, "model_type")->s, "x");
    tfm_source_free(s);
}

static void refuses_safetensors(void) {
    tfm_error err = {0};
    CHECK_INT(try_header("{" T("a", "F32", "[4]", "0", "16") "}", 15, &err), TFM_TRUNCATED);
    CHECK_INT(try_header("{" T("a", "F32", "[4]", "0", "16") "}", 17, &err), TFM_FORMAT);
    CHECK_INT(try_header("{" T("a", "F32", "[4]", "0", "12") "}", 12, &err), TFM_FORMAT);
    CHECK_INT(try_header("{" T("a", "F32", "[4]", "4", "20") "}", 20, &err), TFM_FORMAT); /* gap */
    CHECK_INT(
        try_header("{" T("a", "F32", "[4]", "0", "16") ", " T("b", "F32", "[4]", "8", "24") "}", 24,
                   &err),
        TFM_FORMAT); /* overlap */
    CHECK_INT(try_header("{" T("a", "F32", "[4]", "16", "0") "}", 16, &err), TFM_FORMAT);
    CHECK_INT(try_header("{" T("a", "F32", "[4]", "-16", "0") "}", 16, &err), TFM_FORMAT);
    CHECK_INT(try_header("{" T("a", "F32", "[0]", "0", "0") "}", 0, &err), TFM_FORMAT);
    CHECK_INT(try_header("{" T("a", "F32", "[1,1,1,1,1]", "0", "4") "}", 4, &err), TFM_LIMIT);
    CHECK_INT(try_header("{" T("a", "F8_E4M3", "[4]", "0", "4") "}", 4, &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "F8_E4M3") != NULL);
    CHECK(try_header("{" T("a", "F32", "[4294967295, 4294967295, 4]", "0", "16") "}", 16, &err) !=
          TFM_OK);
    CHECK_INT(try_header("{" T("a", "F32", "[1]", "0", "4") ", " T("a", "F32", "[1]", "0", "4") "}",
                         4, &err),
              TFM_FORMAT);
    CHECK_INT(try_header("{\"a\": 1}", 0, &err), TFM_FORMAT);
    CHECK_INT(try_header("[]", 0, &err), TFM_FORMAT);
    CHECK_INT(try_header("{", 0, &err), TFM_FORMAT);
    put_file("model.safetensors", "\xff\xff\xff\xff\0\0\0\0{", 9);
    CHECK_INT(try_source("", &err), TFM_LIMIT);
    put_file("model.safetensors", "\x40\0\0\0\0\0\0\0{", 9);
    CHECK_INT(try_source("", &err), TFM_TRUNCATED);
    put_file("model.safetensors", "abc", 3);
    CHECK_INT(try_source("", &err), TFM_TRUNCATED);
    remove_file("model.safetensors");
    CHECK_INT(try_source("", &err), TFM_NOTFOUND);
}

static void reads_shards(void) {
    tfm_error err = {0};
    put_safetensors("m1.safetensors", "{" T("a", "F32", "[1]", "0", "4") "}", 4);
    put_safetensors("m2.safetensors", "{" T("b", "F32", "[1]", "0", "4") "}", 4);
    put_text("model.safetensors.index.json",
             "{\"weight_map\": {\"b\": \"m2.safetensors\", \"a\": \"m1.safetensors\"}}");
    CHECK_INT(try_source("", &err), TFM_OK);
    put_text("model.safetensors.index.json",
             "{\"weight_map\": {\"b\": \"m2.safetensors\", \"c\": \"m1.safetensors\"}}");
    CHECK_INT(try_source("", &err), TFM_FORMAT); /* c is in no shard */
    put_text("model.safetensors.index.json", "{\"weight_map\": {\"b\": \"../m2.safetensors\"}}");
    CHECK_INT(try_source("", &err), TFM_FORMAT);
    put_text("model.safetensors.index.json", "{\"weight_map\": {\"b\": \"m3.safetensors\"}}");
    CHECK_INT(try_source("", &err), TFM_NOTFOUND);
    put_safetensors("m2.safetensors", "{" T("a", "F32", "[1]", "0", "4") "}", 4);
    put_text("model.safetensors.index.json",
             "{\"weight_map\": {\"b\": \"m2.safetensors\", \"a\": \"m1.safetensors\"}}");
    CHECK_INT(try_source("", &err), TFM_FORMAT); /* one name in two shards */
    put_text("model.safetensors.index.json", "{}");
    CHECK_INT(try_source("", &err), TFM_FORMAT);
    remove_file("m1.safetensors");
    remove_file("m2.safetensors");
    remove_file("model.safetensors.index.json");
}

static void flattens_configurations(void) {
    tfm_error err = {0};
    tfm_source *s;
    tfm_meta item;
    CHECK_INT(try_header("{" T("a", "F32", "[1]", "0", "4") "}", 4, &err), TFM_OK);
    put_text("config.json",
             "{\"n\": 12, \"x\": 1e-5, \"t\": true, \"none\": null, \"s\": \"q\\u0000\","
             "\"rope\": {\"type\": \"yarn\", \"factor\": 4.0}, \"list\": [1, 2.5],"
             "\"nested\": [{\"k\": 7}, [1]], \"empty\": []}");
    put_text("generation_config.json", "{\"eos_token_id\": [1, 2]}");
    put_text("tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656,"
                                      "\"n\": 3, \"bos_token\": {\"content\": \"<s>\"},"
                                      "\"added_tokens_decoder\": {\"1\": {\"content\": \"x\"}}}");
    if (!CHECK_INT(tfm_source_open(&s, in_dir(""), &from_share, &err), TFM_OK)) return;
    CHECK_INT(tfm_source_meta(s, "n")->i, 12);
    CHECK(tfm_source_meta(s, "n")->f == 12);
    CHECK(tfm_source_meta(s, "x")->f == 1e-5);
    CHECK(tfm_source_meta(s, "t")->is_bool);
    CHECK(tfm_source_meta(s, "none") == NULL);
    CHECK_INT(tfm_source_meta(s, "s")->s_len, 2);
    CHECK_STR(tfm_source_meta(s, "rope.type")->s, "yarn");
    CHECK_INT(tfm_source_meta(s, "rope.factor")->type, TFM_META_FLOAT);
    const tfm_meta *list = tfm_source_meta(s, "list");
    CHECK(list && list->n == 2 && tfm_meta_item(list, 1, &item) && item.f == 2.5);
    CHECK_INT(tfm_source_meta(s, "nested.0.k")->i, 7);
    CHECK_INT(tfm_source_meta(s, "nested.1")->n, 1);
    CHECK_INT(tfm_source_meta(s, "empty")->n, 0);
    CHECK_INT(tfm_source_meta(s, "generation.eos_token_id")->n, 2);
    CHECK(tfm_source_meta(s, "tokenizer_config.model_max_length")->f > 9e29);
    CHECK(tfm_source_meta(s, "tokenizer_config.n")->f == 3);
    CHECK_STR(tfm_source_meta(s, "tokenizer_config.bos_token.content")->s, "<s>");
    CHECK(tfm_source_meta(s, "tokenizer_config.added_tokens_decoder.1.content") == NULL);
    CHECK_INT(tfm_source_n_blobs(s), 3);
    CHECK_STR(tfm_source_blob_at(s, 0)->name, "source.config.json");
    tfm_source_free(s);
    remove_file("generation_config.json");
    remove_file("tokenizer_config.json");
    put_text("config.json", "{\"a.b\": 1, \"a\": {\"b\": 2}}");
    CHECK_INT(try_source("", &err), TFM_FORMAT);
    put_text("config.json", "{\"a\": 1, \"a\": 1}");
    CHECK_INT(try_source("", &err), TFM_FORMAT);
    remove_file("config.json");
    CHECK_INT(try_source("", &err), TFM_NOTFOUND);
    remove_file("model.safetensors");
}

/* A tree far larger than its text is refused before it is built. */
static void bounds_memory(void) {
    tfm_error err = {0};
    tfm_buf b = {0};
    CHECK_INT(tfm_buf_str(&b, "{\"model\": [0", &err), TFM_OK);
    for (int i = 0; i < 2000000; i++)
        if (tfm_buf_str(&b, ",[]", &err) != TFM_OK) break;
    CHECK_INT(tfm_buf_str(&b, "]}", &err), TFM_OK);
    put_file("tokenizer.json", b.data, b.len);
    CHECK_INT(try_source("tokenizer.json", &err), TFM_LIMIT);
    b.len = 0;
    for (int i = 0; i < 100000; i++)
        if (tfm_buf_str(&b, "{\"a\":", &err) != TFM_OK) break;
    put_file("tokenizer.json", b.data, b.len);
    CHECK_INT(try_source("tokenizer.json", &err), TFM_FORMAT); /* too deep */
    remove_file("tokenizer.json");
    tfm_buf_free(&b);
}

/* ---- tokenizer.json ---- */

#define BYTE_STAGES                                                                                \
    "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false},"                   \
    "\"decoder\": {\"type\": \"ByteLevel\"}"
#define META_STAGES                                                                                \
    "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": ["                                  \
    "{\"type\": \"Prepend\", \"prepend\": \"\\u2581\"},"                                           \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\\u2581\"}]},"       \
    "\"decoder\": {\"type\": \"Sequence\", \"decoders\": ["                                        \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\\u2581\"}, \"content\": \" \"},"         \
    "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"},"                                          \
    "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}"
#define MODEL(more)                                                                                \
    "\"model\": {\"type\": \"BPE\", \"fuse_unk\": true, \"unk_token\": \"u\", \"vocab\": "         \
    "{\"u\": 0, \"a\": 1, \"b\": 2, \"ab\": 3}, \"merges\": [\"a b\"]" more "}"

#define MODELS(merges)                                                                             \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, "                  \
    "\"merges\": " merges "}"

#define LIST(vocab, unk)                                                                           \
    "\"model\": {\"type\": \"Unigram\", \"vocab\": [" vocab "], \"unk_id\": " unk "}"

static tfm_status try_json(const char *text, tfm_error *err) {
    put_text("tokenizer.json", text);
    return try_source("tokenizer.json", err);
}

static void takes_tokenizers(void) {
    static const char *const good[] = {
        "{" BYTE_STAGES ", " MODEL("") "}",
        "{" META_STAGES ", " MODEL("") "}",
        "{" BYTE_STAGES ", \"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2},"
        " \"merges\": [[\"a\", \"b\"]]}}",
        "{" BYTE_STAGES ", \"normalizer\": {\"type\": \"NFC\"}, " MODEL("") "}",
        "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\","
        "\"individual_digits\": true}, {\"type\": \"Split\", \"pattern\": {\"Regex\": \"x\"},"
        "\"behavior\": \"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\","
        "\"add_prefix_space\": false, \"use_regex\": false}]}, \"decoder\": {\"type\":"
        "\"ByteLevel\"}, " MODEL("") "}",
        /* the merges are not parsed by jansson: escapes, surrogates, spaces, other order of keys */
        "{\"model\": {\"merges\": [ [ \"\\u00e9\" , \"\\ud83d\\ude00\" ] , \"\\u0061 \\\"\"\n],"
        "\"vocab\": {\"\\u00e9\": 0, \"\\ud83d\\ude00\": 1, \"\\u00e9\\ud83d\\ude00\": 2,"
        "\"a\": 3, \"\\\"\": 4, \"a\\\"\": 5}}, " BYTE_STAGES "}",
        "{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\","
        "\"prepend_scheme\": \"first\", \"split\": true}, \"decoder\": {\"type\": "
        "\"Metaspace\"}, " MODEL("") "}",
    };
    tfm_error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!CHECK_INT(try_json(good[i], &err), TFM_OK)) printf("%zu: %s\n", i, err.message);
}

/* Each must be refused, and the message must name what is in the way. */
static void refuses_tokenizers(void) {
    static const char *const bad[][2] = {
        {"{\"a\": 1}", "model"},
        {"{" BYTE_STAGES ", \"model\": {\"type\": \"Unigram\"}}", "Unigram"},
        {"{" BYTE_STAGES ", \"model\": {\"type\": \"X\", \"vocab\": []}}", "type X"},
        {"{" BYTE_STAGES ", \"model\": {\"vocab\": []}}", "pieces"},
        {"{" BYTE_STAGES ", " LIST("[\"a\", -1], [\"b\"]", "0") "}", "entry 1"},
        {"{" BYTE_STAGES ", " LIST("[\"a\", -1.]", "0") "}", "entry 0"},
        {"{" BYTE_STAGES ", " LIST("[\"a\", -1e999]", "0") "}", "entry 0"},
        {"{" BYTE_STAGES ", " LIST("[\"a\", true]", "0") "}", "entry 0"},
        {"{" BYTE_STAGES ", " LIST("[\"a\", -1] [\"b\", -1]", "0") "}", "no list"},
        {"{" BYTE_STAGES ", " LIST("[\"a\", 11], [\"b\", 12]", "0") "}", "scores"},
        {"{" BYTE_STAGES ", " LIST("[\"a\", -1]", "1") "}", "unk_id"},
        {"{" BYTE_STAGES ", " LIST("[\"<0x00>\", -1]", "null, \"byte_fallback\": true") "}",
         "1 of the 256"},
        {"{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"A*==\"}, " LIST(
             "[\"a\", -1]", "0") "}",
         "base64"},
        {"{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, "
         "\"content\": \"x\"}, " LIST("[\"a\", -1]", "0") "}",
         "Replace"},
        {"{\"normalizer\": {\"type\": \"Unheard\"}, " LIST("[\"a\", -1]", "0") "}", "Unheard"},
        {"{\"decoder\": {\"type\": \"CTC\"}, " LIST("[\"a\", -1]", "0") "}", "CTC"},
        {"{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": "
         "\"Metaspace\", \"replacement\": \"_\"}]}, " LIST("[\"a\", -1]", "0") "}",
         "Metaspace"},
        {"{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
         "\"WhitespaceSplit\"}, {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\", "
         "\"prepend_scheme\": \"first\"}]}, " LIST("[\"a\", -1]", "0") "}",
         "Metaspace"},
        {"{" BYTE_STAGES ", " MODEL(", \"dropout\": 0.1") "}", "dropout"},
        {"{" BYTE_STAGES ", \"normalizer\": {\"type\": \"Unheard\"}, " MODEL("") "}", "Unheard"},
        {"{" BYTE_STAGES ", \"post_processor\": {\"type\": \"X\"}, " MODEL("") "}", "X"},
        {"{" BYTE_STAGES
         ", \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}, " MODEL("") "}",
         "TemplateProcessing"},
        {"{" BYTE_STAGES ", \"added_tokens\": [{\"id\": 3, \"content\": \"x\"}], " MODEL("") "}",
         "'ab'"},
        {"{" BYTE_STAGES ", \"added_tokens\": [{\"id\": 4000, \"content\": \"x\"}], " MODEL("") "}",
         "4000"},
        {"{" BYTE_STAGES ", \"added_tokens\": [{\"id\": 4}], " MODEL("") "}", "content"},
        {"{" BYTE_STAGES ", \"added_tokens\": [{\"content\": \"x\"}], " MODEL("") "}", "id"},
        {"{" BYTE_STAGES ", \"model\": {\"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", "two"},
        {"{" BYTE_STAGES ", \"model\": {\"vocab\": {\"a\": -1}, \"merges\": []}}", "'a'"},
        {"{" BYTE_STAGES ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"aa\"]}}", "merge 0"},
        {"{" BYTE_STAGES ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", "merge 0"},
        {"{" BYTE_STAGES ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a q\"]}}", "merge 0"},
        {"{" BYTE_STAGES ", " MODELS("[\"a b\",]") "}", "merge 1"},
        {"{" BYTE_STAGES ", " MODELS("[\"a b\" \"a b\"]") "}", "no list"},
        {"{" BYTE_STAGES ", " MODELS("[[\"a\", \"b\", \"ab\"]]") "}", "merge 0"},
        {"{" BYTE_STAGES ", " MODELS("[1]") "}", "merge 0"},
        {"{" BYTE_STAGES ", " MODELS("[[\"a\", \"b\"}]") "}", "merge 0"},
        {"{" BYTE_STAGES ", " MODELS("[\"a \\x\"]") "}", "merge 0"},
        {"{" BYTE_STAGES ", " MODELS("[\"a \\ud800\"]") "}", "merge 0"},
        {"{" BYTE_STAGES ", " MODELS("[\"a \\u00\"]") "}", "merge 0"},
        {"{" BYTE_STAGES ", " MODELS("{}") "}", "no array"},
        {"{" BYTE_STAGES ", " MODELS("[], \"merges\": []") "}", "duplicate"},
        {"{" BYTE_STAGES ", " MODELS("[\"a b\"") "}", "line"},
        {"{" BYTE_STAGES ", \"model\": {\"vocab\": {}, \"merges\": []}}", "pieces"},
        {"{\"pre_tokenizer\": {\"type\": \"Unheard\"}, " MODEL("") "}", "Unheard"},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"x\"}, \"behavior\":"
         "\"Other\"}, " MODEL("") "}",
         "Split"},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"String\": \"\"}, \"behavior\":"
         "\"Removed\"}, " MODEL("") "}",
         "Split"},
        {"{\"decoder\": {\"type\": \"ByteLevel\"}, " MODEL(
             ", \"continuing_subword_prefix\": \"\\u2581\"") "}",
         "ASCII"},
        {"{\"decoder\": {\"type\": \"WordPiece\"}, " MODEL("") "}", "WordPiece"},
    };
    tfm_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(try_json(bad[i][0], &err) != TFM_OK);
        if (!CHECK(strstr(err.message, bad[i][1]) != NULL)) printf("%zu: %s\n", i, err.message);
    }
}

/* Settings of the vocabulary at DIR/name, whose tables stay with s. */
static const char *settings_of(tfm_source **s, const char *name) {
    tfm_error err = {0};
    const tfm_vocab_tables *v = NULL;
    if (!CHECK_INT(tfm_source_open(s, in_dir(name), &from_share, &err), TFM_OK) ||
        !CHECK_INT(tfm_source_vocab(*s, &v, &err), TFM_OK) || v == NULL) {
        puts(err.message);
        return "";
    }
    return v->settings;
}

static unsigned flags_at(tfm_source *s, size_t id) {
    const tfm_vocab_tables *v = NULL;
    tfm_error err = {0};
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
    for (size_t i = 0; v && i < v->n_tensors; i++)
        if (strcmp(v->tensor[i].name, "vocab.flags") == 0)
            return ((const unsigned char *)v->tensor[i].data)[id];
    return 0;
}

static void special_tokens(void) {
    tfm_source *s = NULL;
    put_text(
        "tokenizer.json",
        "{" BYTE_STAGES ", \"added_tokens\": [{\"id\": 4, \"content\": \"<s>\", \"special\": true},"
        "{\"id\": 5, \"content\": \"<e>\", \"special\": true}, {\"id\": 6, \"content\": \"tool\","
        "\"special\": false, \"lstrip\": true}, {\"id\": 7, \"content\": \"<|im_end|>\","
        "\"special\": true}], \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\":"
        "[{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}],"
        "\"special_tokens\": {\"<s>\": {\"ids\": [4]}}}, " MODEL("") "}");
    put_text("tokenizer_config.json",
             "{\"eos_token\": {\"content\": \"<e>\"}, \"pad_token\": \"u\"}");
    const char *text = settings_of(&s, "tokenizer.json");
    CHECK(strstr(text, "\nbos: 4\n") && strstr(text, "\neos: 5\n") && strstr(text, "\npad: 0\n"));
    CHECK(strstr(text, "\nadd-bos: true\n") && strstr(text, "\nadd-eos: false\n"));
    CHECK_INT(flags_at(s, 4), TFM_TOKEN_CONTROL);
    CHECK_INT(flags_at(s, 5), TFM_TOKEN_CONTROL | TFM_TOKEN_EOG);
    CHECK_INT(flags_at(s, 6), TFM_TOKEN_ADDED | TFM_TOKEN_LSTRIP);
    CHECK_INT(flags_at(s, 7), TFM_TOKEN_CONTROL | TFM_TOKEN_EOG);
    CHECK_INT(flags_at(s, 0), TFM_TOKEN_UNKNOWN);
    CHECK_INT(flags_at(s, 1), 0);
    tfm_source_free(s);
    remove_file("tokenizer.json");
    remove_file("tokenizer_config.json");
}

/* Metaspace of scheme "first": a space before a text without one, and nowhere else. */
static void metaspace_prefix(void) {
    static const struct {
        const char *text;
        int ids[3], n;
    } cases[] = {{"a", {1, 2}, 2}, {" a", {1, 2}, 2}, {"  a", {1, 1, 2}, 3}, {"<c>a", {3, 2}, 2}};
    tfm_error err = {0};
    tfm_source *s = NULL;
    tfm_model *m = NULL;
    const tfm_vocab *v;
    tfm_tokenizer *t = NULL;
    put_text("tokenizer.json",
             "{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"\\u2581\","
             "\"prepend_scheme\": \"first\", \"split\": false}, \"decoder\": {\"type\":"
             "\"Metaspace\"}, \"added_tokens\": [{\"id\": 3, \"content\": \"<c>\", \"special\":"
             "true}], \"model\": {\"type\": \"BPE\", \"fuse_unk\": true, \"unk_token\": \"u\","
             "\"vocab\": {\"u\": 0, \"\\u2581\": 1, \"a\": 2}, \"merges\": []}}");
    CHECK_INT(tfm_source_open(&s, in_dir("tokenizer.json"), &from_share, &err), TFM_OK);
    if (CHECK_INT(model_of(&m, s, "", &err), TFM_OK) &&
        CHECK_INT(tfm_model_vocab(m, &v, &err), TFM_OK) &&
        CHECK_INT(tfm_tokenizer_new(&t, v, &err), TFM_OK)) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            tfm_ids ids = {0};
            size_t n = strlen(cases[i].text);
            CHECK_INT(tfm_tokenize(t, cases[i].text, n, TFM_TOK_PARSE_SPECIAL, &ids, NULL, &err),
                      TFM_OK);
            CHECK_INT(ids.len, cases[i].n);
            for (int k = 0; k < cases[i].n && (size_t)k < ids.len; k++)
                CHECK_INT(ids.data[k], cases[i].ids[k]);
            tfm_ids_free(&ids);
        }
    }
    tfm_tokenizer_free(t);
    tfm_model_free(m);
    tfm_source_free(s);
    remove_file("tokenizer.json");
}

static void bare_lists(void) {
    tfm_error err = {0};
    tfm_source *s = NULL;
    put_text("vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2, \"<|endoftext|>\": 3}");
    put_text("merges.txt", "#version: 0.2\na b\n\n");
    CHECK_INT(try_source("", &err), TFM_OK);
    put_text(
        "tokenizer_config.json",
        "{\"tokenizer_class\": \"Qwen2Tokenizer\", \"eos_token\": \"<|im_end|>\","
        "\"added_tokens_decoder\": {\"4\": {\"content\": \"<|im_end|>\", \"special\": true}}}");
    const char *text = settings_of(&s, "");
    CHECK(strstr(text, "\nsize: 5\n") && strstr(text, "\neos: 4\n") && strstr(text, ": nfc\n"));
    tfm_source_free(s);
    put_text("tokenizer_config.json", "{\"tokenizer_class\": \"CLIPTokenizer\"}");
    CHECK_INT(try_source("", &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "CLIPTokenizer") != NULL);
    remove_file("tokenizer_config.json");
    put_text("added_tokens.json", "{\"x\": 4}");
    CHECK_INT(try_source("", &err), TFM_UNSUPPORTED);
    remove_file("added_tokens.json");
    put_text("merges.txt", "ab\n");
    CHECK_INT(try_source("", &err), TFM_FORMAT);
    remove_file("merges.txt");
    CHECK_INT(try_source("", &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "merges.txt") != NULL);
    remove_file("vocab.json");
}

/* ---- SentencePiece ---- */

/* pieces <unk> <s> a; model type; an optional charsmap. */
static void put_spm(unsigned char type, bool charsmap) {
    tfm_buf b = {0};
    unsigned char trainer[] = {0x12, 2, 0x18, type};
    put_bytes(&b, "\x0a\x09\x0a\x05<unk>\x18\x02", 11);
    put_bytes(&b, "\x0a\x07\x0a\x03<s>\x18\x03", 9);
    put_bytes(&b,
              "\x0a\x08\x0a\x01"
              "a\x15\0\0\x80\xbf",
              10); /* score -1 */
    put_bytes(&b, trainer, sizeof trainer);
    if (charsmap) put_bytes(&b, "\x1a\x03\x12\x01x", 5);
    put_file("tokenizer.model", b.data, b.len);
    tfm_buf_free(&b);
}

static void sentencepiece(void) {
    tfm_error err = {0};
    tfm_source *s = NULL;
    tfm_buf b = {0};
    put_spm(2, false);
    const char *text = settings_of(&s, "tokenizer.model");
    CHECK(strstr(text, "\nsize: 3\n") && strstr(text, "\nunk: 0\n") && strstr(text, "\nbos: 1\n"));
    CHECK(strstr(text, "\nremove-extra-spaces: true\n") && strstr(text, "\nadd-bos: true\n"));
    tfm_source_free(s);
    put_spm(1, false);
    text = settings_of(&s, "tokenizer.model");
    CHECK(strstr(text, "type: unigram\n") && strstr(text, "\nnormaliser: charsmap\n"));
    tfm_source_free(s);
    put_spm(3, false); /* words */
    CHECK_INT(try_source("tokenizer.model", &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "unigram") != NULL);
    put_spm(2, true); /* a table of one byte */
    CHECK_INT(try_source("tokenizer.model", &err), TFM_FORMAT);
    put_spm(2, false);
    CHECK_INT(tfm_file_read(&b, in_dir("tokenizer.model"), 4096, &err), TFM_OK);
    for (size_t n = 0; n + 1 < b.len; n++) { /* a cut between fields only loses what follows */
        put_file("tokenizer.model", b.data, n);
        CHECK((try_source("tokenizer.model", &err) == TFM_OK) == (n == 11 || n == 20 || n == 30));
    }
    for (size_t i = 0; i < b.len; i++) {
        b.data[i] = (char)(b.data[i] ^ 0x81);
        put_file("tokenizer.model", b.data, b.len);
        (void)!try_source("tokenizer.model", &err);
        b.data[i] = (char)(b.data[i] ^ 0x81);
    }
    remove_file("tokenizer.model");
    tfm_buf_free(&b);
}

/* ---- the same vocabulary from two formats is the same vocabulary ---- */

static void same_ids(void) {
    static const char *const pairs[][2] = {
        {"gpt2/encoder.json", "vocabs/ggml-vocab-gpt-2.gguf"},
        {"llama2-tokenizer/tokenizer.model", "vocabs/ggml-vocab-llama-spm.gguf"}};
    for (size_t i = 0; i < 2; i++) {
        char id[2][17] = {"", ""};
        for (size_t k = 0; k < 2; k++) {
            tfm_error err = {0};
            tfm_source *s;
            const tfm_vocab_tables *v;
            const char *path = unit_asset(pairs[i][k]);
            if (!path) continue;
            CHECK_INT(tfm_source_open(&s, path, &from_share, &err), TFM_OK);
            CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
            if (v) memcpy(id[k], v->id, 17);
            tfm_source_free(s);
        }
        if (id[0][0])
            CHECK_STR(id[0], id[1]);
        else
            UNIT_SKIP("needs $TFM_ASSETS");
    }
}

static void golden_folders(void) {
    static const char *const names[] = {"gpt2",           "gpt2-bare",      "llama-sharded-f16",
                                        "llama-tied",     "mistral-window", "qwen2",
                                        "qwen2-tied-bf16"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tfm_error err = {0};
        tfm_source *s;
        const tfm_vocab_tables *v;
        char path[128];
        snprintf(path, sizeof path, "tests/golden/hf/%s", names[i]);
        CHECK_INT(tfm_source_open(&s, path, &from_share, &err), TFM_OK);
        if (!s) continue;
        CHECK(tfm_source_n_tensors(s) >= 20);
        CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
        CHECK(v != NULL);
        tfm_source_free(s);
    }
}

int main(void) {
    make_dir("hf");
    UNIT_RUN(reads_safetensors);
    UNIT_RUN(refuses_safetensors);
    UNIT_RUN(reads_shards);
    UNIT_RUN(flattens_configurations);
    UNIT_RUN(bounds_memory);
    UNIT_RUN(takes_tokenizers);
    UNIT_RUN(refuses_tokenizers);
    UNIT_RUN(special_tokens);
    UNIT_RUN(metaspace_prefix);
    UNIT_RUN(bare_lists);
    UNIT_RUN(sentencepiece);
    UNIT_RUN(same_ids);
    UNIT_RUN(golden_folders);
    CHECK(rmdir(dir) == 0);
    return unit_done();
}
