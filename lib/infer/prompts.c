/* prompts.c - gathers the records of each group until it is whole, in the model's vocabulary.
 *
 * Owns the groups that are open. Groups may interleave; they are found by a hash of their number.
 * The limits: what one group may hold is bounded by what its writer has sent.
 */
#include <string.h>

#include "infer/infer_internal.h"
#include "tfm/prompts.h"

typedef struct open_group {
    tfm_prompt prompt;
    size_t ids_cap, passed_cap;
    size_t order; /* of arrival */
} open_group;

struct tfm_prompts {
    tfm_reader *reader;
    tfm_tokenizer *tokenizer; /* set when raw bytes are to be turned into tokens */
    unsigned tokenize_flags;
    open_group **slot; /* [n_slots], a power of two, open addressing by group */
    size_t n_slots, n_open;
    size_t arrivals;
    open_group *given;   /* what the last call gave out */
    bool ended;          /* END was read: give the rest */
};

/* ---- open groups ---- */

static void group_free(open_group *o) {
    if (!o) return;
    for (size_t i = 0; i < o->prompt.n_passed; i++) tfm_free(o->prompt.passed[i].payload);
    tfm_free(o->prompt.passed);
    tfm_free(o->prompt.ids);
    tfm_free(o->prompt.program);
    tfm_free(o->prompt.message);
    tfm_free(o);
}

static size_t slot_of(const tfm_prompts *p, uint32_t group) {
    size_t i = (size_t)(group * 2654435761u) & (p->n_slots - 1); /* Knuth's multiplier */
    while (p->slot[i] && p->slot[i]->prompt.group != group) i = (i + 1) & (p->n_slots - 1);
    return i;
}

static tfm_status widen(tfm_prompts *p, tfm_error *err) {
    open_group **old = p->slot;
    size_t n = p->n_slots;

    p->n_slots = n ? n * 2 : 64;
    tfm_status st = tfm_alloc((void **)&p->slot, p->n_slots, sizeof *p->slot, err);
    if (st != TFM_OK) {
        p->slot = old;
        p->n_slots = n;
        return st;
    }
    for (size_t i = 0; i < n; i++)
        if (old[i]) p->slot[slot_of(p, old[i]->prompt.group)] = old[i];
    tfm_free(old);
    return TFM_OK;
}

static tfm_status group_get(tfm_prompts *p, uint32_t group, open_group **out, tfm_error *err) {
    if (2 * (p->n_open + 1) > p->n_slots) TFM_TRY(widen(p, err));
    size_t i = slot_of(p, group);
    if (!p->slot[i]) {
        TFM_TRY(tfm_alloc((void **)&p->slot[i], 1, sizeof **p->slot, err));
        p->slot[i]->prompt.group = group;
        p->slot[i]->order = p->arrivals++;
        p->n_open++;
    }
    *out = p->slot[i];
    return TFM_OK;
}

/* Takes the group out of the table; later ones of its run move up. */
static void group_take(tfm_prompts *p, open_group *o) {
    size_t mask = p->n_slots - 1, i = slot_of(p, o->prompt.group);

    p->slot[i] = NULL;
    p->n_open--;
    for (size_t k = (i + 1) & mask; p->slot[k]; k = (k + 1) & mask) {
        open_group *moved = p->slot[k];
        p->slot[k] = NULL;
        p->slot[slot_of(p, moved->prompt.group)] = moved;
    }
}

/* ---- making ---- */

tfm_status tfm_prompts_new(tfm_prompts **out, tfm_reader *r, const tfm_vocab *vocab,
                           const char *model_path, tfm_error *err) {
    const tfm_header *h = tfm_reader_header(r);
    const char *theirs = tfm_header_get(h, "vocab"), *tool = tfm_header_get(h, "tool");
    const char *how = tfm_header_get(h, "tokenize");
    tfm_prompts *p = NULL;
    tfm_status st;

    *out = NULL;
    if (strcmp(tfm_header_kind(h), "tokens") != 0)
        return tfm_fail(err, TFM_MISMATCH, "the input is a stream of kind %s, tokens are wanted",
                        tfm_header_kind(h));
    TFM_TRY(tfm_alloc((void **)&p, 1, sizeof *p, err));
    p->reader = r;
    if (!vocab || !theirs || strcmp(theirs, tfm_vocab_id(vocab)) == 0) {
        *out = p;
        return TFM_OK;
    }
    if (strcmp(theirs, "raw-bytes") != 0) {
        tfm_free(p);
        return tfm_fail(err, TFM_MISMATCH,
                        "the tokens are of vocabulary %s (from %s), %s has %s; tokenize with -m %s",
                        theirs, tool ? tool : "an unnamed tool", model_path, tfm_vocab_id(vocab),
                        model_path);
    }
    if (!how || !strstr(how, "special=none")) p->tokenize_flags |= TFM_TOK_ADD_SPECIAL;
    if (how && strstr(how, "parse-special=yes")) p->tokenize_flags |= TFM_TOK_PARSE_SPECIAL;
    if ((st = tfm_tokenizer_new(&p->tokenizer, vocab, err)) != TFM_OK) {
        tfm_free(p);
        return st;
    }
    *out = p;
    return TFM_OK;
}

void tfm_prompts_free(tfm_prompts *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_slots; i++) group_free(p->slot[i]);
    tfm_free(p->slot);
    group_free(p->given);
    tfm_tokenizer_free(p->tokenizer);
    tfm_free(p);
}

/* ---- records ---- */

static tfm_status group_fail(open_group *o, const char *program, const char *message, size_t n,
                             tfm_error *err) {
    if (o->prompt.message) return TFM_OK; /* the first reason counts */
    TFM_TRY(tfm_strndup(&o->prompt.message, message, n, err));
    return program ? tfm_strdup(&o->prompt.program, program, err) : TFM_OK;
}

static tfm_status take_tokens(tfm_prompts *p, open_group *o, const tfm_record *rec, tfm_error *err) {
    const void *payload;
    size_t n = rec->dims[0];

    TFM_TRY(tfm_reader_payload(p->reader, &payload, err));
    if (rec->dtype != TFM_I32 || rec->rank != 1)
        return tfm_fail(err, TFM_FORMAT, "record %u: tokens must be i32 of rank 1, not %s of rank %u",
                        rec->seq, tfm_dtype_name((tfm_dtype)rec->dtype), rec->rank);
    if (rec->position > o->prompt.n) {
        const char why[] = "tokens are missing between two records of the group";
        return group_fail(o, NULL, why, sizeof why - 1, err);
    }
    size_t len = rec->position + n; /* a lower position cuts the group first */
    TFM_TRY(tfm_grow((void **)&o->prompt.ids, &o->ids_cap, len, sizeof *o->prompt.ids, err));
    memcpy(o->prompt.ids + rec->position, payload, n * sizeof *o->prompt.ids);
    o->prompt.n = len;
    return TFM_OK;
}

static tfm_status take_other(tfm_prompts *p, open_group *o, const tfm_record *rec, tfm_error *err) {
    tfm_prompt *q = &o->prompt;
    const void *payload;

    TFM_TRY(tfm_reader_payload(p->reader, &payload, err));
    if (rec->type == TFM_REC_ERROR) return group_fail(o, rec->name, payload, rec->bytes, err);
    TFM_TRY(tfm_grow((void **)&q->passed, &o->passed_cap, q->n_passed + 1, sizeof *q->passed, err));
    tfm_passed *to = &q->passed[q->n_passed];
    *to = (tfm_passed){.record = *rec};
    TFM_TRY(tfm_alloc(&to->payload, rec->bytes, 1, err));
    q->n_passed++;
    if (rec->bytes) memcpy(to->payload, payload, rec->bytes);
    return TFM_OK;
}

/* Raw bytes become text, text becomes tokens. */
static tfm_status to_tokens(tfm_prompts *p, open_group *o, tfm_error *err) {
    tfm_prompt *q = &o->prompt;
    tfm_error why = {0};
    tfm_ids ids = {0};
    char *text = NULL;
    tfm_status st;

    TFM_TRY(tfm_alloc((void **)&text, q->n, 1, err));
    for (size_t i = 0; i < q->n; i++) {
        if (q->ids[i] < 0 || q->ids[i] > 255) {
            const char bad[] = "a raw-bytes token is not in 0..255";
            tfm_free(text);
            return group_fail(o, NULL, bad, sizeof bad - 1, err);
        }
        text[i] = (char)q->ids[i];
    }
    st = tfm_tokenize(p->tokenizer, text, q->n, p->tokenize_flags, &ids, NULL, &why);
    tfm_free(text);
    if (st != TFM_OK) {
        tfm_ids_free(&ids);
        if (st == TFM_RECORD) return group_fail(o, NULL, why.message, strlen(why.message), err);
        if (err) *err = why;
        return st;
    }
    tfm_free(q->ids);
    q->ids = ids.data;
    q->n = ids.len;
    o->ids_cap = ids.cap;
    return TFM_OK;
}

static tfm_status give(tfm_prompts *p, open_group *o, bool flush, tfm_prompt *out, tfm_error *err) {
    group_take(p, o);
    p->given = o;
    if (p->tokenizer && !o->prompt.message) TFM_TRY(to_tokens(p, o, err));
    o->prompt.flush |= flush;
    *out = o->prompt;
    return TFM_OK;
}

/* After END: groups that had no GROUP-END, in order of arrival. */
static tfm_status give_rest(tfm_prompts *p, tfm_prompt *out, tfm_error *err) {
    open_group *first = NULL;

    for (size_t i = 0; i < p->n_slots; i++)
        if (p->slot[i] && (!first || p->slot[i]->order < first->order)) first = p->slot[i];
    return first ? give(p, first, false, out, err) : TFM_DONE;
}

tfm_status tfm_prompts_next(tfm_prompts *p, tfm_prompt *out, tfm_error *err) {
    tfm_record rec;
    open_group *o;
    tfm_status st;

    group_free(p->given);
    p->given = NULL;
    while (!p->ended) {
        st = tfm_reader_next(p->reader, &rec, err);
        if (st == TFM_DONE) {
            p->ended = true;
            break;
        }
        if (st != TFM_OK) return st;
        if (rec.type == TFM_REC_FORK)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "record %u: FORK of a token group; fork after tfm-embed", rec.seq);
        TFM_TRY(group_get(p, rec.group, &o, err));
        bool flush = rec.flags & TFM_FLAG_FLUSH;
        if (rec.type == TFM_REC_GROUP_END) return give(p, o, flush, out, err);
        o->prompt.flush |= flush;
        if (rec.type == TFM_REC_TENSOR && strcmp(rec.name, "tokens") == 0)
            TFM_TRY(take_tokens(p, o, &rec, err));
        else
            TFM_TRY(take_other(p, o, &rec, err));
    }
    return give_rest(p, out, err);
}
