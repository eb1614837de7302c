/* test_model_gguf.c - GGUF in and out: values, tensors, lies, and the exact way back. */
#include "model_files.h"

static tfm_buf b;

/* Every value type, an array of numbers and one of strings, two tensors. */
static void small_file(uint32_t version) {
    static const float data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    gguf_start(&b, version, 2, 9);
    gguf_key(&b, "a.u8", TFM_GGUF_U8);
    put_bytes(&b, "\xff", 1);
    gguf_key(&b, "a.i16", TFM_GGUF_I16);
    put_bytes(&b, "\xfe\xff", 2);
    gguf_key(&b, "a.u64", TFM_GGUF_U64);
    put_u64(&b, UINT64_MAX);
    gguf_key(&b, "a.f32", TFM_GGUF_F32);
    put_u32(&b, 0x3fc00000); /* 1.5 */
    gguf_key(&b, "a.bool", TFM_GGUF_BOOL);
    put_bytes(&b, "\x01", 1);
    gguf_key(&b, "a.str", TFM_GGUF_STRING);
    put_str(&b, "hello");
    gguf_key(&b, "a.ints", TFM_GGUF_ARRAY);
    put_u32(&b, TFM_GGUF_I32);
    put_u64(&b, 3);
    put_u32(&b, 1);
    put_u32(&b, 0xffffffff);
    put_u32(&b, 3);
    gguf_key(&b, "a.strs", TFM_GGUF_ARRAY);
    put_u32(&b, TFM_GGUF_STRING);
    put_u64(&b, 2);
    put_str(&b, "x");
    put_str(&b, "");
    gguf_key(&b, "a.f64", TFM_GGUF_F64);
    put_u64(&b, 0x3ff8000000000000u); /* 1.5 */
    gguf_tensor(&b, "m", 2, 3, 2, 0, 0);
    gguf_tensor(&b, "v", 1, 2, 0, 0, 32);
    pad_to(&b, 32);
    put_bytes(&b, data, 24);
    pad_to(&b, 32);
    put_bytes(&b, data, 8);
}

static void reads_values(void) {
    tfm_error err = {0};
    tfm_source *s;
    tfm_meta item;
    const tfm_vocab_tables *v;
    char full[65], part[65];
    small_file(3);
    put_file("s.gguf", b.data, b.len);
    if (!CHECK_INT(tfm_source_open(&s, in_dir("s.gguf"), &from_share, &err), TFM_OK)) return;
    CHECK_STR(tfm_source_format_name(tfm_source_get_format(s)), "gguf");
    CHECK_INT(tfm_source_n_meta(s), 9);
    CHECK_INT(tfm_source_meta(s, "a.u8")->i, 255);
    CHECK_INT(tfm_source_meta(s, "a.i16")->i, -2);
    CHECK(tfm_source_meta(s, "a.i16")->f == -2.0);
    CHECK(tfm_source_meta(s, "a.u64")->i == INT64_MAX);
    CHECK(tfm_source_meta(s, "a.f32")->f == 1.5);
    CHECK(tfm_source_meta(s, "a.f64")->f == 1.5);
    CHECK(tfm_source_meta(s, "a.bool")->is_bool);
    CHECK_STR(tfm_source_meta(s, "a.str")->s, "hello");
    CHECK(tfm_source_meta(s, "a") == NULL);
    const tfm_meta *ints = tfm_source_meta(s, "a.ints"), *strs = tfm_source_meta(s, "a.strs");
    CHECK_INT(ints->type, TFM_META_ARRAY);
    CHECK_INT(ints->item_type, TFM_META_INT);
    CHECK(tfm_meta_item(ints, 1, &item) && item.i == -1);
    CHECK(!tfm_meta_item(ints, 3, &item));
    CHECK(tfm_meta_item(strs, 0, &item) && item.s_len == 1 && item.s[0] == 'x');
    CHECK(tfm_meta_item(strs, 1, &item) && item.s_len == 0);
    const tfm_tensor *t = tfm_source_tensor(s, "m");
    if (!CHECK(t != NULL)) return;
    CHECK_INT(t->dims[0], 2);
    CHECK_INT(t->dims[1], 3);
    CHECK(((const float *)t->data)[5] == 6);
    CHECK(((const float *)tfm_source_tensor(s, "v")->data)[1] == 2);
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
    CHECK(v == NULL);
    CHECK_INT(tfm_source_digest(s, true, full, &err), TFM_OK);
    CHECK_INT(tfm_source_digest(s, false, part, &err), TFM_OK);
    CHECK(strlen(full) == 64 && strcmp(full, part) != 0);
    tfm_source_free(s);
    small_file(2);
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(try_source("s.gguf", &err), TFM_OK);
}

/* What a weight holds is no part of the digest without weights, all else is. */
static void digest_without_weights(void) {
    tfm_error err = {0};
    tfm_source *s;
    char d[4][65];
    for (int i = 0; i < 2; i++) {
        small_file(3);
        b.data[b.len - 1] = (char)i;
        put_file("s.gguf", b.data, b.len);
        CHECK_INT(tfm_source_open(&s, in_dir("s.gguf"), &from_share, &err), TFM_OK);
        CHECK_INT(tfm_source_digest(s, false, d[2 * i], &err), TFM_OK);
        CHECK_INT(tfm_source_digest(s, true, d[2 * i + 1], &err), TFM_OK);
        tfm_source_free(s);
    }
    CHECK_STR(d[0], d[2]);
    CHECK(strcmp(d[1], d[3]) != 0);
}

static void survives_damage(void) {
    tfm_error err = {0};
    small_file(3);
    for (size_t n = 0; n < b.len; n++) {
        put_file("s.gguf", b.data, n);
        tfm_status st = try_source("s.gguf", &err);
        CHECK(st == TFM_TRUNCATED || st == TFM_FORMAT);
    }
    /* any byte of the header: an error or another value, and nothing out of bounds (under ASan) */
    for (size_t i = 0; i < b.len; i++) {
        for (int bit = 0; bit < 8; bit += 3) {
            b.data[i] = (char)(b.data[i] ^ 1 << bit);
            put_file("s.gguf", b.data, b.len);
            (void)!try_source("s.gguf", &err);
            b.data[i] = (char)(b.data[i] ^ 1 << bit);
        }
    }
}

/* One tensor with these numbers, `bytes` of data behind it. */
static tfm_status one_tensor(const char *name, uint32_t rank, uint64_t d0, uint64_t d1,
                             uint32_t type, uint64_t offset, size_t bytes, tfm_error *err) {
    static const char zeros[4096];
    gguf_start(&b, 3, 1, 0);
    gguf_tensor(&b, name, rank, d0, d1, type, offset);
    pad_to(&b, 32);
    put_bytes(&b, zeros, bytes);
    put_file("s.gguf", b.data, b.len);
    return try_source("s.gguf", err);
}

static void refuses_lies(void) {
    tfm_error err = {0};
    CHECK_INT(one_tensor("t", 2, 32, 2, 8, 0, 68, &err), TFM_OK);
    CHECK_INT(one_tensor("t", 2, 32, 2, 8, 0, 67, &err), TFM_TRUNCATED);
    CHECK(one_tensor("t", 2, 33, 2, 8, 0, 4096, &err) != TFM_OK); /* no whole blocks */
    CHECK_INT(one_tensor("t", 2, 32, 2, 8, 32, 4096, &err), TFM_FORMAT);
    CHECK_INT(one_tensor("t", 2, 0, 2, 0, 0, 4096, &err), TFM_FORMAT);
    CHECK_INT(one_tensor("t", 2, (uint64_t)1 << 32, 2, 0, 0, 64, &err), TFM_FORMAT);
    CHECK(one_tensor("t", 2, UINT32_MAX, UINT32_MAX, 0, 0, 64, &err) != TFM_OK);
    CHECK_INT(one_tensor("t", 5, 2, 2, 0, 0, 4096, &err), TFM_LIMIT);
    CHECK_INT(one_tensor("", 1, 2, 0, 0, 0, 8, &err), TFM_FORMAT);
    CHECK_INT(one_tensor("t", 2, 256, 1, 16, 0, 4096, &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "iq2_xxs") != NULL);
    CHECK_INT(one_tensor("t", 2, 256, 1, 99, 0, 4096, &err), TFM_UNSUPPORTED);
    gguf_start(&b, 3, (uint64_t)1 << 60, 0);
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(try_source("s.gguf", &err), TFM_LIMIT);
    gguf_start(&b, 1, 0, 0);
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(try_source("s.gguf", &err), TFM_UNSUPPORTED);
    gguf_start(&b, 0x03000000, 0, 0);
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(try_source("s.gguf", &err), TFM_UNSUPPORTED); /* the other byte order */
    gguf_start(&b, 3, 0, 1);
    gguf_key(&b, "general.alignment", TFM_GGUF_U32);
    put_u32(&b, 24);
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(try_source("s.gguf", &err), TFM_FORMAT);
    gguf_start(&b, 3, 0, 1);
    gguf_key(&b, "k", TFM_GGUF_ARRAY);
    put_u32(&b, TFM_GGUF_F64);
    put_u64(&b, (uint64_t)1 << 61); /* * 8 overflows */
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(try_source("s.gguf", &err), TFM_TRUNCATED);
    gguf_start(&b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        gguf_key(&b, "k", TFM_GGUF_U32);
        put_u32(&b, 1);
    }
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(try_source("s.gguf", &err), TFM_FORMAT);
    CHECK(strstr(err.message, "twice") != NULL);
}

/* ---- the way back ---- */

static bool same_files(const char *a, const char *c) {
    tfm_error err = {0};
    tfm_buf x = {0}, y = {0};
    bool same = tfm_file_read(&x, a, 1 << 26, &err) == TFM_OK &&
                tfm_file_read(&y, c, 1 << 26, &err) == TFM_OK && x.len == y.len &&
                memcmp(x.data, y.data, x.len) == 0;
    tfm_buf_free(&x);
    tfm_buf_free(&y);
    return same;
}

static void exact(const char *path) {
    tfm_error err = {0};
    tfm_source *s;
    tfm_model *m = NULL;
    if (!CHECK_INT(tfm_source_open(&s, path, &from_share, &err), TFM_OK)) {
        printf("%s: %s\n", path, err.message);
        return;
    }
    CHECK_INT(model_of(&m, s, "", &err), TFM_OK);
    if (m) CHECK_INT(write_gguf(m, "back.gguf", &err), TFM_OK);
    if (!CHECK(same_files(path, in_dir("back.gguf")))) printf("%s is not the same\n", path);
    tfm_model_free(m);
    tfm_source_free(s);
}

static void exact_files(void) {
    static const char *const golden[] = {"gpt2-f32",       "gpt2-q8_0",       "llama-f16",
                                         "llama-blocks32", "llama-blocks256", "llama-tables",
                                         "qwen2-bf16",     "qwen2-q4_0"};
    char path[256];
    for (uint32_t version = 2; version <= 3; version++) {
        small_file(version);
        put_file("s.gguf", b.data, b.len);
        exact(in_dir("s.gguf")); /* without padding behind the last tensor */
        pad_to(&b, 32);
        put_file("s.gguf", b.data, b.len);
        exact(in_dir("s.gguf"));
    }
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        snprintf(path, sizeof path, "tests/golden/gguf/%s.gguf", golden[i]);
        exact(path);
    }
}

static void exact_assets(void) {
    const char *path = unit_asset("vocabs/ggml-vocab-gpt-2.gguf");
    if (!path)
        UNIT_SKIP("needs $TFM_ASSETS/vocabs");
    else
        exact(path);
}

/* A tensor has another type: the metadata stays, but for the file's type. */
static void changed_type(void) {
    static unsigned short half[6];
    tfm_error err = {0};
    tfm_source *s;
    tfm_model *m;
    small_file(3);
    put_file("s.gguf", b.data, b.len);
    CHECK_INT(tfm_source_open(&s, in_dir("s.gguf"), &from_share, &err), TFM_OK);
    tfm_tensor t[3] = {*tfm_source_tensor(s, "m"), *tfm_source_tensor(s, "v"),
                       *tfm_source_blob_at(s, 0)};
    t[0].dtype = TFM_F16;
    t[0].data = half;
    t[0].bytes = sizeof half;
    tfm_model_parts parts = {
        .path = "test",
        .description = "",
        .tensor = t,
        .n_tensors = 3,
        .id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"};
    CHECK_INT(tfm_model_from_parts(&m, &parts, &err), TFM_OK);
    CHECK_INT(write_gguf(m, "back.gguf", &err), TFM_OK);
    tfm_model_free(m);
    tfm_source_free(s);
    if (!CHECK_INT(tfm_source_open(&s, in_dir("back.gguf"), &from_share, &err), TFM_OK)) return;
    CHECK_INT(tfm_source_n_meta(s), 10);
    CHECK_INT(tfm_source_meta(s, "general.file_type")->i, 1);
    CHECK_INT(tfm_source_tensor(s, "m")->dtype, TFM_F16);
    CHECK(((const float *)tfm_source_tensor(s, "v")->data)[1] == 2);
    tfm_source_free(s);
}

/* From elsewhere: the section's values and the vocabulary, which comes back with the same id. */
static void made_up(const char *path) {
    static const char section[] = "gguf:\n"
                                  "  general.architecture: {str: \"llama\"}\n"
                                  "  llama.block_count: {u32: 5}\n"
                                  "  llama.rope.freq_base: {f32: 10000}\n"
                                  "  llama.neg: {i32: -3}\n"
                                  "  llama.flag: {bool: true}\n"
                                  "  llama.list: {u32: [1, 2, 3]}\n";
    tfm_error err = {0};
    tfm_source *s;
    tfm_model *m = NULL;
    tfm_meta item;
    const tfm_vocab_tables *v;
    char id[17];
    if (!CHECK_INT(tfm_source_open(&s, path, &from_share, &err), TFM_OK)) return;
    CHECK_INT(model_of(&m, s, section, &err), TFM_OK);
    if (m && !CHECK_INT(write_gguf(m, "made.gguf", &err), TFM_OK)) puts(err.message);
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
    memcpy(id, v->id, sizeof id);
    tfm_model_free(m);
    tfm_source_free(s);
    if (!CHECK_INT(tfm_source_open(&s, in_dir("made.gguf"), &from_share, &err), TFM_OK)) return;
    CHECK_STR(tfm_source_meta(s, "general.architecture")->s, "llama");
    CHECK_INT(tfm_source_meta(s, "llama.block_count")->i, 5);
    CHECK(tfm_source_meta(s, "llama.rope.freq_base")->f == 10000);
    CHECK_INT(tfm_source_meta(s, "llama.neg")->i, -3);
    CHECK(tfm_source_meta(s, "llama.flag")->is_bool);
    const tfm_meta *list = tfm_source_meta(s, "llama.list");
    CHECK(list && list->n == 3 && tfm_meta_item(list, 2, &item) && item.i == 3);
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
    if (CHECK(v != NULL)) CHECK_STR(v->id, id);
    tfm_source_free(s);
}

static void made_up_files(void) {
    made_up("tests/golden/hf/gpt2");
    made_up("tests/golden/hf/gpt2-bare");
}

static void made_up_assets(void) {
    static const char *const names[] = {
        "stories260K/stories260K.bin", "tokenizers/llama3/tokenizer.json",
        "tokenizers/qwen3/tokenizer.json", "llama2-tokenizer/tokenizer.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = unit_asset(names[i]);
        if (path)
            made_up(path);
        else
            UNIT_SKIP("needs $TFM_ASSETS");
    }
}

static void wrong_sections(void) {
    static const char *const bad[] = {"gguf:\n  a: {u32: -1}\n",
                                      "gguf:\n  a: {u32: 4294967296}\n",
                                      "gguf:\n  a: {u33: 1}\n",
                                      "gguf:\n  a: 1\n",
                                      "gguf:\n  a: {bool: yes}\n",
                                      "gguf:\n  a: {u32: [[1]]}\n",
                                      "gguf:\n  a: {u32: {b: 1}}\n",
                                      "gguf:\n  - a\n",
                                      "gguf:\n  a: {f32: nan}\n",
                                      "gguf:\n  a: {u32: 1\n",
                                      "x: 1\n"};
    tfm_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tfm_source *s;
        tfm_model *m = NULL;
        CHECK_INT(tfm_source_open(&s, "tests/golden/hf/gpt2", &from_share, &err), TFM_OK);
        CHECK_INT(model_of(&m, s, bad[i], &err), TFM_OK);
        if (m && !CHECK(write_gguf(m, "made.gguf", &err) != TFM_OK)) puts(bad[i]);
        tfm_model_free(m);
        tfm_source_free(s);
    }
}

int main(void) {
    make_dir("gguf");
    UNIT_RUN(reads_values);
    UNIT_RUN(digest_without_weights);
    UNIT_RUN(survives_damage);
    UNIT_RUN(refuses_lies);
    UNIT_RUN(exact_files);
    UNIT_RUN(exact_assets);
    UNIT_RUN(changed_type);
    UNIT_RUN(made_up_files);
    UNIT_RUN(made_up_assets);
    UNIT_RUN(wrong_sections);
    remove_file("s.gguf");
    remove_file("back.gguf");
    remove_file("made.gguf");
    rmdir(dir);
    tfm_buf_free(&b);
    return unit_done();
}
