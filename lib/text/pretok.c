/* pretok.c - the pre-tokenizer: patterns that cut a text into the pieces within which BPE merges.
 *
 * The patterns come from tokenizer.json and are written for Oniguruma (Ruby's syntax); PCRE2 with
 * Unicode properties agrees with it but for a few spellings, which translate() rewrites or refuses.
 * Each pattern is applied to every piece that the one before it left, and sees nothing outside that
 * piece; what matches and what lies between matches both become pieces ("isolated").
 *
 * A pattern is data from outside: what it may cost per match is limited. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/text_internal.h"

struct tfm_pretok {
    uint32_t n;
    pcre2_general_context *general;
    pcre2_code *code[TFM_PATTERNS_MAX];
};

enum {
    STEPS_MIN = 10000000, /* match steps that any text may take (PCRE2's own default) */
    STEPS_PER_BYTE = 16,  /* and what a long one gets on top, */
    LONG_TEXT = 1 << 27,  /* up to this many bytes */
    HEAP_KIB = 65536      /* of the interpreter, should the JIT's stack not do */
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

/* ---- from Oniguruma's spelling to PCRE2's ---- */

/* Unicode's White_Space; PCRE2's own \s has U+180E besides. */
#define SPACES                                                                                     \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"                 \
    "\\x{202f}\\x{205f}\\x{3000}"

static bool is_hex4(const char *s, size_t n) {
    return n >= 4 && strspn(s, "0123456789abcdefABCDEF") >= 4;
}

/* One escape at s[0..n), s[0] being the backslash; *used = its length. */
static tfm_status translate_escape(tfm_buf *b, const char *s, size_t n, bool in_class, size_t *used,
                                   tfm_error *err) {
    *used = 2;
    if (n < 2) return tfm_fail(err, TFM_FORMAT, "pre-tokenizer: a pattern ends with a backslash");
    switch (s[1]) {
    case 's': return tfm_buf_str(b, in_class ? SPACES : "[" SPACES "]", err);
    case 'S': return tfm_buf_str(b, in_class ? "\\S" : "[^" SPACES "]", err);
    case 'h': return tfm_buf_str(b, in_class ? "0-9a-fA-F" : "[0-9a-fA-F]", err);
    case 'u':
        if (!is_hex4(s + 2, n - 2)) break;
        *used = 6;
        return tfm_buf_printf(b, err, "\\x{%.4s}", s + 2);
    default: break;
    }
    return tfm_buf_add(b, s, 2, err);
}

static tfm_status translate(tfm_buf *b, const char *s, size_t n, tfm_error *err) {
    bool in_class = false;
    for (size_t i = 0, used; i < n; i += used) {
        used = 1;
        if (s[i] == '\\') {
            TFM_TRY(translate_escape(b, s + i, n - i, in_class, &used, err));
            continue;
        }
        if (in_class) {
            if ((s[i] == '[' && (i + 1 == n || s[i + 1] != ':')) ||
                (s[i] == '&' && i + 1 < n && s[i + 1] == '&'))
                return tfm_fail(err, TFM_UNSUPPORTED,
                                "pre-tokenizer: a pattern has nested or "
                                "intersected character classes, which are not supported");
            if (s[i] == '[') { /* [:alpha:] is copied whole: its ] ends no class */
                const char *end = memchr(s + i, ']', n - i);
                if (end) used = (size_t)(end - (s + i)) + 1;
            } else if (s[i] == ']') {
                in_class = false;
            }
        } else if (s[i] == '[') {
            in_class = true;
            if (i + 1 < n && s[i + 1] == '^') used++;
            if (i + used < n && s[i + used] == ']') used++; /* a first ] stands for itself */
        }
        TFM_TRY(tfm_buf_add(b, s + i, used, err));
    }
    return TFM_OK;
}

static tfm_status compile(tfm_pretok *p, pcre2_compile_context *cc, const char *s, size_t n,
                          tfm_error *err) {
    tfm_buf b = {0};
    int code;
    PCRE2_SIZE at;
    unsigned char why[200];
    tfm_status st = translate(&b, s, n, err);
    if (st == TFM_OK) {
        pcre2_code *c = pcre2_compile((PCRE2_SPTR)(b.data ? b.data : ""), b.len,
                                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &at, cc);
        if (c != NULL) {
            /* A processor without JIT is served by the interpreter: nothing to report. */
            pcre2_jit_compile(c, PCRE2_JIT_COMPLETE);
            p->code[p->n++] = c;
        } else if (code == PCRE2_ERROR_HEAP_FAILED) {
            st = tfm_fail(err, TFM_NOMEM, "out of memory");
        } else {
            pcre2_get_error_message(code, why, sizeof why);
            st = tfm_fail(err, TFM_UNSUPPORTED, "pre-tokenizer: pattern %u: %s", p->n + 1, why);
        }
    }
    tfm_buf_free(&b);
    return st;
}

tfm_status tfm_pretok_new(tfm_pretok **out, const tfm_vocab_settings *s, tfm_error *err) {
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
        st = compile(p, cc, s->pattern[i], s->pattern_len[i], err);
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
    for (uint32_t i = 0; i < p->n; i++) pcre2_code_free(p->code[i]);
    pcre2_general_context_free(p->general);
    tfm_free(p);
}

/* ---- splitting ---- */

/* The first match in s[from..n). *found = false: none. */
static tfm_status match(tfm_tok_run *r, pcre2_code *code, const unsigned char *s, size_t n,
                        size_t from, bool *found, size_t *begin, size_t *end) {
    int rc = pcre2_match(code, s, n, from, PCRE2_NO_UTF_CHECK, r->match, r->match_ctx);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->match,
                         r->match_ctx);
    *found = rc >= 0;
    if (rc >= 0) {
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(r->match);
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

static tfm_status split(tfm_tok_run *r, uint32_t level, const unsigned char *s, size_t n,
                        tfm_piece_fn fn) {
    const tfm_pretok *p = r->t->pretok;
    size_t done = 0, from = 0, begin, end;
    bool found;
    if (level == p->n) return fn(r, s, n);
    while (from < n) {
        TFM_TRY(match(r, p->code[level], s, n, from, &found, &begin, &end));
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

tfm_status tfm_pretok_split(tfm_tok_run *r, const unsigned char *text, size_t n, tfm_piece_fn fn) {
    const tfm_pretok *p = r->t->pretok;
    if (p == NULL) return fn(r, text, n);
    if (r->match == NULL) r->match = pcre2_match_data_create(1, p->general);
    if (r->match_ctx == NULL) r->match_ctx = pcre2_match_context_create(p->general);
    if (r->match == NULL || r->match_ctx == NULL)
        return tfm_fail(r->err, TFM_NOMEM, "out of memory");
    size_t counted = n < LONG_TEXT ? n : LONG_TEXT;
    pcre2_set_match_limit(r->match_ctx, (uint32_t)(STEPS_MIN + STEPS_PER_BYTE * counted));
    pcre2_set_heap_limit(r->match_ctx, HEAP_KIB);
    return split(r, 0, text, n, fn);
}

void tfm_pretok_run_free(tfm_tok_run *r) {
    pcre2_match_data_free(r->match);
    pcre2_match_context_free(r->match_ctx);
}
