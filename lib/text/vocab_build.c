/* vocab_build.c - computes the tables of a vocabulary from what a foreign file says (vocab.c lists
 * them). Runs at conversion, or when a GGUF is opened directly; never for a model.bin.
 *
 * The same source gives the same bytes, and so the same id, on every machine: tables are filled in
 * id and rank order, and nothing depends on addresses. */
#include <stdlib.h>

#include "text/text_internal.h"

enum { MERGES_MAX = 1 << 26, TABLES_MAX = 15 };

typedef struct build {
    const tfm_vocab_source *src;
    tfm_vocab_settings set;
    tfm_vocab v; /* views of the tables below, so that look-ups work as soon as they can */
    tfm_tensor tensor[TABLES_MAX];
    void *data[TABLES_MAX];
    size_t n_tables;
    tfm_vocab_tables out;
} build;

/* One zeroed table of rows x width elements; width 1 makes it rank 1. */
static tfm_status add_table(build *b, const char *name, tfm_dtype type, uint64_t rows,
                            uint32_t width, void **data, tfm_error *err) {
    uint64_t bytes;
    if (rows > UINT32_MAX || !tfm_dtype_bytes(type, rows * width, &bytes) || bytes > SIZE_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: table %s is too large", name);
    TFM_TRY(tfm_alloc(data, (size_t)bytes, 1, err));
    tfm_tensor *t = &b->tensor[b->n_tables];
    b->data[b->n_tables++] = *data;
    *t = (tfm_tensor){.name = name,
                      .dtype = type,
                      .layout = TFM_LAYOUT_ROWS,
                      .rank = width == 1 ? 1 : 2,
                      .dims = {(uint32_t)rows, width, 1, 1},
                      .data = *data,
                      .bytes = bytes};
    return TFM_OK;
}

static tfm_status check_source(const tfm_vocab_source *src, tfm_error *err) {
    const int32_t ids[] = {src->bos, src->eos, src->unk, src->pad};
    if (src->n == 0) return tfm_fail(err, TFM_FORMAT, "vocabulary: no pieces");
    if (src->n > TFM_VOCAB_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: %u pieces; at most %d are taken", src->n,
                        TFM_VOCAB_MAX);
    if (src->n_source > TFM_VOCAB_MAX || (src->n_source > 0 && src->type != TFM_VOCAB_UNIGRAM))
        return tfm_fail(err, TFM_LIMIT, "vocabulary: a source of %u pieces", src->n_source);
    if (src->n_merges > MERGES_MAX || src->n_patterns > TFM_PATTERNS_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: too many merges or patterns");
    if ((src->type == TFM_VOCAB_SPM || src->type == TFM_VOCAB_UNIGRAM) && src->score == NULL &&
        src->n_source == 0)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: SentencePiece pieces without scores");
    for (unsigned i = 0; i < 4; i++)
        if (ids[i] < -1 || (ids[i] >= 0 && (uint32_t)ids[i] >= src->n))
            return tfm_fail(err, TFM_FORMAT, "vocabulary: special token %d is not among %u pieces",
                            (int)ids[i], src->n);
    return TFM_OK;
}

static tfm_status copy_around(tfm_around *a, const tfm_vocab_source *src, const int32_t *id,
                              uint32_t n, tfm_error *err) {
    if (n > TFM_VOCAB_AROUND)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: %u tokens before or after a text; at most %d",
                        n, TFM_VOCAB_AROUND);
    for (uint32_t i = 0; i < n; i++) {
        if (id[i] < 0 || (uint32_t)id[i] >= src->n)
            return tfm_fail(err, TFM_FORMAT, "vocabulary: special token %d is not among %u pieces",
                            (int)id[i], src->n);
        a->id[a->n++] = id[i];
    }
    return TFM_OK;
}

/* Tokens around a text, and the steps of normaliser and decoder. */
static tfm_status fill_around(tfm_vocab_settings *s, const tfm_vocab_source *src, tfm_error *err) {
    TFM_TRY(copy_around(&s->before, src, src->before, src->n_before, err));
    TFM_TRY(copy_around(&s->after, src, src->after, src->n_after, err));
    if (s->before.n > 0 || s->after.n > 0) s->add_bos = s->add_eos = false;
    for (uint32_t i = 0; i < src->n_steps; i++)
        TFM_TRY(tfm_steps_add(&s->steps, TFM_LIST_NORM, src->step[i].kind, src->step[i].a,
                              src->step[i].b, err));
    for (uint32_t i = 0; i < src->n_decoder; i++)
        TFM_TRY(tfm_steps_add(&s->decoder, TFM_LIST_DECODE, src->decoder[i].kind, src->decoder[i].a,
                              src->decoder[i].b, err));
    for (uint32_t i = 0; i < src->n_splitter; i++)
        TFM_TRY(tfm_steps_add(&s->splitter, TFM_LIST_SPLIT, src->splitter[i].kind,
                              src->splitter[i].a, src->splitter[i].b, err));
    return TFM_OK;
}

static tfm_status fill_affix(char *to, const char *from, tfm_error *err) {
    if (from == NULL) return TFM_OK;
    if (strlen(from) > TFM_AFFIX_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: an affix of %zu bytes; at most %d",
                        strlen(from), TFM_AFFIX_MAX);
    strcpy(to, from);
    return TFM_OK;
}

static tfm_status fill_wordpiece(tfm_vocab_settings *s, const tfm_vocab_source *src,
                                 tfm_error *err) {
    const char *prefix = src->inner_prefix ? src->inner_prefix : "";
    if (src->type != TFM_VOCAB_WORDPIECE) return TFM_OK;
    if (strlen(prefix) > TFM_INNER_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: an inner prefix of %zu bytes; at most %d",
                        strlen(prefix), TFM_INNER_MAX);
    strcpy(s->inner_prefix, prefix);
    s->max_word = src->max_word;
    s->clean_text = src->clean_text;
    s->split_cjk = src->split_cjk;
    s->strip_accents = src->strip_accents;
    s->lowercase = src->lowercase;
    s->clean_spaces = src->clean_spaces;
    return TFM_OK;
}

static tfm_status fill_settings(build *b, tfm_error *err) {
    const tfm_vocab_source *src = b->src;
    tfm_vocab_settings *s = &b->set;
    s->type = src->type;
    s->n = src->n;
    s->bos = src->bos;
    s->eos = src->eos;
    s->unk = src->unk;
    s->pad = src->pad;
    s->add_bos = src->add_bos && src->bos >= 0;
    s->add_eos = src->add_eos && src->eos >= 0;
    s->add_space_prefix = src->add_space_prefix;
    s->space_to_meta = src->space_to_meta;
    s->remove_extra_spaces = src->remove_extra_spaces;
    s->ignore_merges = src->ignore_merges;
    s->byte_level = src->byte_level;
    s->add_prefix_space = src->add_prefix_space;
    s->split_spaces = src->split_spaces;
    s->n_source = src->n_source;
    s->fuse_unknown = src->fuse_unknown;
    for (uint32_t i = 0; src->matching && i < src->n; i++)
        s->matching = s->matching || src->matching[i] != 0;
    TFM_TRY(fill_affix(s->word_suffix, src->word_suffix, err));
    TFM_TRY(fill_affix(s->word_prefix, src->word_prefix, err));
    TFM_TRY(fill_around(s, src, err));
    TFM_TRY(fill_wordpiece(s, src, err));
    if (src->normaliser && !tfm_norm_parse(src->normaliser, &s->norm))
        return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary: normaliser \"%s\" is not known",
                        src->normaliser);
    for (uint32_t i = 0; i < src->n; i++)
        if (src->piece_len[i] > s->max_piece) s->max_piece = src->piece_len[i];
    for (uint32_t i = 0; i < src->n_patterns; i++) {
        size_t n = strlen(src->pattern[i]);
        if (n > TFM_PATTERN_MAX)
            return tfm_fail(err, TFM_LIMIT, "vocabulary: a pattern of more than %d bytes",
                            TFM_PATTERN_MAX);
        TFM_TRY(tfm_strndup(&s->pattern[i], src->pattern[i], n, err));
        s->pattern_len[i] = n;
        s->n_patterns = i + 1;
    }
    return TFM_OK;
}

static tfm_status build_pieces(build *b, tfm_error *err) {
    const tfm_vocab_source *src = b->src;
    void *pieces, *offsets, *flags, *scores;
    uint64_t total = 0;
    for (uint32_t i = 0; i < src->n; i++) total += src->piece_len[i];
    if (total > INT32_MAX) return tfm_fail(err, TFM_LIMIT, "vocabulary: pieces of over 2 GiB");
    TFM_TRY(add_table(b, "vocab.pieces", TFM_U8, total, 1, &pieces, err));
    TFM_TRY(add_table(b, "vocab.offsets", TFM_I32, (uint64_t)src->n + 1, 1, &offsets, err));
    TFM_TRY(add_table(b, "vocab.flags", TFM_U8, src->n, 1, &flags, err));
    uint32_t at = 0;
    for (uint32_t i = 0; i < src->n; i++) {
        if (src->piece_len[i]) memcpy((char *)pieces + at, src->piece[i], src->piece_len[i]);
        at += src->piece_len[i];
        ((uint32_t *)offsets)[i + 1] = at;
    }
    if (src->flags) memcpy(flags, src->flags, src->n);
    if (src->type == TFM_VOCAB_SPM || src->type == TFM_VOCAB_UNIGRAM) {
        const uint32_t n = src->n_source ? src->n_source : src->n;
        TFM_TRY(add_table(b, "vocab.scores", TFM_F32, n, 1, &scores, err));
        memcpy(scores, src->n_source ? src->source_score : src->score, n * sizeof(float));
        b->v.scores = scores;
    }
    b->v.pieces = pieces;
    b->v.pieces_len = total;
    b->v.offsets = offsets;
    b->v.flags = flags;
    return TFM_OK;
}

/* A power of two at least half as large again as n: a load of 2/3 at most. */
static uint32_t table_size(uint32_t n) {
    uint32_t size = 16;
    while (size < n + n / 2) size *= 2;
    return size;
}

static bool insert_piece(const tfm_vocab *v, tfm_piece_slot *slots, uint32_t mask, uint32_t id) {
    size_t len, other_len;
    const unsigned char *p = tfm_vocab_bytes(v, id, &len);
    if (len == 0) return true;
    uint64_t h = tfm_hash_bytes(p, len);
    uint32_t tag = (uint32_t)(h >> 32), at = (uint32_t)h & mask;
    for (int probe = 0; probe < TFM_PROBE_MAX; probe++, at = (at + 1) & mask) {
        if (slots[at].id1 == 0) {
            slots[at] = (tfm_piece_slot){id + 1, tag};
            return true;
        }
        if (slots[at].tag != tag) continue;
        const unsigned char *other = tfm_vocab_bytes(v, slots[at].id1 - 1, &other_len);
        if (other_len == len && memcmp(other, p, len) == 0) return true; /* the first id keeps it */
    }
    return false;
}

/* Fills the piece hash, in a table twice as large if a piece finds no place near enough. */
static tfm_status build_hash(build *b, tfm_error *err) {
    uint32_t n = b->set.n, size = table_size(n);
    for (unsigned tries = 0; tries < 6; tries++, size *= 2) {
        void *data;
        uint32_t i = 0;
        TFM_TRY(add_table(b, "vocab.hash", TFM_I32, size, 2, &data, err));
        while (i < n && insert_piece(&b->v, data, size - 1, i)) i++;
        if (i == n) {
            b->v.hash = data;
            b->v.hash_mask = size - 1;
            return TFM_OK;
        }
        b->n_tables--;
        tfm_free(data);
    }
    return tfm_fail(err, TFM_LIMIT, "vocabulary: too many pieces with the same hash");
}

/* Of merges that are listed twice the first counts, or the last. */
static bool insert_merge(tfm_merge_slot *slots, uint32_t mask, tfm_merge_slot m, bool last) {
    uint32_t at = (uint32_t)tfm_hash_pair(m.left, m.right) & mask;
    for (int probe = 0; probe < TFM_PROBE_MAX; probe++, at = (at + 1) & mask) {
        if (slots[at].rank1 == 0) {
            slots[at] = m;
            return true;
        }
        if (slots[at].left != m.left || slots[at].right != m.right) continue;
        if (last) slots[at] = m;
        return true;
    }
    return false;
}

/* Merge `rank` as ids. */
static tfm_status resolve_merge(build *b, tfm_buf *joined, uint32_t rank, tfm_merge_slot *m,
                                tfm_error *err) {
    const tfm_vocab_source *src = b->src;
    const uint32_t right_len = src->merge_right_len[rank],
                   skip = src->merge_skip < right_len ? src->merge_skip : right_len;
    tfm_buf_clear(joined);
    TFM_TRY(tfm_buf_add(joined, src->merge_left[rank], src->merge_left_len[rank], err));
    TFM_TRY(tfm_buf_add(joined, src->merge_right[rank] + skip, right_len - skip, err));
    m->left = tfm_vocab_find(&b->v, src->merge_left[rank], src->merge_left_len[rank]);
    m->right = tfm_vocab_find(&b->v, src->merge_right[rank], src->merge_right_len[rank]);
    m->id = joined->len ? tfm_vocab_find(&b->v, joined->data, joined->len) : -1;
    m->rank1 = rank + 1;
    if (m->left < 0 || m->right < 0 || m->id < 0)
        return tfm_fail(err, TFM_FORMAT,
                        "vocabulary: merge %u (\"%.*s\" + \"%.*s\") makes or uses "
                        "a piece that is not in the vocabulary",
                        rank, (int)(src->merge_left_len[rank] & 0xff), src->merge_left[rank],
                        (int)(src->merge_right_len[rank] & 0xff), src->merge_right[rank]);
    return TFM_OK;
}

static tfm_status resolve_merges(build *b, tfm_merge_slot *resolved, tfm_error *err) {
    tfm_buf joined = {0};
    tfm_status st = TFM_OK;
    for (uint32_t i = 0; i < b->src->n_merges && st == TFM_OK; i++)
        st = resolve_merge(b, &joined, i, &resolved[i], err);
    tfm_buf_free(&joined);
    return st;
}

static tfm_status fill_merges(build *b, const tfm_merge_slot *resolved, uint32_t n,
                              tfm_error *err) {
    uint32_t size = table_size(n);
    for (unsigned tries = 0; tries < 6; tries++, size *= 2) {
        void *data;
        uint32_t i = 0;
        TFM_TRY(add_table(b, "vocab.merges", TFM_I32, size, 4, &data, err));
        while (i < n && insert_merge(data, size - 1, resolved[i], b->src->n_splitter > 0)) i++;
        if (i == n) {
            b->v.merges = data;
            b->v.merge_mask = size - 1;
            return TFM_OK;
        }
        b->n_tables--;
        tfm_free(data);
    }
    return tfm_fail(err, TFM_LIMIT, "vocabulary: too many merges with the same hash");
}

static tfm_status build_merges(build *b, tfm_error *err) {
    void *resolved = NULL;
    uint32_t n = b->src->n_merges;
    tfm_status st = b->src->merge_all ? tfm_merge_all(&b->v, (tfm_merge_slot **)&resolved, &n, err)
                                      : tfm_alloc(&resolved, n, sizeof(tfm_merge_slot), err);
    if (st == TFM_OK && !b->src->merge_all) st = resolve_merges(b, resolved, err);
    if (st == TFM_OK) st = fill_merges(b, resolved, n, err);
    tfm_free(resolved);
    return st;
}

/* ---- unigram and WordPiece ---- */

static tfm_status fill_trie(build *b, const tfm_trie_key *key, uint32_t n, uint32_t edges,
                            tfm_error *err) {
    uint32_t size = table_size(edges);
    for (unsigned tries = 0; tries < 6; tries++, size *= 2) {
        void *data;
        TFM_TRY(add_table(b, "vocab.trie", TFM_I32, size, 4, &data, err));
        if (tfm_trie_fill(data, size - 1, key, n)) {
            b->v.trie = data;
            b->v.trie_mask = size - 1;
            return TFM_OK;
        }
        b->n_tables--;
        tfm_free(data);
    }
    return tfm_fail(err, TFM_LIMIT, "vocabulary: too many edges with the same hash");
}

static tfm_status build_trie(build *b, tfm_error *err) {
    tfm_trie_key *key;
    uint32_t n, edges;
    void *wide, *map;
    TFM_TRY(b->src->n_source ? tfm_pair_keys(b->src, &key, &n, &edges, err)
                             : tfm_trie_keys(&b->v, b->src->wide_score, &key, &n, &edges, err));
    tfm_status st = fill_trie(b, key, n, edges, err);
    tfm_free(key);
    if (st == TFM_OK && b->src->n_source > 0) {
        TFM_TRY(add_table(b, "vocab.map", TFM_I32, b->src->n_source, 1, &map, err));
        memcpy(map, b->src->source_id, b->src->n_source * sizeof(int32_t));
        return TFM_OK;
    }
    if (st != TFM_OK || b->set.type != TFM_VOCAB_UNIGRAM || b->src->wide_score == NULL) return st;
    TFM_TRY(add_table(b, "vocab.wide", TFM_I32, b->src->n, 2, &wide, err));
    memcpy(wide, b->src->wide_score, b->src->n * sizeof(double));
    return TFM_OK;
}

static tfm_status build_charsmap(build *b, tfm_error *err) {
    const tfm_vocab_source *src = b->src;
    tfm_charsmap map;
    void *copy;
    if ((b->set.norm != TFM_NORM_CHARSMAP && b->set.norm != TFM_NORM_STEPS) ||
        src->charsmap_len == 0)
        return TFM_OK;
    if (!tfm_charsmap_open(&map, src->charsmap, src->charsmap_len))
        return tfm_fail(err, TFM_FORMAT, "vocabulary: its normaliser is no table of replacements");
    TFM_TRY(add_table(b, "vocab.charsmap", TFM_U8, src->charsmap_len, 1, &copy, err));
    memcpy(copy, src->charsmap, (size_t)src->charsmap_len);
    tfm_charsmap_open(&b->v.charsmap, copy, src->charsmap_len);
    return TFM_OK;
}

/* The id that spells a byte when text holds it. Added tokens that look like a letter of the byte
 * alphabet (DeepSeek's) spell that letter, not the byte. */
static int32_t byte_id(const build *b, unsigned byte) {
    static const char hex[] = "0123456789ABCDEF";
    const tfm_vocab *v = &b->v;
    unsigned char p[8];
    size_t n = 1;
    int32_t id;
    const unsigned not_text = TFM_TOKEN_CONTROL | TFM_TOKEN_ADDED | TFM_TOKEN_UNUSED;
    p[0] = (unsigned char)byte;
    if (b->set.type == TFM_VOCAB_BPE && b->set.byte_level) {
        n = tfm_utf8_encode(tfm_byte_to_char(byte), p);
    } else if (b->set.type != TFM_VOCAB_BYTES) {
        memcpy(p, "<0x", 3);
        p[3] = (unsigned char)hex[byte >> 4];
        p[4] = (unsigned char)hex[byte & 15];
        p[5] = '>';
        id = tfm_vocab_lookup(v, p, 6);
        return id >= 0 && (v->flags[id] & TFM_TOKEN_BYTE) ? id : -1;
    }
    id = tfm_vocab_lookup(v, p, n);
    return id >= 0 && (v->flags[id] & not_text) == 0 ? id : -1;
}

static tfm_status build_bytes(build *b, tfm_error *err) {
    void *data;
    TFM_TRY(add_table(b, "vocab.bytes", TFM_I32, 256, 1, &data, err));
    for (unsigned i = 0; i < 256; i++) ((int32_t *)data)[i] = byte_id(b, i);
    b->v.bytes = data;
    return TFM_OK;
}

/* ---- added and control tokens ---- */

typedef struct special {
    const unsigned char *text;
    size_t len;
    int32_t id;
} special;

static int by_text(const void *x, const void *y) {
    const special *a = x, *b = y;
    size_t n = a->len < b->len ? a->len : b->len;
    int c = n ? memcmp(a->text, b->text, n) : 0;
    if (c != 0) return c;
    if (a->len != b->len) return a->len < b->len ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static bool is_special(unsigned flags) {
    if (flags & TFM_TOKEN_BYTE) return false;
    return (flags & TFM_TOKEN_ADDED) != 0 ||
           ((flags & (TFM_TOKEN_CONTROL | TFM_TOKEN_UNKNOWN)) != 0 && !(flags & TFM_TOKEN_UNUSED));
}

static unsigned matching(const build *b, uint32_t id) {
    return b->set.matching ? b->src->matching[id] : 0;
}

/* What stands for this token in a text: its piece, where U+2581 of an added (not a control) token
 * means a space if the vocabulary writes spaces so; or its normalised form, by t. */
static tfm_status special_text(build *b, const tfm_tokenizer *t, uint32_t id, tfm_buf *text,
                               tfm_error *err) {
    const size_t before = text->len;
    size_t len;
    const unsigned char *p = tfm_vocab_bytes(&b->v, id, &len);
    if (len > 0 && (matching(b, id) & TFM_MATCH_NORMALISED)) {
        TFM_TRY(tfm_normal_text(t, p, len, text, err));
        if (text->len > before) return TFM_OK;
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "vocabulary: added token %u is nothing when it is normalised", id);
    }
    bool meta = b->set.space_to_meta && (b->v.flags[id] & TFM_TOKEN_CONTROL) == 0;
    for (size_t i = 0; i < len;) {
        if (meta && len - i >= TFM_META_LEN && memcmp(p + i, TFM_META, TFM_META_LEN) == 0) {
            TFM_TRY(tfm_buf_byte(text, ' ', err));
            i += TFM_META_LEN;
        } else {
            TFM_TRY(tfm_buf_byte(text, p[i++], err));
        }
    }
    return TFM_OK;
}

static tfm_status write_special(build *b, const special *list, uint32_t n, tfm_error *err) {
    void *ids, *offsets, *text, *how = NULL;
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++) total += list[i].len;
    TFM_TRY(add_table(b, "vocab.special", TFM_I32, n, 1, &ids, err));
    TFM_TRY(add_table(b, "vocab.special_offsets", TFM_I32, (uint64_t)n + 1, 1, &offsets, err));
    TFM_TRY(add_table(b, "vocab.special_text", TFM_U8, total, 1, &text, err));
    if (b->set.matching) TFM_TRY(add_table(b, "vocab.special_matching", TFM_U8, n, 1, &how, err));
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        ((int32_t *)ids)[i] = list[i].id;
        if (how) ((uint8_t *)how)[i] = (uint8_t)matching(b, (uint32_t)list[i].id);
        memcpy((char *)text + at, list[i].text, list[i].len);
        at += (uint32_t)list[i].len;
        ((uint32_t *)offsets)[i + 1] = at;
    }
    return TFM_OK;
}

static tfm_status collect_special(build *b, const tfm_tokenizer *t, special *list, uint32_t *n,
                                  tfm_buf *text, tfm_error *err) {
    for (uint32_t id = 0; id < b->set.n; id++) {
        if (!is_special(b->v.flags[id])) continue;
        size_t from = text->len;
        TFM_TRY(special_text(b, t, id, text, err));
        size_t len = text->len - from;
        if (len > TFM_SPECIAL_LEN_MAX)
            return tfm_fail(err, TFM_LIMIT,
                            "vocabulary: added token %u has %zu bytes; at most %d "
                            "are taken",
                            id, len, TFM_SPECIAL_LEN_MAX);
        if (len > 0) list[(*n)++] = (special){NULL, len, (int32_t)id};
    }
    size_t at = 0;
    for (uint32_t i = 0; i < *n; at += list[i++].len)
        list[i].text = (const unsigned char *)text->data + at;
    return TFM_OK;
}

static tfm_status build_special(build *b, tfm_error *err) {
    uint32_t n = 0, most = 0;
    tfm_buf text = {0};
    void *list;
    for (uint32_t id = 0; id < b->set.n; id++) most += is_special(b->v.flags[id]);
    if (most == 0) return TFM_OK;
    TFM_TRY(tfm_alloc(&list, most, sizeof(special), err));
    tfm_tokenizer *t = NULL; /* whose normaliser is wanted */
    tfm_status st = b->set.matching ? tfm_tokenizer_new(&t, &b->v, err) : TFM_OK;
    if (st == TFM_OK) st = collect_special(b, t, list, &n, &text, err);
    tfm_tokenizer_free(t);
    if (st == TFM_OK && n > 0) {
        qsort(list, n, sizeof(special), by_text);
        st = write_special(b, list, n, err);
    }
    tfm_buf_free(&text);
    tfm_free(list);
    return st;
}

/* ---- the id and the result ---- */

/* Is this the vocabulary in which id = byte and nothing else? */
static bool is_raw_bytes(const build *b) {
    const tfm_vocab_settings *s = &b->set;
    if (s->type != TFM_VOCAB_BYTES || s->n != 256 || s->bos >= 0 || s->eos >= 0) return false;
    for (int i = 0; i < 256; i++)
        if (b->v.bytes[i] != i || b->v.flags[i] != 0) return false;
    return true;
}

static tfm_status build_id(build *b, tfm_error *err) {
    tfm_buf text = {0};
    tfm_sha256 sha;
    char hex[65];
    if (is_raw_bytes(b)) {
        strcpy(b->set.id, "raw-bytes");
        return TFM_OK;
    }
    tfm_status st = tfm_vocab_settings_write(&text, &b->set, err);
    tfm_sha256_init(&sha);
    if (st == TFM_OK) tfm_sha256_add(&sha, text.data, text.len);
    tfm_buf_free(&text);
    TFM_TRY(st);
    for (size_t i = 0; i < b->n_tables; i++) {
        tfm_sha256_add(&sha, b->tensor[i].name, strlen(b->tensor[i].name) + 1);
        tfm_sha256_add(&sha, b->tensor[i].data, (size_t)b->tensor[i].bytes);
    }
    tfm_sha256_hex(&sha, hex);
    memcpy(b->set.id, hex, 16);
    b->set.id[16] = '\0';
    return TFM_OK;
}

static tfm_status build_all(build *b, tfm_error *err) {
    TFM_TRY(check_source(b->src, err));
    TFM_TRY(fill_settings(b, err));
    b->v.set = b->set;
    TFM_TRY(build_pieces(b, err));
    TFM_TRY(build_hash(b, err));
    if (b->set.type == TFM_VOCAB_BPE) TFM_TRY(build_merges(b, err));
    if (b->set.type == TFM_VOCAB_UNIGRAM || b->set.type == TFM_VOCAB_WORDPIECE)
        TFM_TRY(build_trie(b, err));
    TFM_TRY(build_charsmap(b, err));
    TFM_TRY(build_bytes(b, err));
    TFM_TRY(build_special(b, err));
    return build_id(b, err);
}

tfm_status tfm_vocab_build(tfm_vocab_tables **out, const tfm_vocab_source *src, tfm_error *err) {
    void *p;
    tfm_buf text = {0};
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(build), err));
    build *b = p;
    b->src = src;
    b->out.owner = b;
    tfm_status st = build_all(b, err);
    if (st == TFM_OK) st = tfm_vocab_settings_write(&text, &b->set, err);
    if (st != TFM_OK) {
        tfm_buf_free(&text);
        tfm_vocab_tables_free(&b->out);
        return st;
    }
    b->src = NULL;
    b->out.settings = text.data;
    b->out.settings_len = text.len;
    b->out.tensor = b->tensor;
    b->out.n_tensors = b->n_tables;
    memcpy(b->out.id, b->set.id, sizeof b->out.id);
    *out = &b->out;
    return TFM_OK;
}

void tfm_vocab_tables_free(tfm_vocab_tables *t) {
    if (t == NULL) return;
    build *b = t->owner;
    for (size_t i = 0; i < b->n_tables; i++) tfm_free(b->data[i]);
    tfm_vocab_settings_clear(&b->set);
    tfm_free(b->out.settings);
    tfm_free(b);
}
