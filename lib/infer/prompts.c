/* prompts.c - gathers the records of each group until it is whole, in the model's vocabulary.
 *
 * Owns the groups that are open. Groups may interleave; they are found by a hash of their number.
 * The limits: what one group may hold is bounded by what its writer has sent, and what FORKs copy
 * by FORKED_MAX, because 128 bytes of a hostile stream would ask for any number of ids.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/infer_internal.h"
#include "tfm/group_map.h"
#include "tfm/prompts.h"

#define FORKED_MAX (1u << 24) /* ids that open groups have from others: 64 MiB */

/* Records to be passed on, as tfm_prompt has them. */
typedef struct passed_list {
    tfm_passed *at; /* [n] */
    size_t n, cap;
} passed_list;

typedef struct open_group {
    tfm_prompt prompt;
    passed_list passed;
    uint32_t n_forked; /* ids it began with */
    size_t ids_cap;
    size_t order; /* of arrival */
} open_group;

struct tfm_prompts {
    tfm_reader *reader;
    tfm_tokenizer *tokenizer; /* set when raw bytes are to be turned into tokens */
    unsigned tokenize_flags;
    bool strict_unk; /* a text with unknown characters fails */
    uint64_t unknown;
    passed_list of_stream; /* since the last group that was given */
    tfm_group_map *open;   /* of open_group */
    size_t arrivals;
    uint32_t n_forked; /* of all open groups */
    open_group *given; /* what the last call gave out */
    bool has_turns;
    bool ended;        /* END was read */
    open_group **rest; /* [n_rest] then: what is still to be given */
    size_t n_rest, next_rest;
};

/* ---- records to be passed on ---- */

static void passed_free(passed_list *l) {
    for (size_t i = 0; i < l->n; i++) tfm_free(l->at[i].payload);
    tfm_free(l->at);
    *l = (passed_list){0};
}

static tfm_status passed_add(passed_list *l, const tfm_record *rec, const void *payload,
                             tfm_error *err) {
    TFM_TRY(tfm_grow((void **)&l->at, &l->cap, l->n + 1, sizeof *l->at, err));
    tfm_passed *to = &l->at[l->n];
    *to = (tfm_passed){.record = *rec};
    TFM_TRY(tfm_alloc(&to->payload, rec->bytes, 1, err));
    l->n++;
    if (rec->bytes) memcpy(to->payload, payload, rec->bytes);
    return TFM_OK;
}

/* *to = those of `first`, then those of `then`, which both are empty afterwards. */
static tfm_status passed_join(passed_list *to, passed_list *first, passed_list *then,
                              tfm_error *err) {
    passed_list all = *first;

    if (then->n) {
        tfm_status st = tfm_grow((void **)&all.at, &all.cap, all.n + then->n, sizeof *all.at, err);
        *first = all;
        if (st != TFM_OK) return st;
        memcpy(all.at + all.n, then->at, then->n * sizeof *all.at);
        all.n += then->n;
    }
    tfm_free(then->at);
    *first = *then = (passed_list){0};
    *to = all;
    return TFM_OK;
}

/* ---- open groups ---- */

static void group_free(open_group *o) {
    if (!o) return;
    passed_free(&o->passed);
    tfm_free(o->prompt.ids);
    tfm_free(o->prompt.program);
    tfm_free(o->prompt.message);
    tfm_free(o);
}

static tfm_status group_get(tfm_prompts *p, uint32_t group, open_group **out, tfm_error *err) {
    void **slot;

    TFM_TRY(tfm_group_map_slot(p->open, group, &slot, err));
    if (!*slot) {
        open_group *o = NULL;
        tfm_status st = tfm_alloc((void **)&o, 1, sizeof *o, err);
        if (st != TFM_OK) {
            tfm_group_map_remove(p->open, group);
            return st;
        }
        o->prompt.group = group;
        o->order = p->arrivals++;
        *slot = o;
    }
    *out = *slot;
    return TFM_OK;
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
    TFM_TRY(tfm_header_expect(h, "tokens", err));
    TFM_TRY(tfm_alloc((void **)&p, 1, sizeof *p, err));
    p->reader = r;
    p->has_turns = tfm_header_get(h, "turns") != NULL;
    if ((st = tfm_group_map_new(&p->open, err)) != TFM_OK) goto fail;
    if (!vocab && theirs && strcmp(theirs, "raw-bytes") == 0) {
        st = tfm_fail(
            err, TFM_MISMATCH,
            "the input is raw bytes, and %s has no vocabulary to make tokens of them; give "
            "it one (tfm-convert --tokenizer)",
            model_path);
        goto fail;
    }
    if (!vocab || !theirs || strcmp(theirs, tfm_vocab_id(vocab)) == 0) {
        *out = p;
        return TFM_OK;
    }
    if (strcmp(theirs, "raw-bytes") != 0) {
        st = tfm_fail(err, TFM_MISMATCH,
                      "the tokens are of vocabulary %s (from %s), %s has %s; tokenize with -m %s",
                      theirs, tool ? tool : "an unnamed tool", model_path, tfm_vocab_id(vocab),
                      model_path);
        goto fail;
    }
    if (!how || !strstr(how, "special=none")) p->tokenize_flags |= TFM_TOK_ADD_SPECIAL;
    if (how && strstr(how, "parse-special=yes")) p->tokenize_flags |= TFM_TOK_PARSE_SPECIAL;
    p->strict_unk = how && strstr(how, "strict-unk=yes");
    if ((st = tfm_tokenizer_new(&p->tokenizer, vocab, err)) != TFM_OK) goto fail;
    *out = p;
    return TFM_OK;
fail:
    tfm_prompts_free(p);
    return st;
}

void tfm_prompts_free(tfm_prompts *p) {
    if (!p) return;
    size_t at = 0;
    for (open_group *o; p->open && (o = tfm_group_map_next(p->open, &at)) != NULL;) group_free(o);
    tfm_group_map_free(p->open);
    tfm_free(p->rest);
    group_free(p->given);
    passed_free(&p->of_stream);
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

static tfm_status take_tokens(tfm_prompts *p, open_group *o, const tfm_record *rec,
                              tfm_error *err) {
    const void *payload;
    size_t n = rec->dims[0];

    TFM_TRY(tfm_reader_payload(p->reader, &payload, err));
    if (rec->dtype != TFM_I32 || rec->rank != 1)
        return tfm_fail(err, TFM_FORMAT,
                        "record %u: tokens must be i32 of rank 1, not %s of rank %u", rec->seq,
                        tfm_dtype_name((tfm_dtype)rec->dtype), rec->rank);
    if (rec->position > o->prompt.n) {
        const char why[] = "tokens are missing between two records of the group";
        return group_fail(o, NULL, why, sizeof why - 1, err);
    }
    size_t len = rec->position + n; /* a lower position cuts the group first */
    TFM_TRY(tfm_grow((void **)&o->prompt.ids, &o->ids_cap, len, sizeof *o->prompt.ids, err));
    /* A record of no tokens leaves the array NULL, which memcpy must not be given. */
    if (n > 0) memcpy(o->prompt.ids + rec->position, payload, n * sizeof *o->prompt.ids);
    o->prompt.n = len;
    return TFM_OK;
}

/* The group begins with the first ids of another that is open. */
static tfm_status take_fork(tfm_prompts *p, open_group *o, const tfm_record *rec, tfm_error *err) {
    const open_group *parent;
    const void *payload;
    tfm_prompt *q = &o->prompt;

    TFM_TRY(tfm_reader_payload(p->reader, &payload, err));
    if (rec->dtype != TFM_I32 || rec->bytes != 8)
        return tfm_fail(err, TFM_FORMAT, "record %u: a FORK holds two i32: parent and length",
                        rec->seq);
    uint32_t from = tfm_load_u32(payload), len = tfm_load_u32((const char *)payload + 4);
    parent = tfm_group_map_find(p->open, from);
    const bool is_new = parent != o && !q->n && !o->passed.n && !q->message;
    if (len > (parent ? parent->prompt.n : 0) || !is_new)
        return tfm_fail(err, TFM_FORMAT,
                        "record %u: FORK of group %u at %u into %u: the parent must be open and as "
                        "long, the new group not open",
                        rec->seq, from, len, rec->group);
    if (len > FORKED_MAX - p->n_forked)
        return tfm_fail(err, TFM_LIMIT,
                        "record %u: open groups have more than %u tokens by FORK; end some first",
                        rec->seq, FORKED_MAX);
    TFM_TRY(tfm_grow((void **)&q->ids, &o->ids_cap, len, sizeof *q->ids, err));
    o->n_forked = len;
    p->n_forked += len;
    if (len) memcpy(q->ids, parent->prompt.ids, len * sizeof *q->ids);
    q->n = len;
    if (!parent || !parent->prompt.message) return TFM_OK;
    return group_fail(o, parent->prompt.program, parent->prompt.message,
                      strlen(parent->prompt.message), err);
}

static tfm_status take_other(tfm_prompts *p, open_group *o, const tfm_record *rec, tfm_error *err) {
    const void *payload;

    TFM_TRY(tfm_reader_payload(p->reader, &payload, err));
    if (rec->type == TFM_REC_ERROR) return group_fail(o, rec->name, payload, rec->bytes, err);
    return passed_add(&o->passed, rec, payload, err);
}

static tfm_status take_of_stream(tfm_prompts *p, const tfm_record *rec, tfm_error *err) {
    const void *payload;

    TFM_TRY(tfm_reader_payload(p->reader, &payload, err));
    return passed_add(&p->of_stream, rec, payload, err);
}

/* Raw bytes become text, text becomes tokens. */
static tfm_status to_tokens(tfm_prompts *p, open_group *o, tfm_error *err) {
    tfm_prompt *q = &o->prompt;
    tfm_error why = {0};
    tfm_ids ids = {0};
    uint64_t unknown = 0;
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
    st = tfm_tokenize(p->tokenizer, text, q->n, p->tokenize_flags, &ids, &unknown, &why);
    tfm_free(text);
    if (st == TFM_OK && p->strict_unk && unknown)
        st = tfm_fail(&why, TFM_RECORD, "characters that are not in the vocabulary: %llu",
                      (unsigned long long)unknown);
    if (st != TFM_OK) {
        tfm_ids_free(&ids);
        if (st == TFM_RECORD) return group_fail(o, NULL, why.message, strlen(why.message), err);
        if (err) *err = why;
        return st;
    }
    p->unknown += unknown;
    tfm_free(q->ids);
    q->ids = ids.data;
    q->n = ids.len;
    o->ids_cap = ids.cap;
    return TFM_OK;
}

/* What goes on with a group: the records of the stream so far, then the group's own. */
static tfm_status attach_passed(tfm_prompts *p, open_group *to, passed_list *own, tfm_error *err) {
    TFM_TRY(passed_join(&to->passed, &p->of_stream, own, err));
    to->prompt.passed = to->passed.at;
    to->prompt.n_passed = to->passed.n;
    return TFM_OK;
}

static tfm_status give(tfm_prompts *p, open_group *o, bool flush, tfm_prompt *out, tfm_error *err) {
    tfm_group_map_remove(p->open, o->prompt.group);
    p->n_forked -= o->n_forked;
    p->given = o;
    TFM_TRY(attach_passed(p, o, &o->passed, err));
    if (p->has_turns) {
        o->prompt.has_ended = true;
        *out = o->prompt;
        return TFM_OK;
    }
    if (p->tokenizer && !o->prompt.message) TFM_TRY(to_tokens(p, o, err));
    o->prompt.flush |= flush;
    *out = o->prompt;
    return TFM_OK;
}

/* A turn: what the group has come to is given out as a copy, the group stays open. Records that
 * came with it go with the copy. */
static tfm_status give_turn(tfm_prompts *p, open_group *o, tfm_prompt *out, tfm_error *err) {
    open_group *copy = NULL;
    tfm_prompt *to;

    TFM_TRY(tfm_alloc((void **)&copy, 1, sizeof *copy, err));
    p->given = copy;
    to = &copy->prompt;
    to->group = o->prompt.group;
    to->is_turn = to->flush = true;
    TFM_TRY(attach_passed(p, copy, &o->passed, err));
    TFM_TRY(tfm_grow((void **)&to->ids, &copy->ids_cap, o->prompt.n, sizeof *to->ids, err));
    if (o->prompt.n) memcpy(to->ids, o->prompt.ids, o->prompt.n * sizeof *to->ids);
    to->n = o->prompt.n;
    if (o->prompt.message)
        TFM_TRY(
            group_fail(copy, o->prompt.program, o->prompt.message, strlen(o->prompt.message), err));
    else if (p->tokenizer)
        TFM_TRY(to_tokens(p, copy, err));
    *out = *to;
    return TFM_OK;
}

const tfm_passed *tfm_prompts_rest(const tfm_prompts *p, size_t *n) {
    *n = p->of_stream.n;
    return p->of_stream.at;
}

uint64_t tfm_prompts_unknown(const tfm_prompts *p) {
    return p->unknown;
}

bool tfm_prompts_has_turns(const tfm_prompts *p) {
    return p->has_turns;
}

tfm_status tfm_prompts_append(tfm_prompts *p, uint32_t group, int32_t id, tfm_error *err) {
    open_group *o = tfm_group_map_find(p->open, group);

    if (!o || p->tokenizer) return TFM_OK; /* positions of raw bytes are of bytes */
    TFM_TRY(tfm_grow((void **)&o->prompt.ids, &o->ids_cap, o->prompt.n + 1, sizeof id, err));
    o->prompt.ids[o->prompt.n++] = id;
    return TFM_OK;
}

static int by_arrival(const void *a, const void *b) {
    const open_group *x = *(open_group *const *)a, *y = *(open_group *const *)b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* At END: the groups that had no GROUP-END, to be given in order of arrival. */
static tfm_status line_up(tfm_prompts *p, tfm_error *err) {
    size_t at = 0;

    TFM_TRY(tfm_alloc((void **)&p->rest, tfm_group_map_count(p->open), sizeof *p->rest, err));
    for (open_group *o; (o = tfm_group_map_next(p->open, &at)) != NULL;) p->rest[p->n_rest++] = o;
    qsort(p->rest, p->n_rest, sizeof(open_group *), by_arrival);
    p->ended = true;
    return TFM_OK;
}

/* *is_there NULL: waits; else it is set to whether there was a group without waiting. */
static tfm_status next(tfm_prompts *p, tfm_prompt *out, bool *is_there, tfm_error *err) {
    tfm_record rec;
    open_group *o;
    tfm_status st;

    group_free(p->given);
    p->given = NULL;
    while (!p->ended) {
        if (is_there && !(*is_there = tfm_reader_ready(p->reader))) return TFM_OK;
        st = tfm_reader_next(p->reader, &rec, err);
        if (st == TFM_DONE) {
            TFM_TRY(line_up(p, err));
            break;
        }
        if (st != TFM_OK) return st;
        if (!tfm_record_has_group(&rec)) {
            TFM_TRY(take_of_stream(p, &rec, err));
            continue;
        }
        TFM_TRY(group_get(p, rec.group, &o, err));
        bool flush = rec.flags & TFM_FLAG_FLUSH;
        if (rec.type == TFM_REC_GROUP_END) return give(p, o, flush, out, err);
        o->prompt.flush |= flush;
        if (rec.type == TFM_REC_TENSOR && strcmp(rec.name, "tokens") == 0)
            TFM_TRY(take_tokens(p, o, &rec, err));
        else if (rec.type == TFM_REC_FORK)
            TFM_TRY(take_fork(p, o, &rec, err));
        else
            TFM_TRY(take_other(p, o, &rec, err));
        if (p->has_turns && flush && (rec.flags & TFM_FLAG_LAST)) return give_turn(p, o, out, err);
    }
    if (p->next_rest == p->n_rest) return TFM_DONE;
    return give(p, p->rest[p->next_rest++], false, out, err);
}

tfm_status tfm_prompts_next(tfm_prompts *p, tfm_prompt *out, tfm_error *err) {
    return next(p, out, NULL, err);
}

tfm_status tfm_prompts_poll(tfm_prompts *p, tfm_prompt *out, bool *is_there, tfm_error *err) {
    *is_there = true;
    return next(p, out, is_there, err);
}
