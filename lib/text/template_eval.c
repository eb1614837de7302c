/* template_eval.c - expressions: a walk over the tree. How deep it goes is known from parsing (a
 * tree) and counted (macros), every node is a step. */
#include <math.h>

#include "text/template_internal.h"

/* ---- arithmetic ---- */

static tfm_status bad_operands(tp_run *r, const char *op, const tp_val *a, const tp_val *b) {
    if (a->kind == TP_UNDEFINED && a->u.name)
        return tfm_tp_fail(r, "'%s' is undefined (left of %s)", a->u.name, op);
    if (b->kind == TP_UNDEFINED && b->u.name)
        return tfm_tp_fail(r, "'%s' is undefined (right of %s)", b->u.name, op);
    return tfm_tp_fail(r, "%s %s %s", tfm_tp_kind(a), op, tfm_tp_kind(b));
}

static int64_t whole(const tp_val *v) {
    return v->kind == TP_BOOL ? (int64_t)v->u.b : v->u.i;
}

static tfm_status power(tp_run *r, int64_t a, int64_t b, int64_t *out) {
    *out = 1;
    for (; b > 0; b--) {
        TFM_TRY(tfm_tp_work(r, 1));
        if (__builtin_mul_overflow(*out, a, out))
            return tfm_tp_fail(r, "a number that is too large");
    }
    return TFM_OK;
}

static tfm_status integers(tp_run *r, tp_op op, int64_t a, int64_t b, int64_t *out) {
    bool over = false;
    switch (op) {
    case TP_OP_ADD: over = __builtin_add_overflow(a, b, out); break;
    case TP_OP_SUB: over = __builtin_sub_overflow(a, b, out); break;
    case TP_OP_MUL: over = __builtin_mul_overflow(a, b, out); break;
    case TP_OP_POW: return power(r, a, b, out);
    default:
        if (b == 0) return tfm_tp_fail(r, "division by zero");
        over = a == INT64_MIN && b == -1;
        if (over) break;
        *out = op == TP_OP_MOD ? a % b : a / b;
        if (a % b != 0 && (a % b < 0) != (b < 0)) *out += op == TP_OP_MOD ? b : -1;
    }
    return over ? tfm_tp_fail(r, "a number that is too large") : TFM_OK;
}

static tfm_status numbers(tp_run *r, tp_op op, const tp_val *a, const tp_val *b, tp_val *out) {
    double x = tfm_tp_number(a), y = tfm_tp_number(b);
    bool own = a->own && b->own;
    int64_t i = 0;
    bool are_whole = a->kind != TP_FLOAT && b->kind != TP_FLOAT;
    if (are_whole && op != TP_OP_DIV && !(op == TP_OP_POW && whole(b) < 0)) {
        TFM_TRY(integers(r, op, whole(a), whole(b), &i));
        *out = tfm_tp_int(i, own);
        return TFM_OK;
    }
    switch (op) {
    case TP_OP_ADD: *out = tfm_tp_float(x + y, own); return TFM_OK;
    case TP_OP_SUB: *out = tfm_tp_float(x - y, own); return TFM_OK;
    case TP_OP_MUL: *out = tfm_tp_float(x * y, own); return TFM_OK;
    case TP_OP_DIV:
        if (y == 0) return tfm_tp_fail(r, "division by zero");
        /* Python rounds the quotient of the integers once, not each of them before. */
        if (are_whole && (fabs(x) >= 0x1p53 || fabs(y) >= 0x1p53))
            return tfm_tp_fail(r, "a number that is too large");
        *out = tfm_tp_float(x / y, own);
        return TFM_OK;
    default: return tfm_tp_fail(r, "// %% and ** of floats are not supported");
    }
}

/* string * n, list * n */
static tfm_status repeat(tp_run *r, const tp_val *a, int64_t n, tp_val *out) {
    tp_text t = {0};
    if (a->kind == TP_STR) {
        for (int64_t i = 0; i < n; i++) {
            TFM_TRY(tfm_tp_work(r, 1));
            TFM_TRY(tfm_tp_text_str(r, &t, a->u.s));
        }
        return tfm_tp_text_done(r, &t, out);
    }
    TFM_TRY(tfm_tp_list_new(r, a->u.list->form, 0, out));
    for (int64_t i = 0; i < n; i++) {
        TFM_TRY(tfm_tp_work(r, 1 + a->u.list->n));
        for (size_t k = 0; k < a->u.list->n; k++)
            TFM_TRY(tfm_tp_list_push(r, out->u.list, a->u.list->item[k]));
    }
    return TFM_OK;
}

static bool is_sequence(const tp_val *v) {
    return v->kind == TP_LIST && v->u.list->form <= TP_FORM_TUPLE;
}

static tfm_status join_lists(tp_run *r, const tp_list *a, const tp_list *b, tp_val *out) {
    TFM_TRY(tfm_tp_work(r, a->n + b->n));
    TFM_TRY(tfm_tp_list_new(r, a->form, a->n + b->n, out));
    for (size_t i = 0; i < a->n; i++) TFM_TRY(tfm_tp_list_push(r, out->u.list, a->item[i]));
    for (size_t i = 0; i < b->n; i++) TFM_TRY(tfm_tp_list_push(r, out->u.list, b->item[i]));
    return TFM_OK;
}

/* s with &<>'" as HTML has them, unless it is marked safe: what adding to a value marked safe
 * does. */
static tfm_status escaped(tp_run *r, const tp_str *s, tp_val *out) {
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    tp_text t = {0};
    if (s->is_markup) return tfm_tp_str(r, *s, out);
    for (size_t i = 0; i < s->n; i++) {
        const char *c = s->p[i] ? strchr(from, s->p[i]) : NULL;
        if (c)
            TFM_TRY(
                tfm_tp_text_bytes(r, &t, to[c - from], strlen(to[c - from]), tfm_tp_own_at(s, i)));
        else
            TFM_TRY(tfm_tp_text_part(r, &t, s, i, i + 1));
    }
    return tfm_tp_text_done(r, &t, out);
}

static tfm_status add_markup(tp_run *r, const tp_str *a, const tp_str *b, tp_val *out) {
    tp_val x, y, sum;
    TFM_TRY(tfm_tp_work(r, a->n + b->n));
    TFM_TRY(escaped(r, a, &x));
    TFM_TRY(escaped(r, b, &y));
    TFM_TRY(tfm_tp_concat(r, x.u.s, y.u.s, &sum));
    tp_str s = *sum.u.s;
    s.is_markup = true;
    return tfm_tp_str(r, s, out);
}

tfm_status tfm_tp_binary(tp_run *r, tp_op op, const tp_val *a, const tp_val *b, tp_val *out) {
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    if (tfm_tp_is_number(a) && tfm_tp_is_number(b)) return numbers(r, op, a, b, out);
    bool markup =
        (a->kind == TP_STR && a->u.s->is_markup) || (b->kind == TP_STR && b->u.s->is_markup);
    if (markup && op == TP_OP_ADD && a->kind == TP_STR && b->kind == TP_STR)
        return add_markup(r, a->u.s, b->u.s, out);
    if (markup)
        return tfm_tp_fail(r, "%s on a value that is marked safe is not supported", names[op]);
    if (op == TP_OP_ADD && a->kind == TP_STR && b->kind == TP_STR)
        return tfm_tp_concat(r, a->u.s, b->u.s, out);
    if (op == TP_OP_ADD && is_sequence(a) && is_sequence(b) && a->u.list->form == b->u.list->form)
        return join_lists(r, a->u.list, b->u.list, out);
    if (op == TP_OP_MUL && (a->kind == TP_STR || is_sequence(a)) &&
        (b->kind == TP_INT || b->kind == TP_BOOL))
        return repeat(r, a, whole(b), out);
    if (op == TP_OP_MUL && (b->kind == TP_STR || is_sequence(b)) &&
        (a->kind == TP_INT || a->kind == TP_BOOL))
        return repeat(r, b, whole(a), out);
    if (op == TP_OP_MOD && a->kind == TP_STR) return tfm_tp_format(r, a->u.s, b, out);
    return bad_operands(r, names[op], a, b);
}

tfm_status tfm_tp_compare(tp_run *r, tp_op op, const tp_val *a, const tp_val *b, bool *out) {
    static const char *const names[] = {"<", "<=", ">", ">="};
    int order;
    switch (op) {
    case TP_OP_EQ: return tfm_tp_equal(r, a, b, out);
    case TP_OP_NE: TFM_TRY(tfm_tp_equal(r, a, b, out)); break;
    case TP_OP_IN: return tfm_tp_contains(r, b, a, out);
    case TP_OP_NOT_IN: TFM_TRY(tfm_tp_contains(r, b, a, out)); break;
    default:
        if (a->kind == TP_UNDEFINED || b->kind == TP_UNDEFINED)
            return bad_operands(r, names[op - TP_OP_LT], a, b);
        TFM_TRY(tfm_tp_order(r, a, b, &order));
        *out = op == TP_OP_LT   ? order < 0
               : op == TP_OP_LE ? order <= 0
               : op == TP_OP_GT ? order > 0
                                : order >= 0;
        return TFM_OK;
    }
    *out = !*out;
    return TFM_OK;
}

static tfm_status unary(tp_run *r, tp_op op, const tp_val *a, tp_val *out) {
    if (op == TP_OP_NOT) {
        *out = tfm_tp_bool(!tfm_tp_true(a));
        return TFM_OK;
    }
    if (!tfm_tp_is_number(a)) return tfm_tp_fail(r, "%s has no sign", tfm_tp_kind(a));
    if (a->kind == TP_FLOAT) {
        *out = tfm_tp_float(op == TP_OP_NEG ? -a->u.f : a->u.f, a->own);
        return TFM_OK;
    }
    if (whole(a) == INT64_MIN) return tfm_tp_fail(r, "a number that is too large");
    *out = tfm_tp_int(op == TP_OP_NEG ? -whole(a) : whole(a), a->own);
    return TFM_OK;
}

/* ---- names, calls ---- */

tfm_status tfm_tp_lookup(tp_run *r, const char *name, tp_val *out) {
    for (const tp_scope *s = r->scope; s; s = s->up) {
        TFM_TRY(tfm_tp_work(r, s->n / 8));
        for (size_t i = s->n; i-- > 0;) {
            if (s->bound[i].name != name && strcmp(s->bound[i].name, name) != 0) continue;
            *out = s->bound[i].value;
            return TFM_OK;
        }
    }
    int function = tfm_tp_function(name);
    *out = function < 0 ? tfm_tp_undefined(name)
                        : (tp_val){.kind = TP_FUNCTION, .u.function = function};
    return TFM_OK;
}

tfm_status tfm_tp_eval_args(tp_run *r, const tp_node *first, tp_args *out) {
    size_t n = 0, n_key = 0;
    void *p;
    *out = (tp_args){0};
    for (const tp_node *a = first; a; a = a->next, n++) n_key += a->kind == TP_N_KEYWORD;
    if (n == 0) return TFM_OK;
    TFM_TRY(tfm_tp_alloc(r, &p, n * sizeof(tp_val)));
    tp_val *value = p;
    TFM_TRY(tfm_tp_alloc(r, &p, n * sizeof(char *)));
    const char **key = p;
    size_t i = 0;
    for (const tp_node *a = first; a; a = a->next, i++) {
        bool named = a->kind == TP_N_KEYWORD;
        key[i] = a->text;
        TFM_TRY(tfm_tp_eval(r, named ? a->a : a, &value[i]));
    }
    /* The parser has seen to it that keyword arguments come last. */
    *out = (tp_args){value, n - n_key, key + (n - n_key), value + (n - n_key), n_key};
    return TFM_OK;
}

tp_args tfm_tp_args_behind(const tp_args *args, size_t n) {
    tp_args a = *args;
    a.pos += n;
    a.n_pos -= n;
    return a;
}

tfm_status tfm_tp_bind(tp_run *r, const char *what, const tp_args *args, const char *names,
                       tp_val value[TP_PARAMS_MAX], bool given[TP_PARAMS_MAX]) {
    size_t n = 0;
    const char *name[TP_PARAMS_MAX];
    size_t len[TP_PARAMS_MAX];
    for (const char *s = names; *s && n < TP_PARAMS_MAX; n++) {
        name[n] = s;
        len[n] = strcspn(s, " ");
        s += len[n] + (s[len[n]] == ' ');
    }
    for (size_t i = 0; i < TP_PARAMS_MAX; i++) {
        given[i] = i < args->n_pos;
        value[i] = given[i] ? args->pos[i] : tfm_tp_undefined(NULL);
    }
    if (args->n_pos > n) return tfm_tp_fail(r, "%s: too many arguments", what);
    for (size_t k = 0; k < args->n_key; k++) {
        size_t i = 0;
        while (i < n &&
               !(strlen(args->key[k]) == len[i] && memcmp(args->key[k], name[i], len[i]) == 0))
            i++;
        if (i == n || given[i])
            return tfm_tp_fail(r, "%s: unexpected argument %s", what, args->key[k]);
        given[i] = true;
        value[i] = args->key_value[k];
    }
    return TFM_OK;
}

tfm_status tfm_tp_call_bind(tp_call *c, const char *names) {
    return tfm_tp_bind(c->r, c->name, c->args, names, c->v, c->given);
}

static tfm_status call(tp_run *r, const tp_node *n, tp_val *out) {
    tp_val f;
    tp_args args;
    TFM_TRY(tfm_tp_eval(r, n->a, &f));
    TFM_TRY(tfm_tp_eval_args(r, n->first, &args));
    r->line = n->line;
    switch (f.kind) {
    case TP_FUNCTION: return tfm_tp_call_function(r, f.u.function, &args, out);
    case TP_MACRO: return tfm_tp_call_macro(r, f.u.macro, &args, out);
    case TP_METHOD: return tfm_tp_call_method(r, f.u.method, &args, out);
    case TP_UNDEFINED:
        return tfm_tp_fail(r, "'%s' is undefined and cannot be called",
                           f.u.name ? f.u.name : "value");
    default: return tfm_tp_fail(r, "%s cannot be called", tfm_tp_kind(&f));
    }
}

/* ---- nodes ---- */

static tfm_status list(tp_run *r, const tp_node *n, tp_val *out) {
    TFM_TRY(tfm_tp_list_new(r, n->kind == TP_N_TUPLE ? TP_FORM_TUPLE : TP_FORM_LIST, 0, out));
    for (const tp_node *a = n->first; a; a = a->next) {
        tp_val v;
        TFM_TRY(tfm_tp_eval(r, a, &v));
        TFM_TRY(tfm_tp_list_push(r, out->u.list, v));
    }
    return TFM_OK;
}

static tfm_status dict(tp_run *r, const tp_node *n, tp_val *out) {
    TFM_TRY(tfm_tp_dict_new(r, 0, out));
    for (const tp_node *a = n->first; a; a = a->next->next) {
        tp_val key, value;
        TFM_TRY(tfm_tp_eval(r, a, &key));
        TFM_TRY(tfm_tp_eval(r, a->next, &value));
        TFM_TRY(tfm_tp_dict_set(r, out->u.dict, key, value));
    }
    return TFM_OK;
}

static tfm_status slice(tp_run *r, const tp_node *n, tp_val *out) {
    const tp_node *part[3] = {n->b, n->c, n->d};
    tp_val a, v[3];
    TFM_TRY(tfm_tp_eval(r, n->a, &a));
    for (int i = 0; i < 3; i++)
        if (part[i]) TFM_TRY(tfm_tp_eval(r, part[i], &v[i]));
    r->line = n->line;
    return tfm_tp_slice(r, &a, n->b ? &v[0] : NULL, n->c ? &v[1] : NULL, n->d ? &v[2] : NULL, out);
}

static tfm_status compare_chain(tp_run *r, const tp_node *n, tp_val *out) {
    tp_val left, right;
    bool good = true;
    TFM_TRY(tfm_tp_eval(r, n->a, &left));
    for (const tp_node *c = n->first; c && good; c = c->next) {
        TFM_TRY(tfm_tp_eval(r, c->b, &right));
        r->line = n->line;
        TFM_TRY(tfm_tp_compare(r, c->op, &left, &right, &good));
        left = right;
    }
    *out = tfm_tp_bool(good);
    return TFM_OK;
}

static tfm_status concat(tp_run *r, const tp_node *n, tp_val *out) {
    tp_text t = {0};
    for (const tp_node *a = n->first; a; a = a->next) {
        tp_val v;
        const tp_str *s;
        TFM_TRY(tfm_tp_eval(r, a, &v));
        TFM_TRY(tfm_tp_to_str(r, &v, &s));
        TFM_TRY(tfm_tp_text_str(r, &t, s));
    }
    return tfm_tp_text_done(r, &t, out);
}

static tfm_status filter_or_test(tp_run *r, const tp_node *n, tp_val *out) {
    tp_val a;
    tp_args args;
    bool answer;
    TFM_TRY(tfm_tp_eval(r, n->a, &a));
    TFM_TRY(tfm_tp_eval_args(r, n->first, &args));
    r->line = n->line;
    if (n->kind == TP_N_FILTER) return tfm_tp_filter(r, n->text, &a, &args, out);
    TFM_TRY(tfm_tp_test(r, n->text, &a, &args, &answer));
    *out = tfm_tp_bool(answer);
    return TFM_OK;
}

static tfm_status two(tp_run *r, const tp_node *n, tp_val *out) {
    tp_val a, b;
    TFM_TRY(tfm_tp_eval(r, n->a, &a));
    TFM_TRY(tfm_tp_eval(r, n->b, &b));
    r->line = n->line;
    return n->kind == TP_N_ITEM ? tfm_tp_item(r, &a, &b, out)
                                : tfm_tp_binary(r, n->op, &a, &b, out);
}

static tfm_status eval(tp_run *r, const tp_node *n, tp_val *out) {
    tp_val a;
    switch (n->kind) {
    case TP_N_CONST: *out = n->value; return TFM_OK;
    case TP_N_NAME: return tfm_tp_lookup(r, n->text, out);
    case TP_N_LIST:
    case TP_N_TUPLE: return list(r, n, out);
    case TP_N_DICT: return dict(r, n, out);
    case TP_N_ATTR:
        TFM_TRY(tfm_tp_eval(r, n->a, &a));
        r->line = n->line;
        return tfm_tp_attribute(r, &a, n->text, out);
    case TP_N_SLICE: return slice(r, n, out);
    case TP_N_CALL: return call(r, n, out);
    case TP_N_FILTER:
    case TP_N_TEST: return filter_or_test(r, n, out);
    case TP_N_UNARY: TFM_TRY(tfm_tp_eval(r, n->a, &a)); return unary(r, n->op, &a, out);
    case TP_N_COMPARE: return compare_chain(r, n, out);
    case TP_N_CONCAT: return concat(r, n, out);
    case TP_N_AND:
    case TP_N_OR:
        TFM_TRY(tfm_tp_eval(r, n->a, out));
        return tfm_tp_true(out) == (n->kind == TP_N_AND) ? tfm_tp_eval(r, n->b, out) : TFM_OK;
    case TP_N_IF_ELSE:
        TFM_TRY(tfm_tp_eval(r, n->b, &a));
        if (tfm_tp_true(&a)) return tfm_tp_eval(r, n->a, out);
        if (n->c) return tfm_tp_eval(r, n->c, out);
        *out = tfm_tp_undefined(NULL);
        return TFM_OK;
    default: return two(r, n, out);
    }
}

tfm_status tfm_tp_eval(tp_run *r, const tp_node *n, tp_val *out) {
    TFM_TRY(tfm_tp_enter(r));
    TFM_TRY(tfm_tp_work(r, 1));
    r->line = n->line;
    tfm_status st = eval(r, n, out);
    tfm_tp_leave(r);
    return st;
}
