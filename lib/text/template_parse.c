/* template_parse.c - tokens to expressions, with Jinja's precedences (loosest first):
 *
 *     a if b else c;  or;  and;  not;  == != < <= > >= in, not in;  + -;  ~;  * / // %;  **;
 *     unary - +;  .name [item] (call);  | filter, is test
 *
 * Every node knows how deep the tree below it is, so that whoever walks it may recurse. */
#include <stdarg.h>
#include <stdio.h>

#include "text/template_internal.h"

/* ---- what statements use, too ---- */

tfm_status tfm_tp_bad(tp_parser *p, tfm_status st, const char *fmt, ...) {
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return tfm_fail(p->err, st, "%s:%u: %s", p->name, tfm_tp_peek(p)->line, text);
}

tfm_status tfm_tp_unexpected(tp_parser *p) {
    const tp_tok *t = tfm_tp_peek(p);
    switch (t->kind) {
    case TP_T_END: return tfm_tp_bad(p, TFM_FORMAT, "unexpected end of the template");
    case TP_T_DATA:
    case TP_T_STRING: return tfm_tp_bad(p, TFM_FORMAT, "unexpected text");
    case TP_T_VAR_BEGIN: return tfm_tp_bad(p, TFM_FORMAT, "unexpected {{");
    case TP_T_BLOCK_BEGIN: return tfm_tp_bad(p, TFM_FORMAT, "unexpected {%%");
    case TP_T_VAR_END:
    case TP_T_BLOCK_END: return tfm_tp_bad(p, TFM_FORMAT, "unexpected end of a tag");
    default:
        return tfm_tp_bad(p, TFM_FORMAT, "unexpected %.*s", (int)(t->n < 40 ? t->n : 40), t->p);
    }
}

const tp_tok *tfm_tp_peek(const tp_parser *p) {
    return &p->tok[p->at];
}

static bool token_is(const tp_tok *t, tp_tok_kind kind, const char *text) {
    return t->kind == kind && t->n == strlen(text) && memcmp(t->p, text, t->n) == 0;
}
bool tfm_tp_is_op(const tp_parser *p, const char *op) {
    return token_is(tfm_tp_peek(p), TP_T_OP, op);
}
bool tfm_tp_is_name(const tp_parser *p, const char *name) {
    return token_is(tfm_tp_peek(p), TP_T_NAME, name);
}
bool tfm_tp_skip_op(tp_parser *p, const char *op) {
    bool is = tfm_tp_is_op(p, op);
    p->at += is;
    return is;
}
bool tfm_tp_skip_name(tp_parser *p, const char *name) {
    bool is = tfm_tp_is_name(p, name);
    p->at += is;
    return is;
}
tfm_status tfm_tp_expect_op(tp_parser *p, const char *op) {
    return tfm_tp_skip_op(p, op) ? TFM_OK : tfm_tp_unexpected(p);
}

tfm_status tfm_tp_intern(tp_parser *p, const char *s, size_t n, const char **out) {
    for (size_t i = 0; i < p->n_names; i++) {
        *out = p->names[i];
        if (strlen(*out) == n && memcmp(*out, s, n) == 0) return TFM_OK;
    }
    if (p->n_names == 4096)
        return tfm_tp_bad(p, TFM_LIMIT, "more than %zu different names", p->n_names);
    void *names = p->names;
    tfm_status st = tfm_grow(&names, &p->cap_names, p->n_names + 1, sizeof *p->names, p->err);
    p->names = names;
    if (st != TFM_OK) return st;
    TFM_TRY(tfm_arena_strndup(p->arena, out, s, n, p->err));
    p->names[p->n_names++] = *out;
    return TFM_OK;
}

tfm_status tfm_tp_node(tp_parser *p, tp_node_kind kind, tp_node **out) {
    void *n;
    *out = NULL;
    if (++p->n_nodes > TP_NODES_MAX) return tfm_tp_bad(p, TFM_LIMIT, "too long a template");
    TFM_TRY(tfm_arena_alloc(p->arena, &n, sizeof **out, p->err));
    *out = n;
    (*out)->kind = kind;
    (*out)->line = tfm_tp_peek(p)->line;
    (*out)->depth = 1;
    return TFM_OK;
}

tfm_status tfm_tp_adopt(tp_parser *p, tp_node *n, const tp_node *child) {
    if (child && child->depth >= n->depth) n->depth = child->depth + 1;
    if (n->depth > TP_TREE_DEPTH)
        return tfm_tp_bad(p, TFM_LIMIT, "more than %d levels within each other", TP_TREE_DEPTH);
    return TFM_OK;
}

/* Appends to the list n->first; *last is its end, NULL at first. */
static tfm_status append(tp_parser *p, tp_node *n, tp_node **last, tp_node *child) {
    if (*last)
        (*last)->next = child;
    else
        n->first = child;
    *last = child;
    return tfm_tp_adopt(p, n, child);
}

/* A node of `kind` over a and b, which may be NULL. */
static tfm_status over(tp_parser *p, tp_node_kind kind, tp_op op, tp_node *a, tp_node *b,
                       tp_node **out) {
    tp_node *n;
    TFM_TRY(tfm_tp_node(p, kind, &n));
    n->op = op;
    n->a = a;
    n->b = b;
    if (a) n->line = a->line;
    TFM_TRY(tfm_tp_adopt(p, n, a));
    TFM_TRY(tfm_tp_adopt(p, n, b));
    *out = n;
    return TFM_OK;
}

static tfm_status parse_unary(tp_parser *p, bool with_filter, tp_node **out) TFM_MUST_CHECK;

/* ---- atoms ---- */

static tfm_status constant(tp_parser *p, tp_val v, tp_node **out) {
    TFM_TRY(tfm_tp_node(p, TP_N_CONST, out));
    (*out)->value = v;
    return TFM_OK;
}

/* Strings beside each other are one. */
static tfm_status string_atom(tp_parser *p, tp_node **out) {
    tfm_buf b = {0};
    tfm_status st = TFM_OK;
    void *s;
    const char *text = NULL;
    for (; tfm_tp_peek(p)->kind == TP_T_STRING && st == TFM_OK; p->at++)
        st = tfm_buf_add(&b, tfm_tp_peek(p)->p, tfm_tp_peek(p)->n, p->err);
    if (st == TFM_OK) st = tfm_arena_strndup(p->arena, &text, b.data ? b.data : "", b.len, p->err);
    size_t n = b.len;
    tfm_buf_free(&b);
    if (st != TFM_OK) return st;
    TFM_TRY(tfm_arena_alloc(p->arena, &s, sizeof(tp_str), p->err));
    *(tp_str *)s = (tp_str){.p = text, .n = n, .own = true};
    return constant(p, (tp_val){.kind = TP_STR, .u.s = s}, out);
}

static tfm_status name_atom(tp_parser *p, tp_node **out) {
    static const struct {
        const char *name;
        int value;
    } words[] = {{"true", 1}, {"True", 1}, {"false", 0}, {"False", 0}, {"none", -1}, {"None", -1}};
    const tp_tok *t = tfm_tp_peek(p);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!tfm_tp_skip_name(p, words[i].name)) continue;
        tp_val v = words[i].value < 0 ? tfm_tp_none() : tfm_tp_bool(words[i].value == 1);
        v.own = true;
        return constant(p, v, out);
    }
    if (p->macros && (tfm_tp_is_name(p, "varargs") || tfm_tp_is_name(p, "kwargs") ||
                      tfm_tp_is_name(p, "caller")))
        return tfm_tp_bad(p, TFM_UNSUPPORTED, "%.*s in a macro is not supported", (int)t->n, t->p);
    TFM_TRY(tfm_tp_node(p, TP_N_NAME, out));
    p->at++;
    return tfm_tp_intern(p, t->p, t->n, &(*out)->text);
}

/* Items up to `close`, which is taken. */
static tfm_status list_atom(tp_parser *p, tp_node_kind kind, const char *close, tp_node **out) {
    tp_node *last = NULL, *item;
    TFM_TRY(tfm_tp_node(p, kind, out));
    p->at++;
    while (!tfm_tp_skip_op(p, close)) {
        if (last) TFM_TRY(tfm_tp_expect_op(p, ","));
        if (last && tfm_tp_skip_op(p, close)) break;
        TFM_TRY(tfm_tp_parse_expression(p, true, &item));
        TFM_TRY(append(p, *out, &last, item));
        if (kind != TP_N_DICT) continue;
        TFM_TRY(tfm_tp_expect_op(p, ":"));
        TFM_TRY(tfm_tp_parse_expression(p, true, &item));
        TFM_TRY(append(p, *out, &last, item));
    }
    return TFM_OK;
}

static tfm_status bracket_atom(tp_parser *p, tp_node **out) {
    p->at++;
    if (tfm_tp_skip_op(p, ")")) return tfm_tp_node(p, TP_N_TUPLE, out);
    TFM_TRY(tfm_tp_parse_tuple(p, true, out));
    return tfm_tp_expect_op(p, ")");
}

static tfm_status parse_primary(tp_parser *p, tp_node **out) {
    const tp_tok *t = tfm_tp_peek(p);
    switch (t->kind) {
    case TP_T_NAME: return name_atom(p, out);
    case TP_T_STRING: return string_atom(p, out);
    case TP_T_INT: p->at++; return constant(p, tfm_tp_int(t->i, true), out);
    case TP_T_FLOAT: p->at++; return constant(p, tfm_tp_float(t->f, true), out);
    default: break;
    }
    if (tfm_tp_is_op(p, "(")) return bracket_atom(p, out);
    if (tfm_tp_is_op(p, "[")) return list_atom(p, TP_N_LIST, "]", out);
    if (tfm_tp_is_op(p, "{")) return list_atom(p, TP_N_DICT, "}", out);
    return tfm_tp_unexpected(p);
}

/* ---- what follows an atom ---- */

static bool next_is_assignment(const tp_parser *p) {
    return tfm_tp_peek(p)->kind == TP_T_NAME && token_is(&p->tok[p->at + 1], TP_T_OP, "=");
}

/* "(a, b, k=c)" at the bracket, into n->first. */
static tfm_status parse_args(tp_parser *p, tp_node *n) {
    tp_node *last = NULL, *arg;
    bool any_keyword = false;
    TFM_TRY(tfm_tp_expect_op(p, "("));
    while (!tfm_tp_skip_op(p, ")")) {
        if (last) TFM_TRY(tfm_tp_expect_op(p, ","));
        if (last && tfm_tp_skip_op(p, ")")) break;
        if (tfm_tp_is_op(p, "*") || tfm_tp_is_op(p, "**"))
            return tfm_tp_bad(p, TFM_UNSUPPORTED, "* and ** in a call are not supported");
        if (next_is_assignment(p)) {
            const tp_tok *t = tfm_tp_peek(p);
            TFM_TRY(tfm_tp_node(p, TP_N_KEYWORD, &arg));
            TFM_TRY(tfm_tp_intern(p, t->p, t->n, &arg->text));
            p->at += 2;
            TFM_TRY(tfm_tp_parse_expression(p, true, &arg->a));
            TFM_TRY(tfm_tp_adopt(p, arg, arg->a));
            any_keyword = true;
        } else {
            if (any_keyword) return tfm_tp_unexpected(p);
            TFM_TRY(tfm_tp_parse_expression(p, true, &arg));
        }
        TFM_TRY(append(p, n, &last, arg));
    }
    return TFM_OK;
}

static tfm_status parse_attribute(tp_parser *p, tp_node *a, tp_node **out) {
    const tp_tok *t = tfm_tp_peek(p);
    p->at++;
    if (t->kind == TP_T_INT) {
        tp_node *index;
        TFM_TRY(constant(p, tfm_tp_int(t->i, true), &index));
        return over(p, TP_N_ITEM, TP_OP_ADD, a, index, out);
    }
    if (t->kind != TP_T_NAME) {
        p->at--;
        return tfm_tp_unexpected(p);
    }
    TFM_TRY(over(p, TP_N_ATTR, TP_OP_ADD, a, NULL, out));
    return tfm_tp_intern(p, t->p, t->n, &(*out)->text);
}

/* a[from:to:step] or a[item], behind the bracket. */
static tfm_status parse_subscript(tp_parser *p, tp_node *a, tp_node **out) {
    tp_node *part[3] = {NULL, NULL, NULL}, *n;
    unsigned colons = 0;
    while (!tfm_tp_is_op(p, "]")) {
        if (tfm_tp_skip_op(p, ":")) {
            if (++colons > 2) return tfm_tp_unexpected(p);
        } else {
            if (part[colons]) return tfm_tp_unexpected(p);
            TFM_TRY(tfm_tp_parse_expression(p, true, &part[colons]));
        }
    }
    p->at++;
    if (colons == 0 && part[0]) return over(p, TP_N_ITEM, TP_OP_ADD, a, part[0], out);
    if (colons == 0) return tfm_tp_unexpected(p);
    TFM_TRY(over(p, TP_N_SLICE, TP_OP_ADD, a, part[0], &n));
    n->c = part[1];
    n->d = part[2];
    TFM_TRY(tfm_tp_adopt(p, n, n->c));
    *out = n;
    return tfm_tp_adopt(p, n, n->d);
}

static tfm_status parse_call(tp_parser *p, tp_node *a, tp_node **out) {
    TFM_TRY(over(p, TP_N_CALL, TP_OP_ADD, a, NULL, out));
    return parse_args(p, *out);
}

static tfm_status parse_postfix(tp_parser *p, tp_node **out) {
    for (;;) {
        if (tfm_tp_skip_op(p, "."))
            TFM_TRY(parse_attribute(p, *out, out));
        else if (tfm_tp_skip_op(p, "["))
            TFM_TRY(parse_subscript(p, *out, out));
        else if (tfm_tp_is_op(p, "("))
            TFM_TRY(parse_call(p, *out, out));
        else
            return TFM_OK;
    }
}

/* The name of a filter or test, into n. */
static tfm_status parse_function_name(tp_parser *p, tp_node *n) {
    const tp_tok *t = tfm_tp_peek(p);
    if (t->kind != TP_T_NAME) return tfm_tp_unexpected(p);
    p->at++;
    if (tfm_tp_is_op(p, "."))
        return tfm_tp_bad(p, TFM_UNSUPPORTED, "%.*s. is no filter or test", (int)t->n, t->p);
    return tfm_tp_intern(p, t->p, t->n, &n->text);
}

static tfm_status parse_filter(tp_parser *p, tp_node *a, tp_node **out) {
    TFM_TRY(over(p, TP_N_FILTER, TP_OP_ADD, a, NULL, out));
    TFM_TRY(parse_function_name(p, *out));
    return tfm_tp_is_op(p, "(") ? parse_args(p, *out) : TFM_OK;
}

tfm_status tfm_tp_parse_filters(tp_parser *p, tp_node *a, tp_node **out) {
    *out = a;
    while (tfm_tp_skip_op(p, "|")) TFM_TRY(parse_filter(p, *out, out));
    return TFM_OK;
}

/* May an argument without brackets follow a test here? */
static bool test_argument_follows(const tp_parser *p) {
    tp_tok_kind k = tfm_tp_peek(p)->kind;
    if (k == TP_T_NAME)
        return !tfm_tp_is_name(p, "else") && !tfm_tp_is_name(p, "or") && !tfm_tp_is_name(p, "and");
    return k == TP_T_STRING || k == TP_T_INT || k == TP_T_FLOAT || tfm_tp_is_op(p, "[") ||
           tfm_tp_is_op(p, "{");
}

static tfm_status parse_test(tp_parser *p, tp_node *a, tp_node **out) {
    bool is_not = tfm_tp_skip_name(p, "not");
    tp_node *n;
    TFM_TRY(over(p, TP_N_TEST, TP_OP_ADD, a, NULL, &n));
    TFM_TRY(parse_function_name(p, n));
    if (tfm_tp_is_op(p, "(")) {
        TFM_TRY(parse_args(p, n));
    } else if (test_argument_follows(p)) {
        if (tfm_tp_is_name(p, "is")) return tfm_tp_unexpected(p);
        TFM_TRY(parse_primary(p, &n->first));
        TFM_TRY(parse_postfix(p, &n->first));
        TFM_TRY(tfm_tp_adopt(p, n, n->first));
    }
    *out = n;
    return is_not ? over(p, TP_N_UNARY, TP_OP_NOT, n, NULL, out) : TFM_OK;
}

static tfm_status parse_filters_and_tests(tp_parser *p, tp_node **out) {
    for (;;) {
        if (tfm_tp_skip_op(p, "|"))
            TFM_TRY(parse_filter(p, *out, out));
        else if (tfm_tp_skip_name(p, "is"))
            TFM_TRY(parse_test(p, *out, out));
        else if (tfm_tp_is_op(p, "("))
            TFM_TRY(parse_call(p, *out, out));
        else
            return TFM_OK;
    }
}

/* ---- operators ---- */

static tfm_status parse_unary(tp_parser *p, bool with_filter, tp_node **out) {
    if (++p->depth > TP_TREE_DEPTH)
        return tfm_tp_bad(p, TFM_LIMIT, "more than %d levels within each other", TP_TREE_DEPTH);
    bool minus = tfm_tp_skip_op(p, "-"), plus = !minus && tfm_tp_skip_op(p, "+");
    if (minus || plus) {
        TFM_TRY(parse_unary(p, false, out));
        TFM_TRY(over(p, TP_N_UNARY, minus ? TP_OP_NEG : TP_OP_POS, *out, NULL, out));
    } else {
        TFM_TRY(parse_primary(p, out));
    }
    TFM_TRY(parse_postfix(p, out));
    p->depth--;
    return with_filter ? parse_filters_and_tests(p, out) : TFM_OK;
}

static tfm_status parse_power(tp_parser *p, tp_node **out) {
    TFM_TRY(parse_unary(p, true, out));
    while (tfm_tp_skip_op(p, "**")) {
        tp_node *right;
        TFM_TRY(parse_unary(p, true, &right));
        TFM_TRY(over(p, TP_N_BINARY, TP_OP_POW, *out, right, out));
    }
    return TFM_OK;
}

/* The first of ops[0..n) that is here is taken. */
static bool take_op(tp_parser *p, const char *const *text, const tp_op *ops, size_t n, tp_op *op) {
    for (size_t i = 0; i < n; i++)
        if (tfm_tp_skip_op(p, text[i])) {
            *op = ops[i];
            return true;
        }
    return false;
}

static tfm_status parse_product(tp_parser *p, tp_node **out) {
    static const char *const text[] = {"*", "/", "//", "%"};
    static const tp_op ops[] = {TP_OP_MUL, TP_OP_DIV, TP_OP_FLOORDIV, TP_OP_MOD};
    tp_op op;
    TFM_TRY(parse_power(p, out));
    while (take_op(p, text, ops, 4, &op)) {
        tp_node *right;
        TFM_TRY(parse_power(p, &right));
        TFM_TRY(over(p, TP_N_BINARY, op, *out, right, out));
    }
    return TFM_OK;
}

static tfm_status parse_concat(tp_parser *p, tp_node **out) {
    tp_node *first, *last = NULL, *next;
    TFM_TRY(parse_product(p, &first));
    *out = first;
    if (!tfm_tp_is_op(p, "~")) return TFM_OK;
    TFM_TRY(tfm_tp_node(p, TP_N_CONCAT, out));
    TFM_TRY(append(p, *out, &last, first));
    while (tfm_tp_skip_op(p, "~")) {
        TFM_TRY(parse_product(p, &next));
        TFM_TRY(append(p, *out, &last, next));
    }
    return TFM_OK;
}

static tfm_status parse_sum(tp_parser *p, tp_node **out) {
    static const char *const text[] = {"+", "-"};
    static const tp_op ops[] = {TP_OP_ADD, TP_OP_SUB};
    tp_op op;
    TFM_TRY(parse_concat(p, out));
    while (take_op(p, text, ops, 2, &op)) {
        tp_node *right;
        TFM_TRY(parse_concat(p, &right));
        TFM_TRY(over(p, TP_N_BINARY, op, *out, right, out));
    }
    return TFM_OK;
}

static bool take_comparison(tp_parser *p, tp_op *op) {
    static const char *const text[] = {"==", "!=", "<", "<=", ">", ">="};
    static const tp_op ops[] = {TP_OP_EQ, TP_OP_NE, TP_OP_LT, TP_OP_LE, TP_OP_GT, TP_OP_GE};
    if (take_op(p, text, ops, 6, op)) return true;
    if (tfm_tp_skip_name(p, "in")) {
        *op = TP_OP_IN;
        return true;
    }
    if (!tfm_tp_is_name(p, "not") || !token_is(&p->tok[p->at + 1], TP_T_NAME, "in")) return false;
    p->at += 2;
    *op = TP_OP_NOT_IN;
    return true;
}

static tfm_status parse_comparison(tp_parser *p, tp_node **out) {
    tp_node *chain = NULL, *last = NULL, *right, *link;
    tp_op op;
    TFM_TRY(parse_sum(p, out));
    while (take_comparison(p, &op)) {
        if (chain == NULL) {
            TFM_TRY(over(p, TP_N_COMPARE, op, *out, NULL, &chain));
            *out = chain;
        }
        TFM_TRY(parse_sum(p, &right));
        TFM_TRY(over(p, TP_N_BINARY, op, NULL, right, &link));
        TFM_TRY(append(p, chain, &last, link));
    }
    return TFM_OK;
}

static tfm_status parse_not(tp_parser *p, tp_node **out) {
    unsigned n = 0;
    while (tfm_tp_skip_name(p, "not"))
        if (++n > TP_TREE_DEPTH) return tfm_tp_unexpected(p);
    TFM_TRY(parse_comparison(p, out));
    for (; n > 0; n--) TFM_TRY(over(p, TP_N_UNARY, TP_OP_NOT, *out, NULL, out));
    return TFM_OK;
}

static tfm_status parse_and(tp_parser *p, tp_node **out) {
    tp_node *right;
    TFM_TRY(parse_not(p, out));
    while (tfm_tp_skip_name(p, "and")) {
        TFM_TRY(parse_not(p, &right));
        TFM_TRY(over(p, TP_N_AND, TP_OP_ADD, *out, right, out));
    }
    return TFM_OK;
}

static tfm_status parse_or(tp_parser *p, tp_node **out) {
    tp_node *right;
    TFM_TRY(parse_and(p, out));
    while (tfm_tp_skip_name(p, "or")) {
        TFM_TRY(parse_and(p, &right));
        TFM_TRY(over(p, TP_N_OR, TP_OP_ADD, *out, right, out));
    }
    return TFM_OK;
}

tfm_status tfm_tp_parse_expression(tp_parser *p, bool with_if, tp_node **out) {
    tp_node *n, *condition;
    if (++p->depth > TP_TREE_DEPTH)
        return tfm_tp_bad(p, TFM_LIMIT, "more than %d levels within each other", TP_TREE_DEPTH);
    TFM_TRY(parse_or(p, out));
    while (with_if && tfm_tp_skip_name(p, "if")) {
        TFM_TRY(parse_or(p, &condition));
        TFM_TRY(over(p, TP_N_IF_ELSE, TP_OP_ADD, *out, condition, &n));
        if (tfm_tp_skip_name(p, "else")) TFM_TRY(tfm_tp_parse_expression(p, true, &n->c));
        TFM_TRY(tfm_tp_adopt(p, n, n->c));
        *out = n;
    }
    p->depth--;
    return TFM_OK;
}

/* ---- tuples and targets ---- */

static bool tuple_ends(const tp_parser *p) {
    tp_tok_kind k = tfm_tp_peek(p)->kind;
    return k == TP_T_VAR_END || k == TP_T_BLOCK_END || k == TP_T_END || tfm_tp_is_op(p, ")");
}

tfm_status tfm_tp_parse_tuple(tp_parser *p, bool with_if, tp_node **out) {
    tp_node *item, *last = NULL;
    TFM_TRY(tfm_tp_parse_expression(p, with_if, &item));
    *out = item;
    if (!tfm_tp_is_op(p, ",")) return TFM_OK;
    TFM_TRY(tfm_tp_node(p, TP_N_TUPLE, out));
    TFM_TRY(append(p, *out, &last, item));
    while (tfm_tp_skip_op(p, ",")) {
        if (tuple_ends(p)) break;
        TFM_TRY(tfm_tp_parse_expression(p, with_if, &item));
        TFM_TRY(append(p, *out, &last, item));
    }
    return TFM_OK;
}

static tfm_status parse_target_name(tp_parser *p, tp_node **out) {
    if (tfm_tp_peek(p)->kind != TP_T_NAME) return tfm_tp_unexpected(p);
    TFM_TRY(name_atom(p, out));
    return (*out)->kind == TP_N_NAME ? TFM_OK : tfm_tp_unexpected(p);
}

tfm_status tfm_tp_parse_target(tp_parser *p, bool with_namespace, tp_node **out) {
    tp_node *item, *last = NULL;
    bool bracket = tfm_tp_skip_op(p, "(");
    TFM_TRY(parse_target_name(p, &item));
    *out = item;
    if (with_namespace && !bracket && tfm_tp_skip_op(p, ".")) return parse_attribute(p, item, out);
    if (tfm_tp_is_op(p, ",")) {
        TFM_TRY(tfm_tp_node(p, TP_N_TUPLE, out));
        TFM_TRY(append(p, *out, &last, item));
        while (tfm_tp_skip_op(p, ",")) {
            if (tfm_tp_peek(p)->kind != TP_T_NAME || tfm_tp_is_name(p, "in")) break;
            TFM_TRY(parse_target_name(p, &item));
            TFM_TRY(append(p, *out, &last, item));
        }
    }
    return bracket ? tfm_tp_expect_op(p, ")") : TFM_OK;
}
