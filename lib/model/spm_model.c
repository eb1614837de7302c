/* spm_model.c - SentencePiece's tokenizer.model (a protocol buffer), types unigram and BPE.
 *
 *     ModelProto      1: SentencePiece, repeated   2: TrainerSpec   3: NormalizerSpec   5: another
 *     SentencePiece   1: piece   2: score (float)   3: type
 *     TrainerSpec     3: model_type   24: treat_whitespace_as_suffix   35: byte_fallback
 *                     40-43: unk, bos, eos, pad id
 *     NormalizerSpec  1: name   2: precompiled_charsmap   3: add_dummy_prefix
 *                     4: remove_extra_whitespaces   5: escape_whitespaces
 *
 * (field numbers from sentencepiece_model.proto). The reader knows the four wire types that occur
 * and passes over fields that it does not need. What would not give the same ids is refused by
 * name. */
#include <string.h>

#include "model/source_internal.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2 };
enum { TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER = 4, TYPE_UNUSED = 5, TYPE_BYTE = 6 };

typedef struct cursor {
    const unsigned char *p;
    uint64_t n, at;
} cursor;

/* One field of a message. */
typedef struct field {
    uint64_t number;
    uint64_t value; /* varint, or the bits of a fixed field */
    cursor bytes;   /* WIRE_BYTES */
    unsigned wire;
} field;

static bool varint(cursor *c, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 64 && c->at < c->n; shift += 7) {
        unsigned char b = c->p[c->at++];
        *out |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) return true;
    }
    return false;
}

/* The next field; *ok is false if the message is broken. Returns false at the end, too. */
static bool next_field(cursor *c, field *f, bool *ok) {
    uint64_t tag;
    *ok = true;
    if (c->at == c->n) return false;
    *ok = varint(c, &tag) && tag >> 3 != 0;
    if (!*ok) return false;
    *f = (field){.number = tag >> 3, .wire = (unsigned)(tag & 7)};
    uint64_t left = c->n - c->at;
    switch (f->wire) {
    case WIRE_VARINT: *ok = varint(c, &f->value); break;
    case WIRE_64:
    case WIRE_32:
        tag = f->wire == WIRE_64 ? 8 : 4;
        if ((*ok = left >= tag))
            f->value = tag == 8 ? tfm_load_u64(c->p + c->at) : tfm_load_u32(c->p + c->at);
        if (*ok) c->at += tag;
        break;
    case WIRE_BYTES:
        *ok = varint(c, &f->value) && f->value <= c->n - c->at;
        if (*ok) {
            f->bytes = (cursor){.p = c->p + c->at, .n = f->value};
            c->at += f->value;
        }
        break;
    default: *ok = false; break;
    }
    return *ok;
}

bool tfm_spm_model_matches(const unsigned char *p, uint64_t n) {
    cursor c = {.p = p, .n = n};
    field f, piece;
    bool ok;
    return next_field(&c, &f, &ok) && f.number == 1 && f.wire == WIRE_BYTES &&
           next_field(&f.bytes, &piece, &ok) && piece.number == 1 && piece.wire == WIRE_BYTES;
}

typedef struct spm {
    uint64_t n_pieces;
    uint64_t model_type;
    bool suffix_space, byte_fallback;
    int32_t unk, bos, eos, pad;
    bool add_prefix, remove_extra, escape;
    bool denormalises;
    cursor charsmap;
} spm;

static tfm_status broken(tfm_error *err) {
    return tfm_fail(err, TFM_FORMAT, "no SentencePiece model: a field is broken");
}

/* An id: -1 is written as a 64-bit varint. */
static int32_t id_of(uint64_t v) {
    return v > INT32_MAX ? -1 : (int32_t)v;
}

static tfm_status trainer(spm *m, cursor c, tfm_error *err) {
    field f;
    bool ok;
    while (next_field(&c, &f, &ok)) {
        switch (f.number) {
        case 3: m->model_type = f.value; break;
        case 24: m->suffix_space = f.value != 0; break;
        case 35: m->byte_fallback = f.value != 0; break;
        case 40: m->unk = id_of(f.value); break;
        case 41: m->bos = id_of(f.value); break;
        case 42: m->eos = id_of(f.value); break;
        case 43: m->pad = id_of(f.value); break;
        default: break;
        }
    }
    return ok ? TFM_OK : broken(err);
}

static tfm_status normaliser(spm *m, cursor c, bool is_denormaliser, tfm_error *err) {
    field f;
    bool ok;
    while (next_field(&c, &f, &ok)) {
        bool is_map = f.number == 2 && f.wire == WIRE_BYTES && f.bytes.n > 0;
        if (is_denormaliser) {
            m->denormalises = m->denormalises || is_map;
            continue;
        }
        if (is_map) m->charsmap = f.bytes;
        switch (f.number) {
        case 3: m->add_prefix = f.value != 0; break;
        case 4: m->remove_extra = f.value != 0; break;
        case 5: m->escape = f.value != 0; break;
        default: break;
        }
    }
    return ok ? TFM_OK : broken(err);
}

/* Everything but the pieces, which are only counted. */
static tfm_status first_pass(spm *m, const unsigned char *p, uint64_t n, tfm_error *err) {
    cursor c = {.p = p, .n = n};
    field f;
    bool ok;
    while (next_field(&c, &f, &ok)) {
        if (f.number == 1) m->n_pieces++;
        if (f.wire != WIRE_BYTES) continue;
        if (f.number == 2) TFM_TRY(trainer(m, f.bytes, err));
        if (f.number == 3) TFM_TRY(normaliser(m, f.bytes, false, err));
        if (f.number == 5) TFM_TRY(normaliser(m, f.bytes, true, err));
    }
    return ok ? TFM_OK : broken(err);
}

static unsigned flags_of(uint64_t type, bool byte_fallback) {
    switch (type) {
    case TYPE_UNKNOWN: return TFM_TOKEN_UNKNOWN;
    case TYPE_CONTROL: return TFM_TOKEN_CONTROL;
    case TYPE_USER: return TFM_TOKEN_ADDED;
    case TYPE_UNUSED: return TFM_TOKEN_UNUSED;
    case TYPE_BYTE: return byte_fallback ? TFM_TOKEN_BYTE : 0;
    default: return 0;
    }
}

static tfm_status one_piece(tfm_draft *d, uint32_t i, cursor c, bool byte_fallback,
                            tfm_error *err) {
    field f;
    bool ok;
    while (next_field(&c, &f, &ok)) {
        if (f.number == 1 && f.wire == WIRE_BYTES && f.bytes.n <= UINT32_MAX) {
            d->piece[i] = (const char *)f.bytes.p;
            d->piece_len[i] = (uint32_t)f.bytes.n;
        } else if (f.number == 2 && f.wire == WIRE_32) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&d->score[i], &bits, sizeof bits);
        } else if (f.number == 3 && f.wire == WIRE_VARINT) {
            d->flags[i] = (uint8_t)flags_of(f.value, byte_fallback);
        }
    }
    return ok ? TFM_OK : broken(err);
}

static tfm_status check_kind(const spm *m, tfm_error *err) {
    if (m->model_type != MODEL_BPE && m->model_type != MODEL_UNIGRAM)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "a SentencePiece model of type %llu (1, unigram, and 2, BPE, are taken)",
                        (unsigned long long)m->model_type);
    if (m->denormalises)
        return tfm_fail(err, TFM_UNSUPPORTED, "a SentencePiece model with a denormaliser");
    if (m->suffix_space)
        return tfm_fail(err, TFM_UNSUPPORTED, "SentencePiece's treat_whitespace_as_suffix");
    return TFM_OK;
}

static int32_t checked_id(const tfm_draft *d, int32_t id) {
    return id >= 0 && (uint32_t)id < d->src.n ? id : -1;
}

tfm_status tfm_spm_model(tfm_draft *d, const unsigned char *p, uint64_t n, tfm_error *err) {
    /* the defaults of sentencepiece_model.proto */
    spm m = {.model_type = MODEL_UNIGRAM,
             .unk = 0,
             .bos = 1,
             .eos = 2,
             .pad = -1,
             .add_prefix = true,
             .remove_extra = true,
             .escape = true};
    cursor c = {.p = p, .n = n};
    field f;
    bool ok;
    uint32_t i = 0;
    TFM_TRY(first_pass(&m, p, n, err));
    TFM_TRY(check_kind(&m, err));
    TFM_TRY(tfm_draft_pieces(d, m.n_pieces, true, err));
    while (next_field(&c, &f, &ok)) {
        if (f.number != 1) continue;
        if (f.wire != WIRE_BYTES) return broken(err);
        TFM_TRY(one_piece(d, i++, f.bytes, m.byte_fallback, err));
    }
    tfm_vocab_source *v = &d->src;
    v->type = m.model_type == MODEL_UNIGRAM ? TFM_VOCAB_UNIGRAM : TFM_VOCAB_SPM;
    if (v->type == TFM_VOCAB_UNIGRAM || m.charsmap.n > 0) v->normaliser = "charsmap";
    v->charsmap = m.charsmap.p;
    v->charsmap_len = m.charsmap.n;
    v->unk = checked_id(d, m.unk);
    v->bos = checked_id(d, m.bos);
    v->eos = checked_id(d, m.eos);
    v->pad = checked_id(d, m.pad);
    v->add_bos = v->bos >= 0; /* as LlamaTokenizer does; tokenizer_config.json may say otherwise */
    v->add_space_prefix = m.add_prefix;
    v->remove_extra_spaces = m.remove_extra;
    v->space_to_meta = m.escape;
    return TFM_OK;
}
