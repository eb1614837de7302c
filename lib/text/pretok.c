/* pretok.c - the pre-tokenizer: patterns that cut a text into the pieces within which BPE merges.
 *
 * The patterns come from tokenizer.json; pattern.c makes PCRE2's of them. Each pattern is applied
 * to every piece that the one before it left, and sees nothing outside that piece; what matches and
 * what lies between matches both become pieces ("isolated").
 *
 * Patterns of the plain kind, which are nearly all that models have, are matched by scan.c.
 *
 * A pattern is data from outside: what it may cost is limited, for a text as a whole and in
 * proportion to its length. PCRE2 counts the steps of one match only, and one step may pass over
 * any number of characters. So a match begins with few steps and a short window of the text; where
 * PCRE2 wants more of either (match limit, partial match) it gets four times as much and the text
 * is charged for it. Where a match ends does not depend on windows: PCRE2 says when it has looked
 * at their end. */
#include "text/scan_internal.h"

struct tfm_pretok {
    uint32_t n;       /* levels: the patterns, then the regexes of the steps of all lists */
    uint32_t n_split; /* the patterns */
    uint32_t of_step[TFM_LIST_KINDS][TFM_STEPS_MAX]; /* the level of a step's regex */
    pcre2_general_context *general;
    struct {
        pcre2_code *code; /* the pattern; with a scan, its question */
        tfm_scan *scan;   /* NULL: PCRE2 matches */
        bool is_whole; /* no windows: \K moves where a match begins, \G asks where the search did */
    } level[TFM_PATTERNS_MAX + TFM_LIST_KINDS * TFM_STEPS_MAX];
};

enum {
    STEPS_MIN = 1000000, /* characters looked at and match steps that any text may take, */
    STEPS_PER_BYTE = 64, /* and what each byte adds; known patterns take up to 5 */
    STEPS_FIRST = 256,   /* of a match before it is charged */
    WINDOW_FIRST = 256,  /* bytes */
    WHOLE_PER_STEP = 16, /* bytes that a match without windows may pass over for a step */
    SCANS_MAX = 6,   /* as many patterns as known models have; a table grows to 9 MiB of facts */
    HEAP_KIB = 65536 /* of the interpreter, should the JIT's stack not do */
};

static void *pcre_malloc(size_t n, void *ctx) {
    void *p;
    (void)ctx;
    return tfm_alloc(&p, n, 1, NULL) == TFM_OK ? p : NULL;
}

static void pcre_free(void *p, void *ctx) {
    (void)ctx;
    tfm_free(p);
}

/* PCRE2's code of a translated pattern. */
static tfm_status compile_text(tfm_pretok *p, pcre2_compile_context *cc, const tfm_buf *b,
                               tfm_error *err) {
    int code;
    PCRE2_SIZE at;
    unsigned char why[200];
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)(b->data ? b->data : ""), b->len,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE |
                                      PCRE2_NEVER_BACKSLASH_C, /* parts are whole characters */
                                  &code, &at, cc);
    p->level[p->n].code = c;
    if (c != NULL) return TFM_OK;
    if (code == PCRE2_ERROR_HEAP_FAILED) return tfm_fail(err, TFM_NOMEM, "out of memory");
    pcre2_get_error_message(code, why, sizeof why);
    return tfm_fail(err, TFM_UNSUPPORTED, "pre-tokenizer: pattern %u: %s", p->n + 1, why);
}

static tfm_status compile(tfm_pretok *p, pcre2_compile_context *cc, const char *s, size_t n,
                          bool plain, tfm_error *err) {
    tfm_buf b = {0};
    tfm_scan *scan = NULL;
    tfm_status st = tfm_pattern_translate(&b, s, n, err);
    if (st == TFM_OK && plain && p->n < SCANS_MAX)
        st = tfm_scan_new(&scan, b.data ? b.data : "", b.len, err);
    if (st == TFM_OK) st = compile_text(p, cc, scan ? tfm_scan_question(scan) : &b, err);
    if (st == TFM_OK) {
        p->level[p->n].scan = scan;
        p->level[p->n].is_whole =
            b.data != NULL && (strstr(b.data, "\\K") != NULL || strstr(b.data, "\\G") != NULL);
        /* A processor without JIT is served by the interpreter: nothing to report. */
        if (scan == NULL)
            pcre2_jit_compile(p->level[p->n].code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
        p->n++;
    } else {
        tfm_scan_free(scan);
    }
    tfm_buf_free(&b);
    return st;
}

/* The regexes of the steps of a list, which are of this kind. */
static tfm_status compile_steps(tfm_pretok *p, pcre2_compile_context *cc, tfm_list list,
                                unsigned kind, const tfm_steps *l, bool plain, tfm_error *err) {
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->step[i].kind != kind) continue;
        p->of_step[list][i] = p->n;
        TFM_TRY(compile(p, cc, l->step[i].a, l->step[i].a_len, plain, err));
    }
    return TFM_OK;
}

tfm_status tfm_pretok_new(tfm_pretok **out, const tfm_vocab_settings *s, bool plain,
                          tfm_error *err) {
    void *q;
    tfm_status st = TFM_OK;
    *out = NULL;
    TFM_TRY(tfm_alloc(&q, 1, sizeof(tfm_pretok), err));
    tfm_pretok *p = q;
    pcre2_compile_context *cc = NULL;
    p->general = pcre2_general_context_create(pcre_malloc, pcre_free, NULL);
    if (p->general) cc = pcre2_compile_context_create(p->general);
    if (cc == NULL)
        st = tfm_fail(err, TFM_NOMEM, "out of memory");
    else
        pcre2_set_newline(cc, PCRE2_NEWLINE_LF);
    for (uint32_t i = 0; i < s->n_patterns && st == TFM_OK; i++)
        st = compile(p, cc, s->pattern[i], s->pattern_len[i], plain, err);
    p->n_split = p->n;
    if (st == TFM_OK)
        st = compile_steps(p, cc, TFM_LIST_NORM, TFM_STEP_REPLACE_REGEX, &s->steps, plain, err);
    if (st == TFM_OK)
        st = compile_steps(p, cc, TFM_LIST_SPLIT, TFM_SPLIT_REGEX, &s->splitter, plain, err);
    if (st == TFM_OK)
        st = compile_steps(p, cc, TFM_LIST_DECODE, TFM_DECODE_REPLACE_REGEX, &s->decoder, plain,
                           err);
    pcre2_compile_context_free(cc);
    if (st != TFM_OK) {
        tfm_pretok_free(p);
        return st;
    }
    *out = p;
    return TFM_OK;
}

void tfm_pretok_free(tfm_pretok *p) {
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->n; i++) {
        pcre2_code_free(p->level[i].code);
        tfm_scan_free(p->level[i].scan);
    }
    pcre2_general_context_free(p->general);
    tfm_free(p);
}

/* ---- splitting ---- */

/* Takes steps from what the text may cost. */
static tfm_status spend(tfm_tok_run *r, uint64_t steps) {
    r->steps += steps;
    if (r->steps <= r->steps_max) return TFM_OK;
    return tfm_fail(r->err, TFM_RECORD, "pre-tokenizer: the pattern takes too long on this text");
}

/* One call of PCRE2 on s[0..n). */
static int call(tfm_tok_run *r, const pcre2_code *code, const unsigned char *s, size_t n,
                size_t from, bool is_part, uint32_t limit) {
    uint32_t how = PCRE2_NO_UTF_CHECK | (is_part ? PCRE2_PARTIAL_HARD : 0u);
    pcre2_set_match_limit(r->match_ctx, limit);
    int rc = pcre2_match(code, s, n, from, how, r->match, r->match_ctx);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, s, n, from, how | PCRE2_NO_JIT, r->match, r->match_ctx);
    return rc;
}

/* The first match in s[from..n). *found = false: none. */
static tfm_status match(tfm_tok_run *r, uint32_t level, const unsigned char *s, size_t n,
                        size_t from, bool *found, size_t *begin, size_t *end) {
    const pcre2_code *code = r->t->pretok->level[level].code;
    size_t window = r->t->pretok->level[level].is_whole ? n : WINDOW_FIRST, start = from, to;
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(r->match);
    uint32_t limit = STEPS_FIRST;
    int rc;
    if (r->t->pretok->level[level].is_whole) TFM_TRY(spend(r, (n - from) / WHOLE_PER_STEP));
    for (;;) {
        to = n - start > window ? start + window : n;
        while (to < n && (s[to] & 0xc0) == 0x80) to++;
        rc = call(r, code, s, to, start, to < n, limit);
        if (rc == PCRE2_ERROR_NOMATCH && to < n) {
            start = to; /* nothing begins before */
        } else if (rc == PCRE2_ERROR_PARTIAL && o[0] > start && o[0] < to) {
            start = o[0];
        } else if (rc == PCRE2_ERROR_PARTIAL) {
            window *= 4;
            TFM_TRY(spend(r, window < n ? window : n));
        } else if (rc == PCRE2_ERROR_MATCHLIMIT && limit <= UINT32_MAX / 4) {
            limit *= 4;
            TFM_TRY(spend(r, limit));
        } else {
            break;
        }
    }
    *found = rc >= 0;
    if (rc >= 0) {
        *begin = o[0];
        *end = o[1];
        if (*begin < from || *end < *begin || *end > n)
            return tfm_fail(r->err, TFM_RECORD, "pre-tokenizer: a pattern matches backwards");
        return TFM_OK;
    }
    if (rc == PCRE2_ERROR_NOMATCH) return TFM_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return tfm_fail(r->err, TFM_NOMEM, "out of memory");
    unsigned char why[120];
    pcre2_get_error_message(rc, why, sizeof why);
    return tfm_fail(r->err, TFM_RECORD,
                    "pre-tokenizer: the pattern takes too long on this text (%s)", why);
}

/* The same by scan.c. */
static tfm_status scan(tfm_tok_run *r, uint32_t level, const unsigned char *s, size_t n,
                       size_t from, bool *found, size_t *begin, size_t *end) {
    tfm_scan_use use = {.scan = r->t->pretok->level[level].scan,
                        .question = r->t->pretok->level[level].code,
                        .table = r->tables[level],
                        .steps = r->steps,
                        .steps_max = r->steps_max,
                        .err = r->err};
    tfm_status st = tfm_scan_next(&use, s, n, from, found, begin, end);
    r->steps = use.steps;
    return st;
}

static tfm_status next(tfm_tok_run *r, uint32_t level, const unsigned char *s, size_t n,
                       size_t from, bool *found, size_t *begin, size_t *end) {
    return (r->t->pretok->level[level].scan ? scan : match)(r, level, s, n, from, found, begin,
                                                            end);
}

static tfm_status split(tfm_tok_run *r, uint32_t level, const unsigned char *s, size_t n,
                        tfm_piece_fn fn) {
    const tfm_pretok *p = r->t->pretok;
    size_t done = 0, from = 0, begin, end;
    bool found;
    if (level == p->n_split) return fn(r, s, n);
    while (from < n) {
        TFM_TRY(next(r, level, s, n, from, &found, &begin, &end));
        if (!found) break;
        if (begin > done) TFM_TRY(split(r, level + 1, s + done, begin - done, fn));
        if (end > begin) TFM_TRY(split(r, level + 1, s + begin, end - begin, fn));
        done = from = end;
        if (end == begin && end < n) { /* an empty match cuts; look on behind the next character */
            uint32_t cp;
            from += tfm_utf8_decode(s + end, n - end, &cp, NULL);
        }
    }
    return done < n ? split(r, level + 1, s + done, n - done, fn) : TFM_OK;
}

/* What a run needs to match. */
static tfm_status prepare(tfm_tok_run *r) {
    const tfm_pretok *p = r->t->pretok;
    void *tables;
    if (r->steps_max != 0) return TFM_OK;
    r->steps_max = STEPS_MIN + (uint64_t)STEPS_PER_BYTE * r->src_len;
    if (r->match == NULL) r->match = pcre2_match_data_create(1, p->general);
    if (r->match_ctx == NULL) {
        r->match_ctx = pcre2_match_context_create(p->general);
        if (r->match_ctx) pcre2_set_heap_limit(r->match_ctx, HEAP_KIB);
    }
    if (r->match == NULL || r->match_ctx == NULL)
        return tfm_fail(r->err, TFM_NOMEM, "out of memory");
    if (r->tables == NULL) {
        TFM_TRY(tfm_alloc(&tables, p->n, sizeof *r->tables, r->err));
        r->tables = tables;
    }
    for (uint32_t i = 0; i < p->n; i++)
        if (p->level[i].scan && !r->tables[i])
            TFM_TRY(tfm_scan_table_new(&r->tables[i], p->level[i].scan, p->general, r->err));
    return TFM_OK;
}

tfm_status tfm_pretok_split(tfm_tok_run *r, const unsigned char *text, size_t n, tfm_piece_fn fn) {
    if (r->t->pretok == NULL) return fn(r, text, n);
    TFM_TRY(prepare(r));
    return split(r, 0, text, n, fn);
}

tfm_status tfm_pretok_find(tfm_tok_run *r, tfm_list list, uint32_t step, const unsigned char *s,
                           size_t n, size_t from, bool *found, size_t *begin, size_t *end) {
    TFM_TRY(prepare(r));
    return next(r, r->t->pretok->of_step[list][step], s, n, from, found, begin, end);
}

void tfm_pretok_run_free(tfm_tok_run *r) {
    for (uint32_t i = 0; r->tables && i < r->t->pretok->n; i++) tfm_scan_table_free(r->tables[i]);
    tfm_free(r->tables);
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->match_ctx);
}
