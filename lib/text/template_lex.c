/* template_lex.c - a template's bytes to tokens, with Jinja's rules for white space.
 *
 * Text and tags alternate: {{ expression }}, {% statement %}, {# comment #}. As apply_chat_template
 * sets it (trim_blocks, lstrip_blocks): the newline right behind a statement or comment goes, and
 * so does white space between the beginning of a line and one. "-" takes all white space on its
 * side, "+" keeps it. One newline at the end of the template goes, too. */
#include <stdlib.h>

#include "base/utf8_internal.h"
#include "text/template_internal.h"

typedef struct lexer {
    tp_parser *p;
    const char *s; /* [n] */
    size_t n, at;
    unsigned line;
    bool line_starts; /* what was read last ended a line */
} lexer;

static tfm_status bad(lexer *x, const char *why) {
    return tfm_fail(x->p->err, TFM_FORMAT, "%s:%u: %s", x->p->name, x->line, why);
}

static tfm_status push(lexer *x, tp_tok_kind kind, const char *p, size_t n) {
    tp_parser *ps = x->p;
    void *tok = ps->tok;
    if (ps->n >= TP_NODES_MAX)
        return tfm_fail(ps->err, TFM_LIMIT, "%s: more than %d tokens", ps->name, TP_NODES_MAX);
    tfm_status st = tfm_grow(&tok, &ps->cap, ps->n + 1, sizeof *ps->tok, ps->err);
    ps->tok = tok;
    if (st == TFM_OK) ps->tok[ps->n++] = (tp_tok){.kind = kind, .line = x->line, .p = p, .n = n};
    return st;
}

/* Goes on to `to`, counting lines. */
static void advance(lexer *x, size_t to) {
    if (to > x->at) x->line_starts = x->s[to - 1] == '\n';
    for (; x->at < to; x->at++) x->line += x->s[x->at] == '\n';
}

static size_t skip_space(const lexer *x, size_t i) {
    size_t len;
    while (i < x->n && tfm_tp_is_space(tfm_tp_char(x->s + i, x->n - i, &len))) i += len;
    return i;
}

static bool starts(const lexer *x, size_t i, const char *what) {
    size_t n = strlen(what);
    return i <= x->n && n <= x->n - i && memcmp(x->s + i, what, n) == 0;
}

/* ---- text ---- */

/* The text s[from..to) that stands before a tag which begins at `to` with `sign`. */
static tfm_status push_data(lexer *x, size_t from, size_t to, char sign, bool is_variable) {
    tp_str text = {.p = x->s + from, .n = to - from};
    if (sign == '-') {
        text = tfm_tp_strip(&text, NULL, TP_RIGHT);
    } else if (sign != '+' && !is_variable) {
        size_t line = to;
        while (line > from && x->s[line - 1] != '\n') line--;
        if ((line > from || x->line_starts) && to > line && skip_space(x, line) >= to)
            text.n = line - from;
    }
    return text.n ? push(x, TP_T_DATA, text.p, text.n) : TFM_OK;
}

/* Behind the end of a tag at i ("-%}", "+%}" or "%}"), or 0 if there is none. */
static size_t tag_end(const lexer *x, size_t i, const char *close, bool is_block) {
    if (i < x->n && x->s[i] == '-' && starts(x, i + 1, close)) return skip_space(x, i + 3);
    if (is_block && i < x->n && x->s[i] == '+' && starts(x, i + 1, close)) return i + 3;
    if (!starts(x, i, close)) return 0;
    return i + 2 + (is_block && i + 2 < x->n && x->s[i + 2] == '\n');
}

static tfm_status comment(lexer *x) {
    for (size_t i = x->at; i < x->n; i++) {
        size_t end = tag_end(x, i, "#}", true);
        if (end == 0) continue;
        advance(x, end);
        return TFM_OK;
    }
    return bad(x, "a comment that does not end");
}

/* {% raw %}: i is behind the sign. Behind its end, or 0 if this is another statement. */
static size_t raw_begin(const lexer *x, size_t i) {
    i = skip_space(x, i);
    if (!starts(x, i, "raw")) return 0;
    i = skip_space(x, i + 3);
    if (starts(x, i, "-%}")) return skip_space(x, i + 3);
    return starts(x, i, "%}") ? i + 2 : 0;
}

static tfm_status raw(lexer *x) {
    for (size_t i = x->at; i < x->n; i++) {
        if (!starts(x, i, "{%")) continue;
        char sign = i + 2 < x->n ? x->s[i + 2] : '\0';
        size_t j = skip_space(x, i + 2 + (sign == '-' || sign == '+'));
        if (!starts(x, j, "endraw")) continue;
        size_t end = tag_end(x, skip_space(x, j + 6), "%}", true);
        if (end == 0) continue;
        TFM_TRY(push_data(x, x->at, i, sign, false));
        advance(x, end);
        return TFM_OK;
    }
    return bad(x, "{% raw %} without {% endraw %}");
}

/* ---- inside of tags ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t digits(const lexer *x, size_t i) {
    while (i < x->n && is_digit(x->s[i])) i++;
    return i;
}

static tfm_status number(lexer *x) {
    char text[64];
    size_t from = x->at, end = digits(x, from), i = end;
    bool behind_dot = from > 0 && x->s[from - 1] == '.', is_float = false;
    if (!behind_dot && starts(x, i, ".") && digits(x, i + 1) > i + 1) {
        i = digits(x, i + 1);
        is_float = true;
    }
    if (!behind_dot && i < x->n && (x->s[i] == 'e' || x->s[i] == 'E')) {
        size_t j = i + 1;
        if (j < x->n && (x->s[j] == '+' || x->s[j] == '-')) j++;
        if (digits(x, j) > j) {
            i = digits(x, j);
            is_float = true;
        }
    }
    if (i < x->n && is_word(x->s[i])) return bad(x, "a number that is not plainly decimal");
    if (i - from >= sizeof text) return bad(x, "a number of too many digits");
    memcpy(text, x->s + from, i - from);
    text[i - from] = '\0';
    TFM_TRY(push(x, is_float ? TP_T_FLOAT : TP_T_INT, x->s + from, i - from));
    tp_tok *t = &x->p->tok[x->p->n - 1];
    if (is_float ? !tfm_parse_double(text, -1e308, 1e308, &t->f)
                 : !tfm_parse_i64(text, 0, INT64_MAX, &t->i))
        return bad(x, "a number that is too large");
    advance(x, i);
    return TFM_OK;
}

static int hex(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* \xHH, \uHHHH, \UHHHHHHHH: s[*i] is the letter. */
static tfm_status hex_escape(lexer *x, size_t *i, char *out, size_t *n) {
    int count = x->s[*i] == 'x' ? 2 : x->s[*i] == 'u' ? 4 : 8;
    uint32_t cp = 0;
    unsigned char bytes[4];
    for (int k = 0; k < count; k++) {
        int h = ++*i < x->n ? hex(x->s[*i]) : -1;
        if (h < 0 || cp > 0xfffffff) return bad(x, "a string with a broken escape");
        cp = cp * 16 + (uint32_t)h;
    }
    size_t len = tfm_utf8_encode(cp, bytes);
    if (len == 0) return bad(x, "a string with an escape that is no character");
    memcpy(out + *n, bytes, len);
    *n += len;
    return TFM_OK;
}

/* The character behind a backslash at s[*i]; afterwards *i is its last byte. */
static tfm_status escape(lexer *x, size_t *i, char *out, size_t *n) {
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char c = x->s[*i];
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        out[(*n)++] = to[known - from];
    } else if (c == 'x' || c == 'u' || c == 'U') {
        return hex_escape(x, i, out, n);
    } else if (c >= '0' && c <= '7') {
        unsigned v = 0, count = 0;
        for (; count < 3 && *i < x->n && x->s[*i] >= '0' && x->s[*i] <= '7'; count++, ++*i)
            v = v * 8 + (unsigned)(x->s[*i] - '0');
        --*i;
        *n += tfm_utf8_encode(v, (unsigned char *)out + *n);
    } else if (c == 'N') {
        return bad(x, "a string with the escape \\N, which is not supported");
    } else if (c != '\n') { /* any other backslash stays */
        out[(*n)++] = '\\';
        out[(*n)++] = c;
    }
    return TFM_OK;
}

static tfm_status string(lexer *x) {
    char quote = x->s[x->at];
    size_t end = x->at + 1, n = 0;
    void *p;
    while (end < x->n && x->s[end] != quote) end += x->s[end] == '\\' ? 2 : 1;
    if (end >= x->n) return bad(x, "a string that does not end");
    TFM_TRY(tfm_arena_alloc(x->p->arena, &p, end - x->at, x->p->err)); /* escapes only shrink */
    char *out = p;
    for (size_t i = x->at + 1; i < end; i++) {
        if (x->s[i] != '\\') {
            out[n++] = x->s[i];
            continue;
        }
        i++;
        TFM_TRY(escape(x, &i, out, &n));
    }
    TFM_TRY(push(x, TP_T_STRING, out, n));
    advance(x, end + 1);
    return TFM_OK;
}

static tfm_status operator(lexer *x) {
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    char c = x->s[x->at];
    size_t n = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (starts(x, x->at, two[i])) n = 2;
    if (n == 1 && (c == '\0' || !strchr("+-/*%~[](){}<>=.:|,;", c))) {
        if ((unsigned char)c >= 0x80) return bad(x, "a name that is not ASCII");
        return tfm_fail(x->p->err, TFM_FORMAT, "%s:%u: unexpected character %c", x->p->name,
                        x->line, c);
    }
    TFM_TRY(push(x, TP_T_OP, x->s + x->at, n));
    advance(x, x->at + n);
    return TFM_OK;
}

static tfm_status token(lexer *x) {
    char c = x->s[x->at];
    if (is_digit(c)) return number(x);
    if (c == '\'' || c == '"') return string(x);
    if (!is_word(c)) return operator(x);
    size_t i = x->at;
    while (i < x->n && is_word(x->s[i])) i++;
    TFM_TRY(push(x, TP_T_NAME, x->s + x->at, i - x->at));
    advance(x, i);
    return TFM_OK;
}

/* Brackets are balanced here, because "}}" ends a tag only outside of them. */
static tfm_status balance(lexer *x, char *stack, size_t *depth) {
    const tp_tok *t = &x->p->tok[x->p->n - 1];
    if (t->kind != TP_T_OP || t->n != 1) return TFM_OK;
    char c = t->p[0], open = c == ')' ? '(' : c == ']' ? '[' : c == '}' ? '{' : '\0';
    if (c == '(' || c == '[' || c == '{') {
        if (*depth == TP_TREE_DEPTH) return bad(x, "too many brackets within each other");
        stack[(*depth)++] = c;
    } else if (open && (*depth == 0 || stack[--*depth] != open)) {
        return bad(x, "a bracket that was not opened");
    }
    return TFM_OK;
}

static tfm_status tag(lexer *x, bool is_block) {
    const char *close = is_block ? "%}" : "}}";
    char stack[TP_TREE_DEPTH];
    size_t depth = 0;
    TFM_TRY(push(x, is_block ? TP_T_BLOCK_BEGIN : TP_T_VAR_BEGIN, close, 0));
    for (;;) {
        size_t to = skip_space(x, x->at);
        advance(x, to);
        if (x->at >= x->n) return bad(x, "a tag that does not end");
        size_t end = depth == 0 ? tag_end(x, x->at, close, is_block) : 0;
        if (end == 0) {
            TFM_TRY(token(x));
            TFM_TRY(balance(x, stack, &depth));
            continue;
        }
        TFM_TRY(push(x, is_block ? TP_T_BLOCK_END : TP_T_VAR_END, close, 0));
        advance(x, end);
        return TFM_OK;
    }
}

/* ---- all of it ---- */

/* Line ends become LF, and the last one goes. */
static tfm_status normalise(lexer *x, const char *source, size_t n) {
    size_t bad_at, k = 0;
    void *p;
    if (n > TP_SOURCE_MAX)
        return tfm_fail(x->p->err, TFM_LIMIT, "%s: a template of %zu bytes; at most %d are taken",
                        x->p->name, n, TP_SOURCE_MAX);
    if (!tfm_utf8_valid(source, n, &bad_at))
        return tfm_fail(x->p->err, TFM_FORMAT, "%s: a template that is not UTF-8 (byte %zu)",
                        x->p->name, bad_at);
    TFM_TRY(tfm_arena_alloc(x->p->arena, &p, n + 1, x->p->err));
    char *s = p;
    for (size_t i = 0; i < n; i++) {
        if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n') continue;
        s[k++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (k > 0 && s[k - 1] == '\n') k--;
    x->s = s;
    x->n = k;
    return TFM_OK;
}

/* Where the next tag begins, or the end. */
static size_t next_tag(const lexer *x) {
    for (size_t i = x->at; i + 1 < x->n; i++) {
        const char *p = memchr(x->s + i, '{', x->n - i);
        if (p == NULL) break;
        i = (size_t)(p - x->s);
        if (i + 1 < x->n && (p[1] == '{' || p[1] == '%' || p[1] == '#')) return i;
    }
    return x->n;
}

tfm_status tfm_tp_lex(tp_parser *p, const char *source, size_t n) {
    lexer x = {.p = p, .line = 1, .line_starts = true};
    TFM_TRY(normalise(&x, source, n));
    while (x.at < x.n) {
        size_t i = next_tag(&x);
        if (i == x.n) {
            TFM_TRY(push(&x, TP_T_DATA, x.s + x.at, x.n - x.at));
            break;
        }
        char kind = x.s[i + 1], sign = i + 2 < x.n ? x.s[i + 2] : '\0';
        TFM_TRY(push_data(&x, x.at, i, sign, kind == '{'));
        size_t behind = i + 2 + (sign == '-' || sign == '+');
        size_t raw_at = kind == '%' ? raw_begin(&x, behind) : 0;
        advance(&x, raw_at ? raw_at : behind);
        if (raw_at)
            TFM_TRY(raw(&x));
        else if (kind == '#')
            TFM_TRY(comment(&x));
        else
            TFM_TRY(tag(&x, kind == '%'));
    }
    return push(&x, TP_T_END, "", 0);
}
