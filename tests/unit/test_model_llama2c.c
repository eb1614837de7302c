/* test_model_llama2c.c - llama2.c checkpoints of both headers, and the tokenizer beside them. */
#include "model_files.h"

/* dim 8, hidden 12, 2 layers, 4 heads, 2 kv heads, vocabulary 5, context 6; every float is its
 * index in the file, so that each view can be told apart. */
enum { DIM = 8, HIDDEN = 12, LAYERS = 2, HEADS = 4, KV_DIM = 4, VOCAB = 5, SEQ = 6 };
enum {
    ATTENTION = 2 * (DIM * DIM + KV_DIM * DIM),
    FFN = 3 * HIDDEN * DIM,
    COMMON = VOCAB * DIM + LAYERS * (2 * DIM + ATTENTION + FFN) + DIM
};

static void put_numbers(tfm_buf *b, int32_t vocab) {
    const int32_t v[7] = {DIM, HIDDEN, LAYERS, HEADS, 2, vocab, SEQ};
    for (int i = 0; i < 7; i++) put_u32(b, (uint32_t)v[i]);
}

static void put_floats(tfm_buf *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float f = (float)i;
        put_bytes(b, &f, sizeof f);
    }
}

static size_t put_v0(bool own_classifier, int more) {
    tfm_buf b = {0};
    put_numbers(&b, own_classifier ? -VOCAB : VOCAB);
    put_floats(&b,
               (size_t)(COMMON + SEQ * DIM / HEADS + (own_classifier ? VOCAB * DIM : 0) + more));
    put_file("m.bin", b.data, b.len);
    size_t n = b.len;
    tfm_buf_free(&b);
    return n;
}

static void put_v1(uint32_t version, unsigned char shared, int more) {
    tfm_buf b = {0};
    put_bytes(&b, "24ka", 4);
    put_u32(&b, version);
    put_numbers(&b, VOCAB);
    put_bytes(&b, &shared, 1);
    pad_to(&b, 256);
    put_floats(&b, (size_t)(COMMON + (shared ? 0 : VOCAB * DIM) + more));
    put_file("m.bin", b.data, b.len);
    tfm_buf_free(&b);
}

static void put_tokenizer(const char *name, uint32_t n) {
    static const char *const pieces[] = {"<unk>", "\n<s>\n", "\n</s>\n", "<0x00>", " a", "b", "c"};
    tfm_buf b = {0};
    put_u32(&b, 9);
    for (uint32_t i = 0; i < n; i++) {
        put_u32(&b, 0x3f800000);
        put_u32(&b, (uint32_t)strlen(pieces[i]));
        put_bytes(&b, pieces[i], strlen(pieces[i]));
    }
    put_file(name, b.data, b.len);
    tfm_buf_free(&b);
}

static float first(const tfm_source *s, const char *name) {
    const tfm_tensor *t = tfm_source_tensor(s, name);
    float f = -1;
    if (CHECK(t != NULL)) memcpy(&f, t->data, sizeof f);
    return f;
}

static void version_0(void) {
    tfm_error err = {0};
    tfm_source *s;
    put_v0(true, 0);
    if (!CHECK_INT(tfm_source_open(&s, in_dir("m.bin"), NULL, &err), TFM_OK)) return;
    CHECK_STR(tfm_source_format_name(tfm_source_get_format(s)), "llama2c");
    CHECK_INT(tfm_source_meta(s, "version")->i, 0);
    CHECK_INT(tfm_source_meta(s, "vocab_size")->i, VOCAB);
    CHECK_INT(tfm_source_meta(s, "shared_classifier")->i, 0);
    CHECK_INT(tfm_source_n_tensors(s), 3 + LAYERS * 9);
    size_t at = 0;
    CHECK(first(s, "token_embedding_table") == 0);
    at += VOCAB * DIM;
    CHECK(first(s, "rms_att_weight.1") == (float)(at + DIM));
    at += LAYERS * DIM;
    CHECK(first(s, "wq.1") == (float)(at + DIM * DIM));
    at += LAYERS * DIM * DIM;
    CHECK(first(s, "wk.0") == (float)at);
    CHECK(first(s, "wv.1") == (float)(at + 3 * KV_DIM * DIM));
    CHECK_INT(tfm_source_tensor(s, "wk.0")->dims[0], KV_DIM);
    CHECK_INT(tfm_source_tensor(s, "wk.0")->dims[1], DIM);
    CHECK_INT(tfm_source_tensor(s, "w1.0")->dims[0], HIDDEN);
    CHECK_INT(tfm_source_tensor(s, "w2.0")->dims[0], DIM);
    CHECK(first(s, "rms_final_weight") == (float)(COMMON - DIM));
    CHECK(first(s, "wcls") == (float)(COMMON + SEQ * DIM / HEADS)); /* freq_cis lies between */
    tfm_source_free(s);
    put_v0(false, 0);
    CHECK_INT(tfm_source_open(&s, in_dir("m.bin"), NULL, &err), TFM_OK);
    CHECK_INT(tfm_source_meta(s, "shared_classifier")->i, 1);
    CHECK(tfm_source_tensor(s, "wcls") == NULL);
    tfm_source_free(s);
}

static void version_1(void) {
    tfm_error err = {0};
    tfm_source *s;
    put_v1(1, 0, 0);
    if (!CHECK_INT(tfm_source_open(&s, in_dir("m.bin"), NULL, &err), TFM_OK)) return;
    CHECK_INT(tfm_source_meta(s, "version")->i, 1);
    CHECK(first(s, "rms_att_weight.0") == 0);
    CHECK(first(s, "rms_ffn_weight.0") == LAYERS * DIM);
    CHECK(first(s, "rms_final_weight") == 2 * LAYERS * DIM);
    CHECK(first(s, "token_embedding_table") == 2 * LAYERS * DIM + DIM);
    CHECK(first(s, "wcls") == (float)COMMON);
    tfm_source_free(s);
    put_v1(1, 1, 0);
    CHECK_INT(try_source("m.bin", &err), TFM_OK);
    put_v1(1, 1, 1);
    CHECK_INT(try_source("m.bin", &err), TFM_FORMAT);
    put_v1(1, 1, -1);
    CHECK_INT(try_source("m.bin", &err), TFM_TRUNCATED);
    put_v1(2, 1, 0);
    CHECK_INT(try_source("m.bin", &err), TFM_UNSUPPORTED); /* int8 groups */
    put_v1(1, 7, 0);
    CHECK_INT(try_source("m.bin", &err), TFM_FORMAT);
}

/* Version 0 has no magic: any other size is no checkpoint at all. */
static void sizes_are_exact(void) {
    tfm_error err = {0};
    tfm_buf b = {0};
    put_v0(false, 1);
    CHECK_INT(try_source("m.bin", &err), TFM_FORMAT);
    put_v0(false, -1);
    CHECK_INT(try_source("m.bin", &err), TFM_FORMAT);
    put_v0(false, 0);
    CHECK_INT(tfm_file_read(&b, in_dir("m.bin"), 1 << 20, &err), TFM_OK);
    for (size_t i = 0; i < 28; i++)
        for (int bit = 0; bit < 8; bit++) {
            b.data[i] = (char)(b.data[i] ^ 1 << bit);
            put_file("m.bin", b.data, b.len);
            CHECK(try_source("m.bin", &err) != TFM_OK);
            b.data[i] = (char)(b.data[i] ^ 1 << bit);
        }
    put_file("m.bin", "", 0);
    CHECK_INT(try_source("m.bin", &err), TFM_TRUNCATED);
    tfm_buf_free(&b);
}

static void finds_the_tokenizer(void) {
    tfm_error err = {0};
    tfm_source *s;
    const tfm_vocab_tables *v;
    put_v0(false, 0);
    CHECK_INT(tfm_source_open(&s, in_dir("m.bin"), NULL, &err), TFM_OK);
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
    CHECK(v == NULL);
    tfm_source_free(s);
    CHECK(rename(in_dir("m.bin"), in_dir("tokm.bin")) == 0); /* not its own tokenizer */
    CHECK_INT(try_source("tokm.bin", &err), TFM_OK);
    CHECK(rename(in_dir("tokm.bin"), in_dir("m.bin")) == 0);
    put_tokenizer("tok5.bin", 5); /* the only tok*.bin */
    CHECK_INT(tfm_source_open(&s, in_dir("m.bin"), NULL, &err), TFM_OK);
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
    if (CHECK(v != NULL)) {
        CHECK(strstr(v->settings, "\nsize: 5\n") != NULL);
        CHECK(strstr(v->settings, "\nbos: 1\n") != NULL);
        for (size_t i = 0; i < v->n_tensors; i++) {
            const unsigned char *p = v->tensor[i].data;
            if (strcmp(v->tensor[i].name, "vocab.flags") == 0) {
                CHECK_INT(p[1], TFM_TOKEN_CONTROL | TFM_TOKEN_EOG); /* BOS ends a text, too */
                CHECK_INT(p[3], TFM_TOKEN_BYTE);
            }
            if (strcmp(v->tensor[i].name, "vocab.pieces") == 0) /* " a" was U+2581 a */
                CHECK(memmem(p, (size_t)v->tensor[i].bytes,
                             "\xe2\x96\x81"
                             "a",
                             4) != NULL);
        }
    }
    tfm_source_free(s);
    put_tokenizer("tok6.bin", 5);
    CHECK_INT(try_source("m.bin", &err), TFM_NOTFOUND); /* which one? */
    put_tokenizer("tokenizer.bin", 6);
    CHECK_INT(try_source("m.bin", &err), TFM_MISMATCH); /* six pieces, a vocabulary of five */
    const tfm_source_options o = {.tokenizer_path = in_dir("tok6.bin")};
    CHECK_INT(tfm_source_open(&s, in_dir("m.bin"), &o, &err), TFM_OK);
    CHECK_INT(tfm_source_vocab(s, &v, &err), TFM_OK);
    tfm_source_free(s);
    CHECK_INT(try_source("tok5.bin", &err), TFM_OK); /* a vocabulary alone */
    remove_file("tok5.bin");
    remove_file("tok6.bin");
    remove_file("tokenizer.bin");
}

static void damaged_tokenizers(void) {
    tfm_error err = {0};
    tfm_buf b = {0};
    put_tokenizer("t.bin", 5);
    CHECK_INT(tfm_file_read(&b, in_dir("t.bin"), 1 << 20, &err), TFM_OK);
    size_t good = 0;
    for (size_t n = 0; n < b.len; n++) {
        put_file("t.bin", b.data, n);
        good += try_source("t.bin", &err) == TFM_OK;
    }
    CHECK_INT(good, 2); /* after three and after four pieces: the format has no count */
    tfm_store_u32(b.data + 8, UINT32_MAX);
    put_file("t.bin", b.data, b.len);
    CHECK(try_source("t.bin", &err) != TFM_OK);
    remove_file("t.bin");
    tfm_buf_free(&b);
}

/* Both headers of the same real checkpoint hold the same tensors. */
static void real_checkpoints(void) {
    tfm_error err = {0};
    tfm_source *a, *b;
    const char *path = unit_asset("stories260K/stories260K.bin");
    if (!path) {
        UNIT_SKIP("needs $TFM_ASSETS/stories260K");
        return;
    }
    CHECK_INT(tfm_source_open(&a, path, NULL, &err), TFM_OK);
    CHECK_INT(tfm_source_open(&b, unit_asset("stories260K/stories260K_v1.bin"), NULL, &err),
              TFM_OK);
    CHECK_INT(tfm_source_n_tensors(a), 47);
    CHECK_INT(tfm_source_n_tensors(b), 47);
    for (size_t i = 0; i < tfm_source_n_tensors(a); i++) {
        const tfm_tensor *x = tfm_source_tensor_at(a, i), *y = tfm_source_tensor(b, x->name);
        CHECK(y && x->bytes == y->bytes && memcmp(x->data, y->data, (size_t)x->bytes) == 0);
    }
    tfm_source_free(a);
    tfm_source_free(b);
}

int main(void) {
    make_dir("llama2c");
    UNIT_RUN(version_0);
    UNIT_RUN(version_1);
    UNIT_RUN(sizes_are_exact);
    UNIT_RUN(finds_the_tokenizer);
    UNIT_RUN(damaged_tokenizers);
    UNIT_RUN(real_checkpoints);
    remove_file("m.bin");
    CHECK(rmdir(dir) == 0);
    return unit_done();
}
