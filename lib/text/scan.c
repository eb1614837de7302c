/* scan.c - pre-tokenizer patterns of the plain kind, without PCRE2 for each match.
 *
 * Nearly all models' patterns are a list of alternatives, each a few repeated character classes:
 *
 *     (?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+
 *
 * Such a pattern is read into items (class, least, most), and the classes of a character, as bits,
 * into a table, so that a character costs one look-up. PCRE2 itself says which classes a character
 * is in, once for each character that occurs: so no Unicode table stands here, and the answers
 * cannot differ from those of the general path. Matching is the same backtracking, greedy and
 * leftmost alternative first.
 *
 * What does not fit (other groups, anchors, lookbehind, lazy repeats) is left to PCRE2: see
 * pretok.c. A test compares both on all known patterns. */
#include "text/scan_internal.h"

enum { CLASSES_MAX = 31, ALTS_MAX = 32, ITEMS_MAX = 8, SEQUENCES_MAX = 16, SEQUENCE_MAX = 4 };
#define KNOWN (1u << 31) /* in a character's classes */
#define MANY UINT32_MAX
#define NO_MATCH SIZE_MAX

typedef enum item_kind { ITEM_CLASS, ITEM_GROUP, ITEM_NOT_NEXT } item_kind;

typedef struct item {
    item_kind kind;
    uint8_t class; /* CLASS, NOT_NEXT */
    bool is_possessive;
    uint32_t least, most; /* GROUP: 0 or 1, 1 */
} item;

typedef struct alternative {
    uint32_t first; /* classes that it may begin with */
    unsigned n;
    item item[ITEMS_MAX];
    /* of its group, which is the last item */
    unsigned n_sequences;
    uint8_t length[SEQUENCES_MAX];
    uint8_t sequence[SEQUENCES_MAX][SEQUENCE_MAX]; /* classes */
} alternative;

struct tfm_scan {
    unsigned n_alts, n_classes;
    alternative alt[ALTS_MAX];
    tfm_buf class_text; /* of all classes, as they stand in the pattern */
    struct {
        size_t at, len;
        bool any_case;
    } class[CLASSES_MAX];
    tfm_buf pattern; /* for PCRE2: which classes is this character in? */
};

/* What is known of a character: KNOWN and its classes; the alternatives that may begin with it. */
typedef struct facts {
    uint32_t classes, alts;
} facts;

enum { PAGE = 256, PAGES = 0x110000 / PAGE };
struct tfm_scan_table {
    pcre2_match_data *match;
    facts *page[PAGES]; /* NULL before the first character of a page */
};

/* ---- reading a pattern ---- */

typedef struct parser {
    tfm_scan *scan;
    const char *p, *end;
    tfm_error *err;
    bool any_case;
} parser;

static bool at(const parser *q, const char *text) {
    size_t n = strlen(text);
    return (size_t)(q->end - q->p) >= n && memcmp(q->p, text, n) == 0;
}

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'f');
}

/* Bytes of the escape at p, 0 for one that is no single character or class. */
static size_t escape_length(const char *p, const char *end) {
    size_t n = (size_t)(end - p);
    if (n < 2) return 0;
    if (p[1] == 'x' && n >= 4 && is_hex(p[2]) && is_hex(p[3])) return 4;
    if (p[1] == 'p' || p[1] == 'P' || p[1] == 'x') {
        const char *close = n > 2 && p[2] == '{' ? memchr(p, '}', n) : NULL;
        return close ? (size_t)(close - p) + 1 : 0;
    }
    if (strchr("sSdDrntwW", p[1]) && p[1] != '\0') return 2;
    bool is_sign = p[1] > ' ' && p[1] < 0x7f && !((p[1] | 32) >= 'a' && (p[1] | 32) <= 'z') &&
                   !(p[1] >= '0' && p[1] <= '9') && p[1] != '<' && p[1] != '>';
    return is_sign ? 2 : 0;
}

/* Bytes of the bracketed class at p, 0 if it does not end or is more than a list. */
static size_t bracket_length(const char *p, const char *end) {
    const char *c = p + 1;
    if (c < end && *c == '^') c++;
    if (c < end && *c == ']') return 0;
    while (c < end && *c != ']') {
        if (*c == '[' || (*c == '&' && c + 1 < end && c[1] == '&')) return 0;
        if (*c == '\\') {
            size_t n = escape_length(c, end);
            if (n == 0) return 0;
            c += n;
        } else {
            c++;
        }
    }
    return c < end ? (size_t)(c - p) + 1 : 0;
}

/* Bytes of the single character or class at p, 0 for anything else. */
static size_t atom_length(const char *p, const char *end) {
    uint32_t cp;
    bool ok;
    if (p == end) return 0;
    if (*p == '\\') return escape_length(p, end);
    if (*p == '[') return bracket_length(p, end);
    if (*p == '\0' || strchr("^$.|()?*+{}", *p)) return 0;
    size_t n = tfm_utf8_decode((const unsigned char *)p, (size_t)(end - p), &cp, &ok);
    return ok ? n : 0;
}

/* The atom at q->p as a class, which is made if it is new. *fits = false: it is none. */
static tfm_status parse_atom(parser *q, uint8_t *class, bool *fits) {
    tfm_scan *s = q->scan;
    size_t n = atom_length(q->p, q->end);
    unsigned i = 0;
    *fits = false;
    if (n == 0) return TFM_OK;
    while (i < s->n_classes && (s->class[i].len != n || s->class[i].any_case != q->any_case ||
                                memcmp(s->class_text.data + s->class[i].at, q->p, n) != 0))
        i++;
    if (i == CLASSES_MAX) return TFM_OK;
    if (i == s->n_classes) {
        s->class[i].at = s->class_text.len;
        s->class[i].len = n;
        s->class[i].any_case = q->any_case;
        TFM_TRY(tfm_buf_add(&s->class_text, q->p, n, q->err));
        s->n_classes++;
    }
    q->p += n;
    *class = (uint8_t)i;
    *fits = true;
    return TFM_OK;
}

static bool parse_count(parser *q, uint32_t *value) {
    const char *from = q->p;
    *value = 0;
    while (q->p < q->end && *q->p >= '0' && *q->p <= '9' && *value < 100000)
        *value = *value * 10 + (uint32_t)(*q->p++ - '0');
    return q->p > from;
}

/* ? * + {m} {m,} {m,n}, possessive or not; false: lazy or no repeat that is understood. */
static bool parse_repeat(parser *q, item *it) {
    it->least = it->most = 1;
    if (q->p == q->end || !strchr("?*+{", *q->p)) return true;
    char c = *q->p++;
    if (c == '{') {
        if (!parse_count(q, &it->least)) return false;
        it->most = it->least;
        if (at(q, ",")) {
            q->p++;
            if (at(q, "}"))
                it->most = MANY;
            else if (!parse_count(q, &it->most))
                return false;
        }
        if (!at(q, "}") || it->most < it->least || it->most == 0) return false;
        q->p++;
    } else {
        it->least = c == '+';
        it->most = c == '?' ? 1 : MANY;
    }
    if (at(q, "?")) return false;
    it->is_possessive = at(q, "+");
    if (it->is_possessive) q->p++;
    return true;
}

/* (?i:'s|'ll) - sequences of single characters; q->p is behind the colon. */
static tfm_status parse_group(parser *q, alternative *a, bool *fits) {
    a->n_sequences = 0;
    q->any_case = true;
    for (*fits = false;;) {
        if (a->n_sequences == SEQUENCES_MAX) return TFM_OK;
        uint8_t *length = &a->length[a->n_sequences];
        bool good = true;
        for (*length = 0; !at(q, "|") && !at(q, ")"); ++*length) {
            if (*length == SEQUENCE_MAX) return TFM_OK;
            TFM_TRY(parse_atom(q, &a->sequence[a->n_sequences][*length], &good));
            if (!good) return TFM_OK;
        }
        if (*length == 0) return TFM_OK;
        a->n_sequences++;
        if (*q->p++ == ')') break;
    }
    q->any_case = false;
    *fits = true;
    return TFM_OK;
}

static tfm_status parse_item(parser *q, alternative *a, item *it, bool *fits) {
    if (at(q, "(?i:")) {
        q->p += 4;
        it->kind = ITEM_GROUP;
        TFM_TRY(parse_group(q, a, fits));
    } else if (at(q, "(?!")) {
        q->p += 3;
        it->kind = ITEM_NOT_NEXT;
        TFM_TRY(parse_atom(q, &it->class, fits));
        *fits = *fits && at(q, ")") && q->p++;
        return TFM_OK;
    } else {
        it->kind = ITEM_CLASS;
        TFM_TRY(parse_atom(q, &it->class, fits));
    }
    *fits = *fits && parse_repeat(q, it) && (it->kind == ITEM_CLASS || it->most == 1);
    return TFM_OK;
}

/* Which classes an alternative may begin with; false if it may match nothing, or goes on behind a
 * group or a lookahead, which matching does not come back to. */
static bool check_alternative(alternative *a) {
    bool open = true;
    for (unsigned i = 0; i < a->n; i++) {
        const item *it = &a->item[i];
        if (it->kind != ITEM_CLASS && i + 1 < a->n) return false;
        if (it->kind == ITEM_NOT_NEXT || !open) continue;
        if (it->kind == ITEM_CLASS) a->first |= 1u << it->class;
        for (unsigned k = 0; it->kind == ITEM_GROUP && k < a->n_sequences; k++)
            a->first |= 1u << a->sequence[k][0];
        open = it->least == 0;
    }
    return !open;
}

static tfm_status parse_pattern(parser *q, bool *fits) {
    tfm_scan *s = q->scan;
    for (*fits = false;;) {
        if (s->n_alts == ALTS_MAX) return TFM_OK;
        alternative *a = &s->alt[s->n_alts++];
        while (q->p < q->end && *q->p != '|') {
            bool good = a->n < ITEMS_MAX;
            if (good) TFM_TRY(parse_item(q, a, &a->item[a->n++], &good));
            if (!good) return TFM_OK;
        }
        if (!check_alternative(a)) return TFM_OK;
        if (q->p == q->end) break;
        q->p++;
    }
    *fits = true;
    return TFM_OK;
}

/* (?=(CLASS)?) for each class: what is captured tells the classes of the next character. */
static tfm_status write_question(tfm_scan *s, tfm_error *err) {
    for (unsigned i = 0; i < s->n_classes; i++) {
        TFM_TRY(tfm_buf_str(&s->pattern, s->class[i].any_case ? "(?=((?i:" : "(?=((?:", err));
        TFM_TRY(
            tfm_buf_add(&s->pattern, s->class_text.data + s->class[i].at, s->class[i].len, err));
        TFM_TRY(tfm_buf_str(&s->pattern, "))?)", err));
    }
    return TFM_OK;
}

tfm_status tfm_scan_new(tfm_scan **out, const char *pattern, size_t n, tfm_error *err) {
    void *p;
    bool fits;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_scan), err));
    tfm_scan *s = p;
    parser q = {.scan = s, .p = pattern, .end = pattern + n, .err = err};
    tfm_status st = parse_pattern(&q, &fits);
    if (st == TFM_OK && fits) st = write_question(s, err);
    if (st != TFM_OK || !fits) {
        tfm_scan_free(s);
        return st;
    }
    *out = s;
    return TFM_OK;
}

const tfm_buf *tfm_scan_question(const tfm_scan *s) {
    return &s->pattern;
}

void tfm_scan_free(tfm_scan *s) {
    if (s == NULL) return;
    tfm_buf_free(&s->class_text);
    tfm_buf_free(&s->pattern);
    tfm_free(s);
}

/* ---- characters ---- */

tfm_status tfm_scan_table_new(tfm_scan_table **out, const tfm_scan *s,
                              pcre2_general_context *general, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_scan_table), err));
    tfm_scan_table *t = p;
    t->match = pcre2_match_data_create(s->n_classes + 1, general);
    if (t->match == NULL) {
        tfm_free(t);
        return tfm_fail(err, TFM_NOMEM, "out of memory");
    }
    *out = t;
    return TFM_OK;
}

void tfm_scan_table_free(tfm_scan_table *t) {
    if (t == NULL) return;
    for (unsigned i = 0; i < PAGES; i++) tfm_free(t->page[i]);
    pcre2_match_data_free(t->match);
    tfm_free(t);
}

/* Asks PCRE2 about the character c[0..len). */
static tfm_status learn(const tfm_scan_use *u, uint32_t cp, const unsigned char *c, size_t len) {
    facts **page = &u->table->page[cp / PAGE];
    facts f = {KNOWN, 0};
    if (*page == NULL) {
        void *p;
        TFM_TRY(tfm_alloc(&p, PAGE, sizeof **page, u->err));
        *page = p;
    }
    int rc = pcre2_match(u->question, c, len, 0, PCRE2_NO_UTF_CHECK | PCRE2_ANCHORED,
                         u->table->match, NULL);
    if (rc == PCRE2_ERROR_NOMEMORY) return tfm_fail(u->err, TFM_NOMEM, "out of memory");
    if (rc < 1) return tfm_fail(u->err, TFM_RECORD, "pre-tokenizer: a class of the pattern fails");
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(u->table->match);
    for (unsigned i = 0; i < u->scan->n_classes; i++) /* what is behind rc was not captured */
        if ((int)i + 1 < rc && o[2 * i + 2] != PCRE2_UNSET) f.classes |= 1u << i;
    for (unsigned i = 0; i < u->scan->n_alts; i++)
        if (u->scan->alt[i].first & f.classes) f.alts |= 1u << i;
    (*page)[cp % PAGE] = f;
    return TFM_OK;
}

/* The facts of the character at s[i], i < n; *len = its bytes. {0} on failure, which stays in
 * *u. */
static facts facts_at(tfm_scan_use *u, const unsigned char *s, size_t n, size_t i, size_t *len) {
    uint32_t cp = s[i];
    *len = 1;
    if (cp >= 0x80) *len = tfm_utf8_decode(s + i, n - i, &cp, NULL);
    const facts *page = u->table->page[cp / PAGE];
    if (page && page[cp % PAGE].classes) return page[cp % PAGE];
    if (u->status == TFM_OK) u->status = learn(u, cp, s + i, *len);
    return u->status == TFM_OK ? u->table->page[cp / PAGE][cp % PAGE] : (facts){0, 0};
}

/* ---- matching ---- */

static size_t match_group(tfm_scan_use *u, const alternative *a, const unsigned char *s, size_t n,
                          size_t from) {
    for (unsigned k = 0; k < a->n_sequences; k++) {
        size_t i = from, len;
        unsigned c = 0;
        for (; c < a->length[k] && i < n; c++, i += len)
            if (!(facts_at(u, s, n, i, &len).classes >> a->sequence[k][c] & 1)) break;
        if (c == a->length[k]) return i;
    }
    return NO_MATCH;
}

/* Where a match of items k.. that begins at s[from] ends. */
static size_t match_items(tfm_scan_use *u, const alternative *a, unsigned k, const unsigned char *s,
                          size_t n, size_t from) {
    size_t len, i = from;
    if (k == a->n) return from;
    const item *it = &a->item[k];
    if (it->kind == ITEM_NOT_NEXT)
        return i < n && facts_at(u, s, n, i, &len).classes >> it->class & 1 ? NO_MATCH : i;
    if (it->kind == ITEM_GROUP) {
        i = match_group(u, a, s, n, from);
        return i == NO_MATCH && it->least == 0 ? from : i;
    }
    uint32_t count = 0;
    for (; i < n && count < it->most; count++, i += len)
        if (!(facts_at(u, s, n, i, &len).classes >> it->class & 1)) break;
    u->steps += count + 1;
    if (count < it->least) return NO_MATCH;
    for (;;) {
        size_t end = match_items(u, a, k + 1, s, n, i);
        if (end != NO_MATCH || count == it->least || it->is_possessive) return end;
        if (u->steps > u->steps_max) return NO_MATCH;
        count--;
        do i--;
        while ((s[i] & 0xc0) == 0x80);
    }
}

tfm_status tfm_scan_next(tfm_scan_use *u, const unsigned char *s, size_t n, size_t from,
                         bool *found, size_t *begin, size_t *end) {
    *found = false;
    for (size_t i = from, len; i < n; i += len) {
        facts f = facts_at(u, s, n, i, &len);
        if (u->status != TFM_OK) return u->status;
        u->steps++;
        for (uint32_t alts = f.alts; alts != 0; alts &= alts - 1) {
            const alternative *a = &u->scan->alt[__builtin_ctz(alts)];
            size_t to = match_items(u, a, 0, s, n, i);
            if (u->status != TFM_OK) return u->status;
            if (u->steps > u->steps_max)
                return tfm_fail(u->err, TFM_RECORD,
                                "pre-tokenizer: the pattern takes too long on this text");
            if (to == NO_MATCH) continue;
            *found = true;
            *begin = i;
            *end = to;
            return TFM_OK;
        }
    }
    return TFM_OK;
}
