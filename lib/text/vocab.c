/* vocab.c - an opened vocabulary: tables used in place, and the questions asked of them.
 *
 * Opening checks shapes and sizes, nothing per piece: that keeps it O(1) for a mapped model of any
 * vocabulary. What a piece or slot says is checked when it is read. The tensors (all u8 or i32/f32,
 * little-endian):
 *
 *     vocab.pieces            u8  [bytes]       all pieces, one after another
 *     vocab.offsets           i32 [n + 1]       where each begins (unsigned)
 *     vocab.flags             u8  [n]           TFM_TOKEN_*
 *     vocab.scores            f32 [n]           SentencePiece, unigram
 *     vocab.hash              i32 [2^k, 2]      piece -> id: id + 1 (0: empty), upper hash half
 *     vocab.merges            i32 [2^k, 4]      BPE: left, right, rank + 1 (0: empty), merged id
 *     vocab.trie              i32 [2^k, 4]      unigram, WordPiece: node, byte + 1 (0:
 *                                               empty), child, id + 1
 *     vocab.wide              i32 [n, 2]        unigram: scores as f64 (left out: f32 is meant),
 *                                               NaN: the model does not have the piece
 *     vocab.map               i32 [m]           unigram: from the m pieces of the model, which trie
 *                                               and scores number, to ids (left out: they are ids)
 *     vocab.charsmap          u8  [bytes]       normaliser or step charsmap (left out: nothing
 *                                               changes)
 *     vocab.bytes             i32 [256]         the id that spells a byte, -1: none
 *     vocab.special           i32 [s]           ids of added and control tokens, sorted by text
 *     vocab.special_offsets   i32 [s + 1]
 *     vocab.special_text      u8  [bytes]       what is matched in the text
 *     vocab.special_matching  u8  [s]           TFM_MATCH_* of each; with the setting Matching
 *
 * Hash tables: linear probing from (hash & mask), at most TFM_PROBE_MAX probes. An empty tensor
 * (special tokens of a vocabulary without any) is left out. */
#include "text/text_internal.h"

typedef struct source {
    tfm_tensor_lookup lookup;
    void *ctx;
} source;

/* Fetches a tensor and checks type, size and alignment. want_rows 0: any number.
 * *rows = number of rows of `width` elements. */
static tfm_status fetch(const source *s, const char *name, tfm_dtype type, uint64_t width,
                        uint64_t want_rows, const void **data, uint64_t *rows, tfm_error *err) {
    tfm_tensor t;
    uint64_t count, bytes;
    memset(&t, 0, sizeof t);
    if (!s->lookup(s->ctx, name, &t))
        return tfm_fail(err, TFM_FORMAT, "vocabulary: tensor %s is missing", name);
    if (t.dtype != type || t.rank < 1 || t.rank > TFM_MAX_RANK)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: tensor %s is not %s", name,
                        tfm_dtype_name(type));
    if (!tfm_dims_count(t.rank, t.dims, &count) || !tfm_dtype_bytes(type, count, &bytes) ||
        bytes != t.bytes || count % width != 0 || (want_rows != 0 && count / width != want_rows))
        return tfm_fail(err, TFM_FORMAT, "vocabulary: tensor %s has a wrong size", name);
    if (type != TFM_U8 && ((uintptr_t)t.data & 3) != 0)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: tensor %s is not aligned", name);
    if (t.data == NULL && bytes != 0)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: tensor %s has no data", name);
    *data = t.data;
    if (rows) *rows = count / width;
    return TFM_OK;
}

static tfm_status fetch_hash(const source *s, const char *name, uint64_t width, const void **data,
                             uint32_t *mask, tfm_error *err) {
    uint64_t rows;
    TFM_TRY(fetch(s, name, TFM_I32, width, 0, data, &rows, err));
    if (rows == 0 || rows > 1u << 30 || (rows & (rows - 1)) != 0)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: tensor %s is no power of two long", name);
    *mask = (uint32_t)(rows - 1);
    return TFM_OK;
}

static tfm_status fetch_special(tfm_vocab *v, const source *s, tfm_error *err) {
    uint64_t n;
    const void *p;
    tfm_tensor t;
    if (!s->lookup(s->ctx, "vocab.special", &t)) return TFM_OK;
    TFM_TRY(fetch(s, "vocab.special", TFM_I32, 1, 0, &p, &n, err));
    if (n > v->set.n) return tfm_fail(err, TFM_FORMAT, "vocabulary: too many special tokens");
    v->special_ids = p;
    TFM_TRY(fetch(s, "vocab.special_offsets", TFM_I32, 1, n + 1, &p, NULL, err));
    v->special_offsets = p;
    TFM_TRY(fetch(s, "vocab.special_text", TFM_U8, 1, 0, &p, &v->special_len, err));
    v->special_text = p;
    if (v->set.matching) {
        TFM_TRY(fetch(s, "vocab.special_matching", TFM_U8, 1, n, &p, NULL, err));
        v->special_matching = n > 0 ? p : NULL;
    }
    v->n_special = (uint32_t)n;
    return TFM_OK;
}

static tfm_status fetch_trie(tfm_vocab *v, const source *s, tfm_error *err) {
    const void *p;
    tfm_tensor t;
    TFM_TRY(fetch_hash(s, "vocab.trie", 4, &p, &v->trie_mask, err));
    v->trie = p;
    v->n_leaves = v->set.n;
    if (v->set.type != TFM_VOCAB_UNIGRAM) return TFM_OK;
    if (v->set.n_source > 0) {
        TFM_TRY(fetch(s, "vocab.map", TFM_I32, 1, v->set.n_source, &p, NULL, err));
        v->map = p;
        v->n_leaves = v->set.n_source;
        return TFM_OK;
    }
    if (!s->lookup(s->ctx, "vocab.wide", &t)) return TFM_OK;
    TFM_TRY(fetch(s, "vocab.wide", TFM_I32, 2, v->set.n, &p, NULL, err));
    v->wide = p;
    return TFM_OK;
}

static tfm_status fetch_charsmap(tfm_vocab *v, const source *s, tfm_error *err) {
    const void *p;
    uint64_t n;
    tfm_tensor t;
    if ((v->set.norm != TFM_NORM_CHARSMAP && v->set.norm != TFM_NORM_STEPS) ||
        !s->lookup(s->ctx, "vocab.charsmap", &t))
        return TFM_OK;
    TFM_TRY(fetch(s, "vocab.charsmap", TFM_U8, 1, 0, &p, &n, err));
    if (tfm_charsmap_open(&v->charsmap, p, n)) return TFM_OK;
    return tfm_fail(err, TFM_FORMAT, "vocabulary: vocab.charsmap is no table of replacements");
}

static tfm_status fetch_all(tfm_vocab *v, const source *s, tfm_error *err) {
    const void *p;
    uint32_t n = v->set.n;
    TFM_TRY(fetch(s, "vocab.pieces", TFM_U8, 1, 0, &p, &v->pieces_len, err));
    v->pieces = p;
    TFM_TRY(fetch(s, "vocab.offsets", TFM_I32, 1, (uint64_t)n + 1, &p, NULL, err));
    v->offsets = p;
    TFM_TRY(fetch(s, "vocab.flags", TFM_U8, 1, n, &p, NULL, err));
    v->flags = p;
    TFM_TRY(fetch_hash(s, "vocab.hash", 2, &p, &v->hash_mask, err));
    v->hash = p;
    TFM_TRY(fetch(s, "vocab.bytes", TFM_I32, 1, 256, &p, NULL, err));
    v->bytes = p;
    if (v->set.type == TFM_VOCAB_UNIGRAM || v->set.type == TFM_VOCAB_WORDPIECE)
        TFM_TRY(fetch_trie(v, s, err));
    TFM_TRY(fetch_charsmap(v, s, err));
    if (v->set.type == TFM_VOCAB_SPM || v->set.type == TFM_VOCAB_UNIGRAM) {
        TFM_TRY(fetch(s, "vocab.scores", TFM_F32, 1, v->map ? v->n_leaves : n, &p, NULL, err));
        v->scores = p;
    }
    if (v->set.type == TFM_VOCAB_BPE) {
        TFM_TRY(fetch_hash(s, "vocab.merges", 4, &p, &v->merge_mask, err));
        v->merges = p;
    }
    return fetch_special(v, s, err);
}

tfm_status tfm_vocab_open(tfm_vocab **out, const char *settings, size_t settings_len,
                          tfm_tensor_lookup lookup, void *ctx, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_vocab), err));
    tfm_vocab *v = p;
    source s = {lookup, ctx};
    tfm_status st = tfm_vocab_settings_read(&v->set, settings, settings_len, err);
    if (st == TFM_OK) st = fetch_all(v, &s, err);
    if (st != TFM_OK) {
        tfm_vocab_free(v);
        return st;
    }
    *out = v;
    return TFM_OK;
}

/* The tables of raw-bytes, in one block. */
typedef struct raw_tables {
    unsigned char pieces[256];
    uint8_t flags[256];
    uint32_t offsets[257];
    int32_t bytes[256];
} raw_tables;

tfm_status tfm_vocab_raw_bytes(tfm_vocab **out, tfm_error *err) {
    void *p, *q;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_vocab), err));
    tfm_vocab *v = p;
    tfm_status st = tfm_alloc(&q, 1, sizeof(raw_tables), err);
    if (st != TFM_OK) {
        tfm_free(v);
        return st;
    }
    raw_tables *t = q;
    for (unsigned i = 0; i < 256; i++) {
        t->pieces[i] = (unsigned char)i;
        t->bytes[i] = (int32_t)i;
        t->offsets[i + 1] = i + 1;
    }
    v->owned = t;
    v->set.type = TFM_VOCAB_BYTES;
    v->set.n = 256;
    v->set.max_piece = 1;
    v->set.bos = v->set.eos = v->set.unk = v->set.pad = -1;
    strcpy(v->set.id, "raw-bytes");
    v->pieces = t->pieces;
    v->pieces_len = 256;
    v->offsets = t->offsets;
    v->flags = t->flags;
    v->bytes = t->bytes;
    *out = v;
    return TFM_OK;
}

void tfm_vocab_free(tfm_vocab *v) {
    if (v == NULL) return;
    tfm_vocab_settings_clear(&v->set);
    tfm_free(v->owned);
    tfm_free(v);
}

uint32_t tfm_vocab_size(const tfm_vocab *v) {
    return v->set.n;
}
const char *tfm_vocab_id(const tfm_vocab *v) {
    return v->set.id;
}
tfm_vocab_type tfm_vocab_kind(const tfm_vocab *v) {
    return v->set.type;
}
int32_t tfm_vocab_bos(const tfm_vocab *v) {
    return v->set.bos;
}
int32_t tfm_vocab_eos(const tfm_vocab *v) {
    return v->set.eos;
}
int32_t tfm_vocab_unk(const tfm_vocab *v) {
    return v->set.unk;
}
int32_t tfm_vocab_pad(const tfm_vocab *v) {
    return v->set.pad;
}

unsigned tfm_vocab_flags(const tfm_vocab *v, uint32_t id) {
    return id < v->set.n ? v->flags[id] : 0;
}

const char *tfm_vocab_piece(const tfm_vocab *v, uint32_t id, size_t *len) {
    if (id >= v->set.n) {
        *len = 0;
        return "";
    }
    return (const char *)tfm_vocab_bytes(v, id, len);
}

float tfm_vocab_score(const tfm_vocab *v, uint32_t id) {
    return id < v->set.n && v->scores && !v->map ? v->scores[id] : 0.0f;
}

int32_t tfm_vocab_lookup(const tfm_vocab *v, const unsigned char *p, size_t n) {
    if (v->hash == NULL) return n == 1 ? tfm_vocab_byte(v, p[0]) : -1;
    if (n > v->set.max_piece) return -1;
    uint64_t h = tfm_hash_bytes(p, n);
    uint32_t tag = (uint32_t)(h >> 32), at = (uint32_t)h & v->hash_mask;
    for (int probe = 0; probe < TFM_PROBE_MAX; probe++, at = (at + 1) & v->hash_mask) {
        tfm_piece_slot slot = v->hash[at];
        if (slot.id1 == 0) return -1;
        if (slot.tag != tag || slot.id1 > v->set.n) continue;
        size_t len;
        const unsigned char *piece = tfm_vocab_bytes(v, slot.id1 - 1, &len);
        if (len == n && memcmp(piece, p, n) == 0) return (int32_t)(slot.id1 - 1);
    }
    return -1;
}

int32_t tfm_vocab_lookup_text(const tfm_vocab *v, const unsigned char *p, size_t n) {
    int32_t id = tfm_vocab_lookup(v, p, n);
    const unsigned none = TFM_TOKEN_CONTROL | TFM_TOKEN_BYTE | TFM_TOKEN_UNKNOWN | TFM_TOKEN_UNUSED;
    return id >= 0 && (v->flags[id] & none) != 0 ? -1 : id;
}

int32_t tfm_vocab_find(const tfm_vocab *v, const char *piece, size_t len) {
    return tfm_vocab_lookup(v, (const unsigned char *)piece, len);
}

int32_t tfm_vocab_merge(const tfm_vocab *v, int32_t left, int32_t right, uint32_t *rank) {
    if (v->merges == NULL || left < 0 || right < 0) return -1;
    uint32_t at = (uint32_t)tfm_hash_pair(left, right) & v->merge_mask;
    for (int probe = 0; probe < TFM_PROBE_MAX; probe++, at = (at + 1) & v->merge_mask) {
        const tfm_merge_slot *slot = &v->merges[at];
        if (slot->rank1 == 0) return -1;
        if (slot->left != left || slot->right != right) continue;
        if (slot->id < 0 || (uint32_t)slot->id >= v->set.n) return -1;
        *rank = slot->rank1 - 1;
        return slot->id;
    }
    return -1;
}
