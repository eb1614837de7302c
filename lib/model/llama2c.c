/* llama2c.c - reads llama2.c checkpoints: the version 0 and version 1 headers.
 *
 *   version 0: i32 dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len (28 bytes);
 *              vocab_size < 0 says that the classifier has its own weights. Then f32 arrays:
 *              token_embedding_table; per layer kinds rms_att wq wk wv wo rms_ffn w1 w2 w3, each
 *              for all layers; rms_final; freq_cis_real, freq_cis_imag; wcls if its own.
 *   version 1: "ak42", i32 1, the seven numbers (vocab_size positive), u8 shared classifier, zeros
 *              to 256 bytes. Then rms_att, rms_ffn (all layers), rms_final, token_embedding_table,
 *              wq wk wv wo w1 w2 w3, wcls if its own.
 *
 * A file is one of these only if its size is exactly what its header asks for: version 0 has no
 * magic, so the size is also how it is recognised. The freq_cis arrays are skipped: they are a
 * function of position and head size. Every tensor of a layer is a view: rms_att_weight.0, wq.0. */
#include <stdio.h>
#include <string.h>

#include "model/source_internal.h"

enum { V0_HEADER = 28, V1_HEADER = 256, MAX_LAYERS = 1024, MAX_DIM = 1 << 20, MAX_VOCAB = 1 << 22 };

typedef struct llama2c {
    uint32_t version;
    uint32_t dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
    bool shared_classifier;
} llama2c;

/* One array of the file. layers: it holds one [rows, cols] for each layer. */
typedef struct part {
    const char *name; /* NULL: skipped */
    bool layers;
    uint32_t rows, cols; /* cols 0: rank 1 */
} part;

enum { MAX_PARTS = 16 };

static bool in_range(int64_t v, int64_t hi) {
    return v >= 1 && v <= hi;
}

static bool parse_header(llama2c *h, const unsigned char *p, uint64_t n) {
    int64_t v[7];
    if (n < V0_HEADER) return false;
    h->version = n >= V1_HEADER && memcmp(p, "24ka", 4) == 0 ? tfm_load_u32(p + 4) : 0;
    if (h->version > 1) return false;
    const unsigned char *at = h->version == 1 ? p + 8 : p;
    for (int i = 0; i < 7; i++) v[i] = (int32_t)tfm_load_u32(at + 4 * i);
    h->shared_classifier = h->version == 1 ? at[28] != 0 : v[5] > 0;
    if (h->version == 1 && at[28] > 1) return false;
    if (h->version == 0 && v[5] < 0) v[5] = -v[5];
    if (!in_range(v[0], MAX_DIM) || !in_range(v[1], MAX_DIM) || !in_range(v[2], MAX_LAYERS) ||
        !in_range(v[3], v[0]) || !in_range(v[4], v[3]) || !in_range(v[5], MAX_VOCAB) ||
        !in_range(v[6], MAX_DIM) || v[0] % v[3] != 0 || v[3] % v[4] != 0)
        return false;
    h->dim = (uint32_t)v[0];
    h->hidden_dim = (uint32_t)v[1];
    h->n_layers = (uint32_t)v[2];
    h->n_heads = (uint32_t)v[3];
    h->n_kv_heads = (uint32_t)v[4];
    h->vocab_size = (uint32_t)v[5];
    h->seq_len = (uint32_t)v[6];
    return true;
}

/* The arrays in file order; returns how many. */
static size_t list_parts(const llama2c *h, part out[MAX_PARTS]) {
    const uint32_t d = h->dim, kv = d / h->n_heads * h->n_kv_heads, f = h->hidden_dim;
    const uint32_t angles = d / h->n_heads / 2;
    const part embedding = {"token_embedding_table", false, h->vocab_size, d};
    const part rms_att = {"rms_att_weight", true, d, 0}, rms_ffn = {"rms_ffn_weight", true, d, 0};
    const part rms_final = {"rms_final_weight", false, d, 0};
    const part attention[] = {
        {"wq", true, d, d}, {"wk", true, kv, d}, {"wv", true, kv, d}, {"wo", true, d, d}};
    const part ffn[] = {{"w1", true, f, d}, {"w2", true, d, f}, {"w3", true, f, d}};
    const part freq = {NULL, false, h->seq_len, angles};
    const part wcls = {"wcls", false, h->vocab_size, d};
    size_t n = 0;
    if (h->version == 0) {
        out[n++] = embedding;
        out[n++] = rms_att;
    } else {
        out[n++] = rms_att;
        out[n++] = rms_ffn;
        out[n++] = rms_final;
        out[n++] = embedding;
    }
    for (size_t i = 0; i < 4; i++) out[n++] = attention[i];
    if (h->version == 0) out[n++] = rms_ffn;
    for (size_t i = 0; i < 3; i++) out[n++] = ffn[i];
    if (h->version == 0) {
        out[n++] = rms_final;
        if (angles > 0) out[n++] = freq;
        if (angles > 0) out[n++] = freq;
    }
    if (!h->shared_classifier) out[n++] = wcls;
    return n;
}

/* Numbers are bounded (2^22 * 2^20 * 2^10 * 4 bytes), so nothing here can overflow 64 bits. */
static uint64_t one_bytes(const part *p) {
    return 4 * (uint64_t)p->rows * (p->cols ? p->cols : 1);
}

static uint64_t file_bytes(const llama2c *h) {
    part parts[MAX_PARTS];
    size_t n = list_parts(h, parts);
    uint64_t total = h->version == 1 ? V1_HEADER : V0_HEADER;
    for (size_t i = 0; i < n; i++)
        total += one_bytes(&parts[i]) * (parts[i].layers ? h->n_layers : 1);
    return total;
}

bool tfm_llama2c_matches(const unsigned char *p, uint64_t n) {
    llama2c h;
    if (n >= V1_HEADER && memcmp(p, "24ka", 4) == 0) return true; /* reading says what is wrong */
    return parse_header(&h, p, n) && file_bytes(&h) == n;
}

static tfm_status add_number(tfm_source *s, const char *key, int64_t v, bool is_bool,
                             tfm_error *err) {
    tfm_meta m = {.key = key, .type = TFM_META_INT, .is_bool = is_bool, .i = v, .f = (double)v};
    return tfm_source_add_meta(s, &m, err);
}

static tfm_status add_numbers(tfm_source *s, const llama2c *h, tfm_error *err) {
    TFM_TRY(add_number(s, "version", h->version, false, err));
    TFM_TRY(add_number(s, "dim", h->dim, false, err));
    TFM_TRY(add_number(s, "hidden_dim", h->hidden_dim, false, err));
    TFM_TRY(add_number(s, "n_layers", h->n_layers, false, err));
    TFM_TRY(add_number(s, "n_heads", h->n_heads, false, err));
    TFM_TRY(add_number(s, "n_kv_heads", h->n_kv_heads, false, err));
    TFM_TRY(add_number(s, "vocab_size", h->vocab_size, false, err));
    TFM_TRY(add_number(s, "seq_len", h->seq_len, false, err));
    return add_number(s, "shared_classifier", h->shared_classifier, true, err);
}

static tfm_status add_part(tfm_source *s, const part *p, uint32_t layer, const unsigned char *data,
                           tfm_error *err) {
    char name[64];
    tfm_tensor t = {.dtype = TFM_F32, .rank = p->cols ? 2 : 1, .data = data};
    int n = p->layers ? snprintf(name, sizeof name, "%s.%u", p->name, layer)
                      : snprintf(name, sizeof name, "%s", p->name);
    t.dims[0] = p->rows;
    t.dims[1] = p->cols ? p->cols : 1;
    t.dims[2] = t.dims[3] = 1;
    t.bytes = one_bytes(p);
    TFM_TRY(tfm_arena_strndup(s->arena, &t.name, name, (size_t)n, err));
    return tfm_source_add_tensor(s, &t, err);
}

tfm_status tfm_llama2c_read(tfm_source *s, tfm_error *err) {
    const tfm_map *map = &s->file[0].map;
    const unsigned char *at = map->data;
    part parts[MAX_PARTS];
    llama2c h;
    if (memcmp(at, "24ka", 4) == 0 && tfm_load_u32(at + 4) != 1)
        return tfm_fail(err, TFM_UNSUPPORTED, "llama2.c checkpoint version %u; 0 and 1 can be read",
                        tfm_load_u32(at + 4));
    if (!parse_header(&h, at, map->size))
        return tfm_fail(err, TFM_FORMAT, "the numbers of the llama2.c header make no model");
    uint64_t want = file_bytes(&h);
    if (want != map->size)
        return tfm_fail(err, want > map->size ? TFM_TRUNCATED : TFM_FORMAT,
                        "the file has %zu bytes, its llama2.c header asks for %llu", map->size,
                        (unsigned long long)want);
    s->file[0].head = h.version == 1 ? V1_HEADER : V0_HEADER;
    TFM_TRY(add_numbers(s, &h, err));
    at += s->file[0].head;
    size_t n = list_parts(&h, parts);
    for (size_t i = 0; i < n; i++) {
        uint32_t copies = parts[i].layers ? h.n_layers : 1;
        for (uint32_t layer = 0; layer < copies; layer++, at += one_bytes(&parts[i]))
            if (parts[i].name) TFM_TRY(add_part(s, &parts[i], layer, at, err));
    }
    return TFM_OK;
}
