/* hf_scan.c - the long arrays of a tokenizer.json (merges, the pieces of a unigram model), found
 * and read straight from its text.
 *
 * They are most of the file: 280,000 merges in one, 250,000 pieces with scores in another. As a
 * jansson tree each is two or three allocations, some 300 bytes for ten of text. So their array is
 * found by a scan, read by the functions below into one block, and cut out of the text that jansson
 * gets.
 *
 * The scan only finds the array; whether the text around it is JSON is still jansson's to say. */
#include <string.h>

#include "base/utf8_internal.h"
#include "model/hf_scan_internal.h"

void tfm_hf_scan_space(tfm_hf_scan *s) {
    while (s->at < s->n && (s->p[s->at] == ' ' || s->p[s->at] == '\n' || s->p[s->at] == '\r' ||
                            s->p[s->at] == '\t'))
        s->at++;
}

/* Takes `c` if it comes next. */
bool tfm_hf_scan_take(tfm_hf_scan *s, unsigned char c) {
    tfm_hf_scan_space(s);
    if (s->at >= s->n || s->p[s->at] != c) return false;
    s->at++;
    return true;
}

/* Past the string whose opening quote is next. */
static void skip_string(tfm_hf_scan *s) {
    for (s->at++; s->at < s->n && s->p[s->at] != '"'; s->at++)
        if (s->p[s->at] == '\\') s->at++;
    if (s->at < s->n) s->at++;
    if (s->at > s->n) s->at = s->n;
}

/* Is the string that was just skipped (from `from`) this key, with the value's first byte `open`
 * next? Then stands on that byte. */
static bool is_key(tfm_hf_scan *s, uint64_t from, const char *key, unsigned char open) {
    size_t n = strlen(key);
    tfm_hf_scan t = *s;
    if (s->at - from != n + 2 || memcmp(s->p + from + 1, key, n) != 0) return false;
    if (!tfm_hf_scan_take(&t, ':')) return false;
    tfm_hf_scan_space(&t);
    if (t.at >= t.n || t.p[t.at] != open) return false;
    *s = t;
    return true;
}

/* Stands on an opening bracket: past the one that closes it. */
void tfm_hf_scan_nested(tfm_hf_scan *s) {
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
static bool enter(tfm_hf_scan *s, const char *key, unsigned char open) {
    s->at++;
    while (s->at < s->n) {
        unsigned char c = s->p[s->at];
        uint64_t from = s->at;
        if (c == '"') {
            skip_string(s);
            if (is_key(s, from, key, open)) return true;
        } else if (c == '{' || c == '[') {
            tfm_hf_scan_nested(s);
        } else {
            s->at++;
            if (c == '}') return false;
        }
    }
    return false;
}

bool tfm_hf_find_array(const tfm_map *file, const char *key, uint64_t *from, uint64_t *to) {
    tfm_hf_scan s = {.p = file->data, .n = file->size};
    tfm_hf_scan_space(&s);
    if (s.at >= s.n || s.p[s.at] != '{' || !enter(&s, "model", '{') || !enter(&s, key, '['))
        return false;
    *from = s.at + 1;
    tfm_hf_scan_nested(&s);
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
static bool unicode(tfm_hf_scan *s, uint32_t *cp) {
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
static bool escape(tfm_hf_scan *s, char **out) {
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
bool tfm_hf_scan_string(tfm_hf_scan *s, char **out, const char **text, uint32_t *len) {
    char *start = *out;
    if (!tfm_hf_scan_take(s, '"')) return false;
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
uint64_t tfm_hf_scan_count(tfm_hf_scan s) {
    uint64_t n = 1;
    tfm_hf_scan_space(&s);
    if (s.at == s.n) return 0;
    while (s.at < s.n) {
        unsigned char c = s.p[s.at];
        if (c == '"')
            skip_string(&s);
        else if (c == '[' || c == '{')
            tfm_hf_scan_nested(&s);
        else
            s.at++;
        if (c == ',') n++;
    }
    return n;
}
