/* expr.c - recursive descent over one line of text, evaluating as it goes.
 *
 * Owns: grammar, functions, and the depth limit. No syntax tree: an expression is evaluated once or
 * once per layer and is never longer than a line. In the branch of `if` that is not taken, `live`
 * is false: it is parsed, but names and arithmetic have no effect and cannot fail.
 */
#include "arch/expr_internal.h"

#include <math.h>
#include <string.h>

#include "backend/math_internal.h"

#define LN_2 0x1.62e42fefa39efp-1

#define MAX_DEPTH 40
#define MAX_ARGS 3

typedef struct parser {
    const tfm_yaml *where;
    const char *text, *p;
    const tfm_scope *scope;
    unsigned depth;
    bool live;
    tfm_error *err;
} parser;

static tfm_status parse_or(parser *e, tfm_val *out);

static tfm_status bad(const parser *e, const char *what) {
    return tfm_yaml_fail(e->where, e->err, TFM_FORMAT, "in expression '%.200s' at '%.40s': %s",
                         e->text, e->p, what);
}

static tfm_val number(double v) {
    return (tfm_val){.kind = TFM_VAL_NUM, .num = v};
}

static void skip_space(parser *e) {
    while (*e->p == ' ' || *e->p == '\t' || *e->p == '\n') e->p++;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
}

static bool take(parser *e, const char *token) {
    size_t n = strlen(token);
    skip_space(e);
    if (strncmp(e->p, token, n) != 0) return false;
    if (is_word(token[0]) && is_word(e->p[n])) return false;
    e->p += n;
    return true;
}

static tfm_status need_num(const parser *e, const tfm_val *v, double *out) {
    *out = 0;
    if (!e->live) return TFM_OK;
    if (v->kind == TFM_VAL_NONE) return bad(e, "a number is needed, and this is not set");
    if (v->kind != TFM_VAL_NUM) return bad(e, "a number is needed here");
    *out = v->num;
    return TFM_OK;
}

static tfm_status truth(const parser *e, const tfm_val *v, bool *out) {
    *out = false;
    if (!e->live) return TFM_OK;
    if (v->kind == TFM_VAL_STR || v->kind == TFM_VAL_LIST)
        return bad(e, "yes or no is needed here");
    *out = v->kind == TFM_VAL_NUM && v->num != 0;
    return TFM_OK;
}

static tfm_status finite_result(const parser *e, double v, tfm_val *out) {
    *out = number(e->live ? v : 0);
    if (e->live && !isfinite(v)) return bad(e, "the result is not a finite number");
    return TFM_OK;
}

typedef struct function {
    const char *name;
    int n_args;
    double (*f)(const double *a);
} function;

static double f_sqrt(const double *a) {
    return sqrt(a[0]);
}
static double f_log(const double *a) {
    return tfm_log(a[0]);
}
static double f_log2(const double *a) {
    int e;
    const double m = frexp(a[0], &e); /* exact, so a power of two gives a whole number */
    if (!(m > 0) || isinf(m)) return NAN;
    return e - 1 + tfm_log(2 * m) / LN_2;
}
static double f_exp(const double *a) {
    return tfm_exp(a[0]);
}
static double f_floor(const double *a) {
    return floor(a[0]);
}
static double f_ceil(const double *a) {
    return ceil(a[0]);
}
/* Whole exponents by multiplication: exact where the result is, and of any base. */
static double f_pow(const double *a) {
    double x = a[0], result = 1;
    if (a[1] != floor(a[1]) || fabs(a[1]) > 64) return x == 0 && a[1] > 0 ? 0 : tfm_pow(x, a[1]);
    for (int n = (int)fabs(a[1]); n > 0; n /= 2) {
        if (n % 2) result *= x;
        if (n > 1) x *= x;
    }
    return a[1] < 0 ? 1 / result : result;
}
static double f_min(const double *a) {
    return a[0] < a[1] ? a[0] : a[1];
}
static double f_max(const double *a) {
    return a[0] > a[1] ? a[0] : a[1];
}
static double f_clamp(const double *a) {
    return a[0] < a[1] ? a[1] : a[0] > a[2] ? a[2] : a[0];
}

static double f_sin(const double *a) {
    double s, c;
    tfm_sincos(a[0], &s, &c);
    return s;
}
static double f_cos(const double *a) {
    double s, c;
    tfm_sincos(a[0], &s, &c);
    return c;
}

static const function functions[] = {
    {"sqrt", 1, f_sqrt},   {"log", 1, f_log},   {"log2", 1, f_log2}, {"exp", 1, f_exp},
    {"floor", 1, f_floor}, {"ceil", 1, f_ceil}, {"pow", 2, f_pow},   {"min", 2, f_min},
    {"max", 2, f_max},     {"sin", 1, f_sin},   {"cos", 1, f_cos},   {"clamp", 3, f_clamp}};

/* if(c, a, b): only the branch taken is live. */
static tfm_status call_if(parser *e, tfm_val *out) {
    tfm_val c, a, b;
    bool yes, live = e->live;
    TFM_TRY(parse_or(e, &c));
    TFM_TRY(truth(e, &c, &yes));
    if (!take(e, ",")) return bad(e, "if(condition, then, else) has three parts");
    e->live = live && yes;
    TFM_TRY(parse_or(e, &a));
    if (!take(e, ",")) return bad(e, "if(condition, then, else) has three parts");
    e->live = live && !yes;
    TFM_TRY(parse_or(e, &b));
    e->live = live;
    *out = yes ? a : b;
    return TFM_OK;
}

/* first(a, b, ...): the first that is not none. */
static tfm_status call_first(parser *e, tfm_val *out) {
    bool live = e->live;
    *out = (tfm_val){0};
    do {
        tfm_val v;
        e->live = live && out->kind == TFM_VAL_NONE;
        TFM_TRY(parse_or(e, &v));
        if (e->live) *out = v;
    } while (take(e, ","));
    e->live = live;
    return TFM_OK;
}

static tfm_status call_has(parser *e, tfm_val *out) {
    const char *start;
    skip_space(e);
    start = e->p;
    while (is_word(*e->p)) e->p++;
    if (e->scope->has == NULL) return bad(e, "has() can be asked in steps only");
    *out = number(e->live && e->scope->has(e->scope, start, (size_t)(e->p - start)));
    return TFM_OK;
}

static tfm_status call_len(parser *e, tfm_val *out) {
    tfm_val v;
    TFM_TRY(parse_or(e, &v));
    if (e->live && v.kind != TFM_VAL_LIST) return bad(e, "len() takes a list");
    *out = number((double)v.n);
    return TFM_OK;
}

/* The name of a tensor of the checkpoint; *out stays NULL where nothing is looked at. */
static tfm_status take_stored(parser *e, bool all, const tfm_tensor **out, uint64_t *count) {
    const char *start;
    *out = NULL;
    *count = 0;
    skip_space(e);
    start = e->p;
    while (is_word(*e->p)) e->p++;
    if (e->scope->stored == NULL) return bad(e, "what is stored can be asked in 'fill' only");
    if (!e->live) return TFM_OK;
    TFM_TRY(e->scope->stored(e->scope, e->where, start, (size_t)(e->p - start), all, out, e->err));
    return tfm_dims_count((*out)->rank, (*out)->dims, count) ? TFM_OK : bad(e, "too large");
}

static tfm_status element(parser *e, const tfm_tensor *t, uint64_t i, double *out) {
    float v;
    const unsigned char *data = t->data;
    TFM_TRY(tfm_to_f32(t->dtype, data + i * tfm_dtype_block_bytes(t->dtype), 1, &v, e->err));
    *out = (double)v;
    return TFM_OK;
}

/* stored(NAME, i): a number of the checkpoint's tensor. */
static tfm_status call_stored(parser *e, tfm_val *out) {
    const tfm_tensor *t;
    uint64_t count;
    tfm_val at;
    double i, v = 0;
    TFM_TRY(take_stored(e, false, &t, &count));
    if (!take(e, ",")) return bad(e, "stored(tensor, element) has two parts");
    TFM_TRY(parse_or(e, &at));
    TFM_TRY(need_num(e, &at, &i));
    if (t != NULL && (!(i >= 0 && i < (double)count) || i != floor(i)))
        return bad(e, "the tensor has no such element");
    if (t != NULL) TFM_TRY(element(e, t, (uint64_t)i, &v));
    return finite_result(e, v, out);
}

/* dot(NAME, NAME): the sum of the products, in ascending order. */
static tfm_status call_dot(parser *e, tfm_val *out) {
    const tfm_tensor *a, *b;
    uint64_t n, m;
    double sum = 0, x = 0, y = 0;
    TFM_TRY(take_stored(e, true, &a, &n));
    if (!take(e, ",")) return bad(e, "dot(tensor, tensor) has two parts");
    TFM_TRY(take_stored(e, true, &b, &m));
    if (n != m) return bad(e, "the two tensors differ in size");
    for (uint64_t i = 0; i < n; i++) {
        TFM_TRY(element(e, a, i, &x));
        TFM_TRY(element(e, b, i, &y));
        sum += x * y;
    }
    return finite_result(e, sum, out);
}

static bool equal(const tfm_val *a, const tfm_val *b) {
    if (a->kind != b->kind) return false;
    if (a->kind == TFM_VAL_NUM) return a->num == b->num;
    if (a->kind == TFM_VAL_STR) return a->len == b->len && memcmp(a->str, b->str, a->len) == 0;
    return a->kind == TFM_VAL_NONE;
}

/* in(x, list): is x an element? None has none. */
static tfm_status call_in(parser *e, tfm_val *out) {
    tfm_val x, list;
    bool yes = false;
    TFM_TRY(parse_or(e, &x));
    if (!take(e, ",")) return bad(e, "in(value, list) has two parts");
    TFM_TRY(parse_or(e, &list));
    if (e->live && list.kind != TFM_VAL_LIST && list.kind != TFM_VAL_NONE)
        return bad(e, "in() takes a list");
    for (size_t i = 0; e->live && i < list.n && !yes; i++) yes = equal(&x, &list.item[i]);
    *out = number(yes);
    return TFM_OK;
}

static tfm_status call(parser *e, const char *name, size_t len, tfm_val *out) {
    static const struct {
        const char *name;
        tfm_status (*f)(parser *e, tfm_val *out);
    } special[] = {{"if", call_if},         {"first", call_first}, {"has", call_has},
                   {"stored", call_stored}, {"dot", call_dot},     {"in", call_in},
                   {"len", call_len}};
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
        if (strlen(special[i].name) == len && memcmp(special[i].name, name, len) == 0) {
            TFM_TRY(special[i].f(e, out));
            return take(e, ")") ? TFM_OK : bad(e, "')' is missing");
        }
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const function *f = &functions[i];
        double arg[MAX_ARGS];
        if (strlen(f->name) != len || memcmp(f->name, name, len) != 0) continue;
        for (int k = 0; k < f->n_args; k++) {
            tfm_val v;
            if (k > 0 && !take(e, ",")) return bad(e, "the function takes more arguments");
            TFM_TRY(parse_or(e, &v));
            TFM_TRY(need_num(e, &v, &arg[k]));
        }
        if (!take(e, ")")) return bad(e, "')' is missing");
        return finite_result(e, f->f(arg), out);
    }
    return bad(e, "no such function (if first has in len sqrt log log2 exp sin cos floor ceil pow "
                  "min max clamp stored dot)");
}

/* Digits, dot, exponent; the sign belongs to the operators. */
static tfm_status parse_number(parser *e, tfm_val *out) {
    char text[40];
    size_t n = 0;
    while (n + 1 < sizeof text && ((e->p[n] >= '0' && e->p[n] <= '9') || e->p[n] == '.' ||
                                   e->p[n] == 'e' || e->p[n] == 'E' ||
                                   ((e->p[n] == '-' || e->p[n] == '+') && n > 0 &&
                                    (e->p[n - 1] == 'e' || e->p[n - 1] == 'E')))) {
        text[n] = e->p[n];
        n++;
    }
    text[n] = '\0';
    *out = number(0);
    if (!tfm_parse_double(text, -1e300, 1e300, &out->num)) return bad(e, "not a number");
    e->p += n;
    return TFM_OK;
}

static tfm_status look_up(parser *e, const char *name, size_t len, tfm_val *out) {
    bool known = false;
    if (e->scope->name != NULL) TFM_TRY(e->scope->name(e->scope, name, len, out, &known, e->err));
    if (known) return TFM_OK;
    e->p = name;
    return bad(e, "no parameter of that name (a text stands in '...')");
}

static tfm_status parse_name(parser *e, tfm_val *out) {
    const char *start = e->p;
    size_t len;
    while (is_word(*e->p)) e->p++;
    len = (size_t)(e->p - start);
    if (take(e, "(")) return call(e, start, len, out);
    *out = (tfm_val){0};
    if (len == 4 && memcmp(start, "true", 4) == 0)
        *out = number(1);
    else if (len == 5 && memcmp(start, "false", 5) == 0)
        *out = number(0);
    else if (len == 2 && memcmp(start, "pi", 2) == 0)
        *out = number(3.14159265358979323846);
    else if (len == 4 && memcmp(start, "none", 4) == 0)
        return TFM_OK;
    else if (e->live)
        return look_up(e, start, len, out);
    return TFM_OK;
}

static tfm_status parse_primary(parser *e, tfm_val *out) {
    skip_space(e);
    if (take(e, "(")) {
        TFM_TRY(parse_or(e, out));
        return take(e, ")") ? TFM_OK : bad(e, "')' is missing");
    }
    if (*e->p == '\'') {
        const char *end = strchr(e->p + 1, '\'');
        if (end == NULL) return bad(e, "the text has no closing '");
        *out = (tfm_val){.kind = TFM_VAL_STR, .str = e->p + 1, .len = (size_t)(end - e->p - 1)};
        e->p = end + 1;
        return TFM_OK;
    }
    if ((*e->p >= '0' && *e->p <= '9') || *e->p == '.') return parse_number(e, out);
    if (is_word(*e->p)) return parse_name(e, out);
    return bad(e, "a value is missing");
}

/* x[i]: an element of a list; a single number stands for a list of equal ones. */
static tfm_status parse_index(parser *e, tfm_val *out) {
    TFM_TRY(parse_primary(e, out));
    while (take(e, "[")) {
        tfm_val at;
        double i;
        TFM_TRY(parse_or(e, &at));
        TFM_TRY(need_num(e, &at, &i));
        if (!take(e, "]")) return bad(e, "']' is missing");
        if (!e->live || out->kind != TFM_VAL_LIST) continue;
        if (!(i >= 0 && i < (double)out->n) || i != floor(i))
            return bad(e, "the list has no such element");
        *out = out->item[(size_t)i];
    }
    return TFM_OK;
}

static tfm_status parse_unary(parser *e, tfm_val *out) {
    tfm_status st;
    double v;
    if (e->depth >= MAX_DEPTH) return bad(e, "nested too deep");
    e->depth++;
    if (take(e, "-")) {
        st = parse_unary(e, out);
        if (st == TFM_OK) st = need_num(e, out, &v);
        if (st == TFM_OK) *out = number(-v);
    } else {
        st = parse_index(e, out);
    }
    e->depth--;
    return st;
}

static tfm_status parse_term(parser *e, tfm_val *out) {
    TFM_TRY(parse_unary(e, out));
    for (;;) {
        char op = take(e, "*") ? '*' : take(e, "/") ? '/' : take(e, "%") ? '%' : '\0';
        tfm_val b;
        double x, y;
        if (op == '\0') return TFM_OK;
        TFM_TRY(need_num(e, out, &x));
        TFM_TRY(parse_unary(e, &b));
        TFM_TRY(need_num(e, &b, &y));
        if (e->live && op != '*' && y == 0) return bad(e, "division by 0");
        TFM_TRY(finite_result(e,
                              op == '*'   ? x * y
                              : !e->live  ? 0
                              : op == '/' ? x / y
                                          : fmod(x, y),
                              out));
    }
}

static tfm_status parse_sum(parser *e, tfm_val *out) {
    TFM_TRY(parse_term(e, out));
    for (;;) {
        char op = take(e, "+") ? '+' : take(e, "-") ? '-' : '\0';
        tfm_val b;
        double x, y;
        if (op == '\0') return TFM_OK;
        TFM_TRY(need_num(e, out, &x));
        TFM_TRY(parse_term(e, &b));
        TFM_TRY(need_num(e, &b, &y));
        TFM_TRY(finite_result(e, op == '+' ? x + y : x - y, out));
    }
}

static tfm_status parse_compare(parser *e, tfm_val *out) {
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    size_t op = 0;
    tfm_val b;
    double x, y;
    TFM_TRY(parse_sum(e, out));
    while (op < 6 && !take(e, ops[op])) op++;
    if (op == 6) return TFM_OK;
    TFM_TRY(parse_sum(e, &b));
    if (op < 2) {
        *out = number(e->live && equal(out, &b) == (op == 0));
        return TFM_OK;
    }
    TFM_TRY(need_num(e, out, &x));
    TFM_TRY(need_num(e, &b, &y));
    *out = number(op == 2 ? x <= y : op == 3 ? x >= y : op == 4 ? x < y : x > y);
    return TFM_OK;
}

static tfm_status parse_not(parser *e, tfm_val *out) {
    bool yes, negate = false;
    while (take(e, "not")) negate = !negate;
    TFM_TRY(parse_compare(e, out));
    if (!negate) return TFM_OK;
    TFM_TRY(truth(e, out, &yes));
    *out = number(!yes);
    return TFM_OK;
}

/* `and` and `or` stop where the answer is known: what follows may then hold unset names. */
static tfm_status parse_and(parser *e, tfm_val *out) {
    bool a, b, live = e->live;
    TFM_TRY(parse_not(e, out));
    while (take(e, "and")) {
        TFM_TRY(truth(e, out, &a));
        e->live = live && a;
        TFM_TRY(parse_not(e, out));
        TFM_TRY(truth(e, out, &b));
        e->live = live;
        *out = number(a && b);
    }
    return TFM_OK;
}

static tfm_status parse_or_chain(parser *e, tfm_val *out) {
    bool a, b, live = e->live;
    TFM_TRY(parse_and(e, out));
    while (take(e, "or")) {
        TFM_TRY(truth(e, out, &a));
        e->live = live && !a;
        TFM_TRY(parse_and(e, out));
        TFM_TRY(truth(e, out, &b));
        e->live = live;
        *out = number(a || b);
    }
    return TFM_OK;
}

static tfm_status parse_or(parser *e, tfm_val *out) {
    tfm_status st;
    *out = (tfm_val){0};
    if (e->depth >= MAX_DEPTH) return bad(e, "nested too deep");
    e->depth++;
    st = parse_or_chain(e, out);
    e->depth--;
    return st;
}

tfm_status tfm_expr_eval(const tfm_yaml *where, const char *text, const tfm_scope *s, tfm_val *out,
                         tfm_error *err) {
    parser e = {.where = where, .text = text, .p = text, .scope = s, .live = true, .err = err};
    TFM_TRY(parse_or(&e, out));
    skip_space(&e);
    return *e.p == '\0' ? TFM_OK : bad(&e, "unexpected here");
}

tfm_status tfm_expr_true(const tfm_yaml *where, const char *text, const tfm_scope *s, bool *out,
                         tfm_error *err) {
    parser e = {.where = where, .text = text, .p = text, .live = true, .err = err};
    tfm_val v;
    *out = false;
    TFM_TRY(tfm_expr_eval(where, text, s, &v, err));
    return truth(&e, &v, out);
}
