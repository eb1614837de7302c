/* hf_merges.c - the merges of a tokenizer.json, read straight from its text.
 *
 * They are most of the file: 280,000 of them in Llama 3's. As a jansson tree each is two or three
 * allocations, some 300 bytes for ten of text. So their array is found by a scan, parsed here into
 * one block, and cut out of the text that jansson gets, which halves the memory that reading a
 * tokenizer.json takes.
 *
 * The scan only finds the array; whether the text around it is JSON is still jansson's to say. */
#include <string.h>

#include "base/utf8_internal.h"
#include "model/json_internal.h"

typedef struct scan {
    const unsigned char *p;
    uint64_t n, at;
} scan;

static void skip_space(scan *s) {
    while (s->at < s->n && (s->p[s->at] == ' ' || s->p[s->at] == '\n' || s->p[s->at] == '\r' ||
                            s->p[s->at] == '\t'))
        s->at++;
}

/* Takes `c` if it comes next. */
static bool take(scan *s, unsigned char c) {
    skip_space(s);
    if (s->at >= s->n || s->p[s->at] != c) return false;
    s->at++;
    return true;
}

/* Past the string whose opening quote is next. */
static void skip_string(scan *s) {
    for (s->at++; s->at < s->n && s->p[s->at] != '"'; s->at++)
        if (s->p[s->at] == '\\') s->at++;
    if (s->at < s->n) s->at++;
    if (s->at > s->n) s->at = s->n;
}

/* Is the string that was just skipped (from `from`) this key, with the value's first byte `open`
 * next? Then stands on that byte. */
static bool is_key(scan *s, uint64_t from, const char *key, unsigned char open) {
    size_t n = strlen(key);
    scan t = *s;
    if (s->at - from != n + 2 || memcmp(s->p + from + 1, key, n) != 0) return false;
    if (!take(&t, ':')) return false;
    skip_space(&t);
    if (t.at >= t.n || t.p[t.at] != open) return false;
    *s = t;
    return true;
}

/* Stands on an opening bracket: past the one that closes it. */
static void skip_nested(scan *s) {
    uint64_t depth = 0;
    while (s->at < s->n) {
        unsigned char c = s->p[s->at];
        if (c == '"') {
            skip_string(s);
            continue;
        }
        s->at++;
        if (c == '[' || c == '{') depth++;
        if ((c == ']' || c == '}') && --depth == 0) return;
    }
}

/* Stands on the opening brace of an object: goes to the value of `key` in it, which begins with
 * `open`. false: there is none; then stands behind the object. */
static bool enter(scan *s, const char *key, unsigned char open) {
    s->at++;
    while (s->at < s->n) {
        unsigned char c = s->p[s->at];
        uint64_t from = s->at;
        if (c == '"') {
            skip_string(s);
            if (is_key(s, from, key, open)) return true;
        } else if (c == '{' || c == '[') {
            skip_nested(s);
        } else {
            s->at++;
            if (c == '}') return false;
        }
    }
    return false;
}

bool tfm_hf_find_merges(const tfm_map *file, uint64_t *from, uint64_t *to) {
    scan s = {.p = file->data, .n = file->size};
    skip_space(&s);
    if (s.at >= s.n || s.p[s.at] != '{' || !enter(&s, "model", '{') || !enter(&s, "merges", '['))
        return false;
    *from = s.at + 1;
    skip_nested(&s);
    *to = s.at - 1;
    return s.at > *from && s.p[*to] == ']';
}

/* ---- parsing ---- */

static int hex4(const unsigned char *p) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* The character after a backslash and `u` at s->at; surrogates come in pairs. */
static bool unicode(scan *s, uint32_t *cp) {
    int high, low;
    if (s->n - s->at < 5 || (high = hex4(s->p + s->at + 1)) < 0) return false;
    s->at += 5;
    *cp = (uint32_t)high;
    if (high < 0xd800 || high > 0xdfff) return true;
    if (high > 0xdbff || s->n - s->at < 6 || s->p[s->at] != '\\' || s->p[s->at + 1] != 'u' ||
        (low = hex4(s->p + s->at + 2)) < 0xdc00 || low > 0xdfff)
        return false;
    s->at += 6;
    *cp = 0x10000 + ((uint32_t)high - 0xd800) * 0x400 + (uint32_t)low - 0xdc00;
    return true;
}

/* One escape, from the character after the backslash, into out. */
static bool escape(scan *s, char **out) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    uint32_t cp;
    if (s->at >= s->n) return false;
    if (s->p[s->at] == 'u') {
        if (!unicode(s, &cp)) return false;
        *out += tfm_utf8_encode(cp, (unsigned char *)*out);
        return true;
    }
    const char *name = memchr(names, s->p[s->at], sizeof names - 1);
    if (!name) return false;
    *(*out)++ = values[name - names];
    s->at++;
    return true;
}

/* A string, unescaped at *out, which is moved behind it. What is written is never longer than what
 * is read: an escape of 6 bytes gives at most 3. */
static bool string(scan *s, char **out, const char **text, uint32_t *len) {
    char *start = *out;
    if (!take(s, '"')) return false;
    while (s->at < s->n && s->p[s->at] != '"') {
        unsigned char c = s->p[s->at++];
        if (c < 0x20) return false;
        if (c != '\\')
            *(*out)++ = (char)c;
        else if (!escape(s, out))
            return false;
    }
    if (s->at++ >= s->n || *out - start > INT32_MAX) return false;
    *text = start;
    *len = (uint32_t)(*out - start);
    return true;
}

/* Elements of the array: its outer commas, and one more. */
static uint64_t count_elements(scan s) {
    uint64_t n = 1;
    skip_space(&s);
    if (s.at == s.n) return 0;
    while (s.at < s.n) {
        unsigned char c = s.p[s.at];
        if (c == '"')
            skip_string(&s);
        else if (c == '[' || c == '{')
            skip_nested(&s);
        else
            s.at++;
        if (c == ',') n++;
    }
    return n;
}

tfm_status tfm_hf_take_merges(tfm_draft *d, const unsigned char *text, uint64_t n, tfm_error *err) {
    scan s = {.p = text, .n = n};
    void *block;
    TFM_TRY(tfm_draft_merges(d, count_elements(s), err));
    TFM_TRY(tfm_arena_alloc(d->arena, &block, (size_t)n, err));
    char *out = block;
    for (uint32_t i = 0; i < d->src.n_merges; i++) {
        const char *both;
        uint32_t len;
        bool good = i == 0 || take(&s, ',');
        if (good && take(&s, '[')) { /* ["a", "b"] */
            good = string(&s, &out, &d->left[i], &d->left_len[i]) && take(&s, ',') &&
                   string(&s, &out, &d->right[i], &d->right_len[i]) && take(&s, ']');
        } else if (good && (good = string(&s, &out, &both, &len))) { /* "a b" */
            TFM_TRY(tfm_draft_merge_text(d, i, both, len, err));
        }
        if (!good) return tfm_fail(err, TFM_FORMAT, "merge %u is not two pieces", i);
    }
    skip_space(&s);
    return s.at == s.n ? TFM_OK : tfm_fail(err, TFM_FORMAT, "the merges are no list of pairs");
}
