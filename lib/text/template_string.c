/* template_string.c - strings that remember where each byte came from, and what Python's str does.
 *
 * A part of a string borrows its bytes; what is put together is copied. As long as all bytes have
 * one origin there is no mask, which is the rule: messages are content, the template is not. */
#include <utf8proc.h>

#include "base/utf8_internal.h"
#include "text/template_internal.h"

/* ---- making strings ---- */

static tfm_status text_room(tp_run *r, tp_text *t, size_t n) {
    void *p, *mask;
    if (n <= t->cap - t->n) return TFM_OK;
    size_t cap = t->cap + t->cap / 2;
    if (cap < t->n + n) cap = t->n + n;
    if (cap < 32) cap = 32;
    TFM_TRY(tfm_tp_alloc(r, &p, cap));
    TFM_TRY(tfm_tp_alloc(r, &mask, cap));
    if (t->n) {
        memcpy(p, t->p, t->n);
        memcpy(mask, t->mask, t->n);
    }
    t->p = p;
    t->mask = mask;
    t->cap = cap;
    return TFM_OK;
}

tfm_status tfm_tp_text_bytes(tp_run *r, tp_text *t, const char *p, size_t n, bool own) {
    if (n == 0) return TFM_OK;
    TFM_TRY(tfm_tp_work(r, n / 32));
    TFM_TRY(text_room(r, t, n));
    memcpy(t->p + t->n, p, n);
    memset(t->mask + t->n, own, n);
    t->n += n;
    return TFM_OK;
}

tfm_status tfm_tp_text_str(tp_run *r, tp_text *t, const tp_str *s) {
    if (s->mask == NULL) return tfm_tp_text_bytes(r, t, s->p, s->n, s->own);
    TFM_TRY(tfm_tp_text_bytes(r, t, s->p, s->n, false));
    memcpy(t->mask + t->n - s->n, s->mask, s->n);
    return TFM_OK;
}

tp_str tfm_tp_part(const tp_str *s, size_t from, size_t to) {
    return (tp_str){s->p + from, to - from, s->mask ? s->mask + from : NULL, s->own, false};
}

tfm_status tfm_tp_text_part(tp_run *r, tp_text *t, const tp_str *s, size_t from, size_t to) {
    tp_str part = tfm_tp_part(s, from, to);
    return part.n ? tfm_tp_text_str(r, t, &part) : TFM_OK;
}

tfm_status tfm_tp_str(tp_run *r, tp_str s, tp_val *out) {
    void *p;
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof s));
    *(tp_str *)p = s;
    *out = (tp_val){.kind = TP_STR, .u.s = p};
    return TFM_OK;
}

tfm_status tfm_tp_text_done(tp_run *r, const tp_text *t, tp_val *out) {
    return tfm_tp_str(r, (tp_str){.p = t->p ? t->p : "", .n = t->n, .mask = t->mask}, out);
}

tfm_status tfm_tp_bytes(tp_run *r, const char *p, size_t n, bool own, tp_val *out) {
    void *copy;
    TFM_TRY(tfm_tp_alloc(r, &copy, n + 1));
    if (n) memcpy(copy, p, n);
    return tfm_tp_str(r, (tp_str){.p = copy, .n = n, .own = own}, out);
}

tfm_status tfm_tp_concat(tp_run *r, const tp_str *a, const tp_str *b, tp_val *out) {
    tp_text t = {0};
    if (a->n == 0) return tfm_tp_str(r, *b, out);
    if (b->n == 0) return tfm_tp_str(r, *a, out);
    if (a->mask == NULL && b->mask == NULL && a->own == b->own) {
        void *p;
        TFM_TRY(tfm_tp_work(r, (a->n + b->n) / 32));
        TFM_TRY(tfm_tp_alloc(r, &p, a->n + b->n));
        memcpy(p, a->p, a->n);
        memcpy((char *)p + a->n, b->p, b->n);
        return tfm_tp_str(r, (tp_str){.p = p, .n = a->n + b->n, .own = a->own}, out);
    }
    TFM_TRY(text_room(r, &t, a->n + b->n));
    TFM_TRY(tfm_tp_text_str(r, &t, a));
    TFM_TRY(tfm_tp_text_str(r, &t, b));
    return tfm_tp_text_done(r, &t, out);
}

/* ---- looking ---- */

bool tfm_tp_str_equal(const tp_str *a, const tp_str *b) {
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

bool tfm_tp_str_is(const tp_str *s, const char *text) {
    return s->n == strlen(text) && memcmp(s->p, text, s->n) == 0;
}

size_t tfm_tp_find(const tp_str *s, const tp_str *what, size_t from) {
    if (from > s->n) return SIZE_MAX;
    if (what->n == 0) return from;
    const char *p = memmem(s->p + from, s->n - from, what->p, what->n);
    return p ? (size_t)(p - s->p) : SIZE_MAX;
}

size_t tfm_tp_rfind(const tp_str *s, const tp_str *what) {
    if (what->n > s->n) return SIZE_MAX;
    for (size_t i = s->n - what->n + 1; i-- > 0;)
        if (what->n == 0 || memcmp(s->p + i, what->p, what->n) == 0) return i;
    return SIZE_MAX;
}

size_t tfm_tp_step(const char *p, size_t n) {
    size_t len = 1;
    while (len < n && ((unsigned char)p[len] & 0xc0) == 0x80) len++;
    return len;
}

size_t tfm_tp_length(const tp_str *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) n += ((unsigned char)s->p[i] & 0xc0) != 0x80;
    return n;
}

uint32_t tfm_tp_char(const char *p, size_t n, size_t *len) {
    uint32_t cp = (unsigned char)p[0];
    *len = 1;
    if (cp >= 0x80) *len = tfm_utf8_decode((const unsigned char *)p, n, &cp, NULL);
    return cp;
}

uint32_t tfm_tp_last_char(const char *p, size_t n, size_t *len) {
    size_t i = n - 1;
    while (i > 0 && n - i < 4 && ((unsigned char)p[i] & 0xc0) == 0x80) i--;
    return tfm_tp_char(p + i, n - i, len);
}

bool tfm_tp_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool is_among(uint32_t c, const tp_str *chars) {
    size_t len;
    if (chars == NULL) return tfm_tp_is_space(c);
    for (size_t i = 0; i < chars->n; i += len)
        if (tfm_tp_char(chars->p + i, chars->n - i, &len) == c) return true;
    return false;
}

tp_str tfm_tp_strip(const tp_str *s, const tp_str *chars, unsigned sides) {
    size_t from = 0, to = s->n, len;
    while ((sides & TP_LEFT) && from < to &&
           is_among(tfm_tp_char(s->p + from, to - from, &len), chars))
        from += len;
    while ((sides & TP_RIGHT) && to > from &&
           is_among(tfm_tp_last_char(s->p + from, to - from, &len), chars))
        to -= len;
    return tfm_tp_part(s, from, to);
}

/* ---- case ---- */

/* Letters whose other case is several letters, or depends on what stands around them. */
static bool is_special_case(uint32_t c) {
    return c == 0xdf || c == 0x130 || c == 0x149 || c == 0x1f0 || c == 0x345 || c == 0x390 ||
           c == 0x3a3 || c == 0x3b0 || c == 0x587 || (c >= 0x1e96 && c <= 0x1e9e) ||
           (c >= 0x1f50 && c <= 0x1f56) || (c >= 0x1f80 && c <= 0x1ffc) ||
           (c >= 0xfb00 && c <= 0xfb17);
}

static bool is_cased(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT ||
           utf8proc_toupper((utf8proc_int32_t)c) != (utf8proc_int32_t)c;
}

/* Where the filter title begins a word. */
static bool splits_words(uint32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || tfm_tp_is_space(c);
}

tfm_status tfm_tp_case(tp_run *r, const tp_str *s, tp_case how, tp_val *out) {
    tp_text t = {0};
    size_t len;
    bool begins = true; /* title case: a word; capitalize: the text */
    TFM_TRY(text_room(r, &t, s->n));
    for (size_t i = 0; i < s->n; i += len) {
        unsigned char bytes[4];
        uint32_t c = tfm_tp_char(s->p + i, s->n - i, &len);
        if (is_special_case(c))
            return tfm_tp_fail(r, "the case of U+%04X is not supported", (unsigned)c);
        utf8proc_int32_t to = (utf8proc_int32_t)c;
        if (how == TP_UPPER || (how == TP_WORDS && begins))
            to = utf8proc_toupper(to);
        else if (begins && how != TP_LOWER)
            to = utf8proc_totitle(to);
        else
            to = utf8proc_tolower(to);
        size_t n = tfm_utf8_encode((uint32_t)to, bytes);
        TFM_TRY(tfm_tp_text_bytes(r, &t, (const char *)bytes, n, tfm_tp_own_at(s, i)));
        begins = how == TP_TITLE ? !is_cased(c) : how == TP_WORDS && splits_words(c);
    }
    return tfm_tp_text_done(r, &t, out);
}

/* ---- replace and split ---- */

tfm_status tfm_tp_replace(tp_run *r, const tp_str *s, const tp_str *old, const tp_str *with,
                          int64_t most, tp_val *out) {
    tp_text t = {0};
    size_t done = 0, at;
    if (old->n == 0) { /* before every character and at the end */
        for (size_t i = 0; most != 0; most--) {
            TFM_TRY(tfm_tp_text_str(r, &t, with));
            TFM_TRY(tfm_tp_work(r, 1));
            if (i >= s->n) break;
            size_t len = tfm_tp_step(s->p + i, s->n - i);
            TFM_TRY(tfm_tp_text_part(r, &t, s, i, i + len));
            done = i += len;
        }
    } else {
        for (; most != 0 && (at = tfm_tp_find(s, old, done)) != SIZE_MAX; most--) {
            TFM_TRY(tfm_tp_text_part(r, &t, s, done, at));
            TFM_TRY(tfm_tp_text_str(r, &t, with));
            TFM_TRY(tfm_tp_work(r, 1));
            done = at + old->n;
        }
        if (done == 0) return tfm_tp_str(r, *s, out);
    }
    TFM_TRY(tfm_tp_text_part(r, &t, s, done, s->n));
    return tfm_tp_text_done(r, &t, out);
}

static tfm_status push_part(tp_run *r, tp_val *list, const tp_str *s, size_t from, size_t to) {
    tp_val v;
    TFM_TRY(tfm_tp_work(r, 1));
    TFM_TRY(tfm_tp_str(r, tfm_tp_part(s, from, to), &v));
    return tfm_tp_list_push(r, list->u.list, v);
}

static tfm_status split_space(tp_run *r, const tp_str *s, int64_t most, tp_val *out) {
    size_t i = 0, len;
    for (;; most--) {
        while (i < s->n && tfm_tp_is_space(tfm_tp_char(s->p + i, s->n - i, &len))) i += len;
        if (i >= s->n) return TFM_OK;
        size_t from = i;
        if (most == 0) { /* the rest, as it is but for the space at its end */
            tp_str rest = tfm_tp_part(s, from, s->n);
            return push_part(r, out, s, from, from + tfm_tp_strip(&rest, NULL, TP_RIGHT).n);
        }
        while (i < s->n && !tfm_tp_is_space(tfm_tp_char(s->p + i, s->n - i, &len))) i += len;
        TFM_TRY(push_part(r, out, s, from, i));
    }
}

tfm_status tfm_tp_split(tp_run *r, const tp_str *s, const tp_str *sep, int64_t most, tp_val *out) {
    size_t done = 0, at;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, 4, out));
    TFM_TRY(tfm_tp_work(r, s->n / 32));
    if (sep == NULL) return split_space(r, s, most, out);
    if (sep->n == 0) return tfm_tp_fail(r, "split: empty separator");
    for (; most != 0 && (at = tfm_tp_find(s, sep, done)) != SIZE_MAX; most--) {
        TFM_TRY(push_part(r, out, s, done, at));
        done = at + sep->n;
    }
    return push_part(r, out, s, done, s->n);
}

static tfm_status rsplit_space(tp_run *r, const tp_str *s, int64_t most, tp_val *out) {
    size_t i = s->n, len;
    for (;; most--) {
        while (i > 0 && tfm_tp_is_space(tfm_tp_last_char(s->p, i, &len))) i -= len;
        if (i == 0) return TFM_OK;
        size_t to = i;
        if (most == 0) {
            tp_str rest = tfm_tp_part(s, 0, to);
            return push_part(r, out, s, to - tfm_tp_strip(&rest, NULL, TP_LEFT).n, to);
        }
        while (i > 0 && !tfm_tp_is_space(tfm_tp_last_char(s->p, i, &len))) i -= len;
        TFM_TRY(push_part(r, out, s, i, to));
    }
}

tfm_status tfm_tp_rsplit(tp_run *r, const tp_str *s, const tp_str *sep, int64_t most, tp_val *out) {
    size_t end = s->n, at;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, 4, out));
    TFM_TRY(tfm_tp_work(r, s->n / 8));
    if (sep && sep->n == 0) return tfm_tp_fail(r, "rsplit: empty separator");
    if (sep == NULL) {
        TFM_TRY(rsplit_space(r, s, most, out));
    } else {
        for (; most != 0; most--) {
            tp_str head = tfm_tp_part(s, 0, end);
            if ((at = tfm_tp_rfind(&head, sep)) == SIZE_MAX) break;
            TFM_TRY(push_part(r, out, s, at + sep->n, end));
            end = at;
        }
        TFM_TRY(push_part(r, out, s, 0, end));
    }
    tp_list *l = out->u.list;
    for (size_t i = 0; i < l->n / 2; i++) {
        tp_val v = l->item[i];
        l->item[i] = l->item[l->n - 1 - i];
        l->item[l->n - 1 - i] = v;
    }
    return TFM_OK;
}

static bool ends_line(uint32_t c) {
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

tfm_status tfm_tp_splitlines(tp_run *r, const tp_str *s, bool keep, tp_val *out) {
    size_t done = 0, len;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, 4, out));
    TFM_TRY(tfm_tp_work(r, s->n / 8));
    for (size_t i = 0; i < s->n;) {
        uint32_t c = tfm_tp_char(s->p + i, s->n - i, &len);
        size_t end = i;
        i += len;
        if (!ends_line(c)) continue;
        if (c == '\r' && i < s->n && s->p[i] == '\n') i++;
        TFM_TRY(push_part(r, out, s, done, keep ? i : end));
        done = i;
    }
    return done < s->n ? push_part(r, out, s, done, s->n) : TFM_OK;
}
