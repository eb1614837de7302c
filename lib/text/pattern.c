/* pattern.c - regular expressions of tokenizer.json, which are written for Oniguruma (Ruby's
 * syntax), as PCRE2 takes them.
 *
 * With Unicode properties the two agree but for a few spellings. Those are rewritten or, where
 * there is no way to say it, refused. What each class holds was found by asking Oniguruma (in
 * tokenizers 0.20.3, Unicode 14) and PCRE2 (10.42) for every code point. */
#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/text_internal.h"

/* Bytes of a pattern as PCRE2 takes it, which compiles no more than 64 KiB and takes 4 bytes for
 * each of the text to find that out. */
enum {
    TRANSLATED_MAX = 1 << 20,
    NEST_MAX = 250 /* groups in groups, PCRE2's own limit */
};

/* Unicode's White_Space; PCRE2's own \s has U+180E besides. */
#define SPACES                                                                                     \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}"                 \
    "\\x{202f}\\x{205f}\\x{3000}"
/* Letters, marks, decimal digits, connectors, letter numbers and letters in circles; PCRE2's own \w
 * has other numbers, but no marks. */
#define WORD                                                                                       \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"                    \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
/* \w by itself, unlike [:word:] and \w in a class, has the numbers of Latin-1, too. */
#define WORD_ESCAPE WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}"

static const char *const brackets[][2] = {{"alpha", "\\p{Alphabetic}"},
                                          {"digit", "\\p{Nd}"},
                                          {"alnum", "\\p{Alphabetic}\\p{Nd}"},
                                          {"upper", "\\p{Uppercase}"},
                                          {"lower", "\\p{Lowercase}"},
                                          {"punct", "\\p{P}"},
                                          {"space", SPACES},
                                          {"cntrl", "\\p{Cc}"},
                                          {"xdigit", "0-9a-fA-F"},
                                          {"word", WORD},
                                          {"blank", "\\p{Zs}\\t"},
                                          {"ascii", "\\x00-\\x7f"}};

static bool is_hex4(const char *s, size_t n) {
    return n >= 4 && strspn(s, "0123456789abcdefABCDEF") >= 4;
}

/* Is it the name of a script? Then PCRE2 takes it for what may stand in text of that script, which
 * is more. */
static bool is_script(const char *name, size_t n) {
    char text[48];
    int code;
    PCRE2_SIZE at;
    if (n < 3 || n > 30) return false;
    int len = snprintf(text, sizeof text, "\\p{sc:%.*s}", (int)n, name);
    pcre2_code *c = pcre2_compile((PCRE2_SPTR)text, (PCRE2_SIZE)len, PCRE2_UTF, &code, &at, NULL);
    pcre2_code_free(c);
    return c != NULL;
}

/* \p{NAME}, \P{NAME} or \p{^NAME}. */
static tfm_status property(tfm_buf *b, const char *s, size_t n, size_t *used, tfm_error *err) {
    const char *end = n > 2 && s[2] == '{' ? memchr(s, '}', n) : NULL;
    if (!end) return tfm_buf_add(b, s, 2, err);
    *used = (size_t)(end - s) + 1;
    const char *name = s + 3;
    bool negated = *name == '^';
    if (negated) name++;
    if (!is_script(name, (size_t)(end - name))) return tfm_buf_add(b, s, *used, err);
    return tfm_buf_printf(b, err, "\\%c{%ssc:%.*s}", s[1], negated ? "^" : "", (int)(end - name),
                          name);
}

/* One step of a back reference passes over as much as it likes: no bound would hold. */
static tfm_status refuse_reference(tfm_error *err) {
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "pre-tokenizer: a pattern has a back reference, which is not supported");
}

/* One escape at s[0..n), s[0] being the backslash; *used = its length. */
static tfm_status escape(tfm_buf *b, const char *s, size_t n, bool in_class, size_t *used,
                         tfm_error *err) {
    static const char bound[] = "(?:(?<=[" WORD_ESCAPE "])(?![" WORD_ESCAPE "])|"
                                "(?<![" WORD_ESCAPE "])(?=[" WORD_ESCAPE "]))";
    *used = 2;
    if (n < 2) return tfm_fail(err, TFM_FORMAT, "pre-tokenizer: a pattern ends with a backslash");
    switch (s[1]) {
    case 's': return tfm_buf_str(b, in_class ? SPACES : "[" SPACES "]", err);
    case 'S':
        if (in_class) break; /* which is wrong for U+180E alone */
        return tfm_buf_str(b, "[^" SPACES "]", err);
    case 'h': return tfm_buf_str(b, in_class ? "0-9a-fA-F" : "[0-9a-fA-F]", err);
    case 'w': return tfm_buf_str(b, in_class ? WORD : "[" WORD_ESCAPE "]", err);
    case 'p':
    case 'P': return property(b, s, n, used, err);
    case 'W':
        if (!in_class) return tfm_buf_str(b, "[^" WORD_ESCAPE "]", err);
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "pre-tokenizer: a pattern has \\W in a class, which is not supported");
    case 'b':
        if (!in_class) return tfm_buf_str(b, bound, err);
        break;
    case 'B':
        if (!in_class) return tfm_buf_printf(b, err, "(?!%s)", bound);
        break;
    case 'u':
        if (!is_hex4(s + 2, n - 2)) break;
        *used = 6;
        return tfm_buf_printf(b, err, "\\x{%.4s}", s + 2);
    case 'Q':
    case 'E': return tfm_buf_byte(b, (unsigned char)s[1], err); /* PCRE2 quotes by them */
    default:
        if (!in_class && ((s[1] >= '1' && s[1] <= '9') || s[1] == 'k' || s[1] == 'g'))
            return refuse_reference(err);
        break;
    }
    return tfm_buf_add(b, s, 2, err);
}

/* [:NAME:] at s[0..n). */
static tfm_status bracket(tfm_buf *b, const char *s, size_t n, size_t *used, tfm_error *err) {
    const char *end = memchr(s, ']', n);
    size_t len = end ? (size_t)(end - s) + 1 : 0;
    for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++) {
        size_t k = strlen(brackets[i][0]);
        if (len != k + 4 || memcmp(s + 2, brackets[i][0], k) != 0 || s[k + 2] != ':') continue;
        *used = len;
        return tfm_buf_str(b, brackets[i][1], err);
    }
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "pre-tokenizer: a pattern has the class %.*s, which is not supported",
                    len < 20 ? (int)len : 20, s);
}

/* ---- groups ---- */

/* An open group, and the whole pattern at depth 0. */
typedef struct group {
    bool extended; /* (?x) holds in it */
    unsigned more; /* brackets that are closed with it: each option by itself made one */
} group;

typedef struct reader {
    int class_depth; /* of classes in classes; 0: in none */
    unsigned depth;
    group open[NEST_MAX + 1];
} reader;

static tfm_status enter(reader *r, bool extended, tfm_error *err) {
    if (r->depth == NEST_MAX)
        return tfm_fail(err, TFM_LIMIT, "pre-tokenizer: a pattern with over %d nested groups",
                        NEST_MAX);
    r->open[++r->depth] = (group){.extended = extended};
    return TFM_OK;
}

/* The group's own bracket is not among those. */
static tfm_status close_more(const reader *r, tfm_buf *b, tfm_error *err) {
    for (unsigned i = 0; i < r->open[r->depth].more; i++) TFM_TRY(tfm_buf_byte(b, ')', err));
    return TFM_OK;
}

/* (?imx-imx:...), or without the colon, which means all that follows in the group, behind a "|",
 * too. m is PCRE2's s. *used = 0: it is another group. */
static tfm_status options(reader *r, tfm_buf *b, const char *s, size_t n, size_t *used,
                          tfm_error *err) {
    static const char known[] = "imx-";
    bool extended = r->open[r->depth].extended, on = true, good = true;
    size_t i = 2;
    *used = 0;
    for (; i < n && s[i] != '\0' && strchr("imx-^sadluDJPSUWny", s[i]); i++) {
        good = good && strchr(known, s[i]) != NULL;
        if (s[i] == '-') on = false;
        if (s[i] == 'x') extended = on;
    }
    if (i == 2 || i == n || (s[i] != ')' && s[i] != ':')) return TFM_OK;
    if (!good)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "pre-tokenizer: a pattern has the options %.*s, which are not supported",
                        i < 20 ? (int)i : 20, s);
    *used = i + 1;
    for (size_t k = 0; k < i; k++) TFM_TRY(tfm_buf_add(b, s[k] == 'm' ? "s" : s + k, 1, err));
    TFM_TRY(tfm_buf_byte(b, ':', err));
    if (s[i] == ':') return enter(r, extended, err);
    r->open[r->depth].extended = extended;
    r->open[r->depth].more++;
    return TFM_OK;
}

/* (?#...): a backslash takes the next character along. */
static tfm_status comment_group(tfm_buf *b, const char *s, size_t n, size_t *used, tfm_error *err) {
    size_t i = 3;
    for (; i < n && s[i] != ')'; i++) i += s[i] == '\\';
    if (i >= n) return tfm_fail(err, TFM_FORMAT, "pre-tokenizer: a pattern ends in a comment");
    *used = i + 1;
    return tfm_buf_str(b, "(?#)", err);
}

/* A bracket that opens, outside classes. */
static tfm_status open_group(reader *r, tfm_buf *b, const char *s, size_t n, size_t *used,
                             tfm_error *err) {
    if (n >= 4 && memcmp(s, "(?P=", 4) == 0) return refuse_reference(err);
    if (n >= 3 && memcmp(s, "(?#", 3) == 0) return comment_group(b, s, n, used, err);
    if (n >= 2 && s[1] == '?') {
        TFM_TRY(options(r, b, s, n, used, err));
        if (*used > 0) return TFM_OK;
    }
    *used = 1;
    TFM_TRY(enter(r, r->open[r->depth].extended, err));
    return tfm_buf_byte(b, '(', err);
}

/* What stands between the parts of an extended pattern: a comment to the end of the line, without
 * what it says; and what is white space there to PCRE2 only. *used = 0: neither. */
static tfm_status extended_space(tfm_buf *b, const char *s, size_t n, size_t *used,
                                 tfm_error *err) {
    uint32_t cp;
    *used = 0;
    if (s[0] == '#') {
        const char *end = memchr(s, '\n', n);
        *used = end ? (size_t)(end - s) + 1 : n;
        return end ? tfm_buf_str(b, "#\n", err) : TFM_OK;
    }
    size_t len = tfm_utf8_decode((const unsigned char *)s, n, &cp, NULL);
    if (cp != 0xb && cp != 0x85 && cp != 0x200e && cp != 0x200f && cp != 0x2028 && cp != 0x2029)
        return TFM_OK;
    *used = len;
    return tfm_buf_printf(b, err, "\\x{%x}", (unsigned)cp);
}

/* ---- all of it ---- */

static tfm_status refuse_nested(tfm_error *err) {
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "pre-tokenizer: a pattern has nested or "
                    "intersected character classes, which are not supported");
}

/* A class in a class is part of it: what stands between its brackets does as well without them,
 * unless it says what is not in it, or there is a '-' at an end that would make a range. */
static tfm_status nested(reader *r, tfm_buf *b, const char *s, size_t n, tfm_error *err) {
    const bool opens = s[0] == '[';
    if ((opens ? r->class_depth > 1 : n > 1 && s[1] == '-') ||
        (opens && n > 1 && strchr("^]-", s[1]) != NULL) || b->data[b->len - 1] == '-')
        return refuse_nested(err);
    r->class_depth += opens ? 1 : -1;
    return TFM_OK;
}

/* What is next in a class. */
static tfm_status in_class(reader *r, tfm_buf *b, const char *s, size_t n, size_t *used,
                           tfm_error *err) {
    *used = 1;
    if (s[0] == '&' && n > 1 && s[1] == '&') return refuse_nested(err);
    if (s[0] == '[' && n > 1 && s[1] == ':') return bracket(b, s, n, used, err);
    if (s[0] == '[' || (s[0] == ']' && r->class_depth > 1)) return nested(r, b, s, n, err);
    if (s[0] == ']') r->class_depth = 0;
    return tfm_buf_byte(b, (unsigned char)s[0], err);
}

static tfm_status outside_class(reader *r, tfm_buf *b, const char *s, size_t n, size_t *used,
                                tfm_error *err) {
    if (s[0] == '(') return open_group(r, b, s, n, used, err);
    if (r->open[r->depth].extended) {
        TFM_TRY(extended_space(b, s, n, used, err));
        if (*used > 0) return TFM_OK;
    }
    *used = 1;
    if (s[0] == ')') {
        TFM_TRY(close_more(r, b, err));
        if (r->depth > 0) r->depth--;
    } else if (s[0] == '[') {
        r->class_depth = 1;
        if (n > 1 && s[1] == '^') ++*used;
        if (n > *used && s[*used] == ']') ++*used; /* a first ] stands for itself */
    }
    return tfm_buf_add(b, s, *used, err);
}

tfm_status tfm_pattern_translate(tfm_buf *b, const char *s, size_t n, tfm_error *err) {
    reader r = {.depth = 0};
    for (size_t i = 0, used = 0; i < n; i += used) {
        if (b->len > TRANSLATED_MAX)
            return tfm_fail(err, TFM_LIMIT, "pre-tokenizer: a pattern that is too long");
        if (s[i] == '\\')
            TFM_TRY(escape(b, s + i, n - i, r.class_depth > 0, &used, err));
        else if (r.class_depth > 0)
            TFM_TRY(in_class(&r, b, s + i, n - i, &used, err));
        else
            TFM_TRY(outside_class(&r, b, s + i, n - i, &used, err));
    }
    return close_more(&r, b, err);
}
