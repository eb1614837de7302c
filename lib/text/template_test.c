/* template_test.c - what may stand behind "is". */
#include "text/template_internal.h"

static tfm_status one_argument(tp_run *r, const char *name, const tp_args *args) {
    if (args->n_pos == 1 && args->n_key == 0) return TFM_OK;
    return tfm_tp_fail(r, "the test %s takes one argument", name);
}

/* Tests that compare: their operator, or -1. */
static int comparison(const char *name) {
    static const struct {
        const char *name;
        tp_op op;
    } table[] = {{"equalto", TP_OP_EQ}, {"eq", TP_OP_EQ},          {"ne", TP_OP_NE},
                 {"lt", TP_OP_LT},      {"lessthan", TP_OP_LT},    {"le", TP_OP_LE},
                 {"gt", TP_OP_GT},      {"greaterthan", TP_OP_GT}, {"ge", TP_OP_GE},
                 {"in", TP_OP_IN}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0) return (int)table[i].op;
    return -1;
}

static tfm_status number_test(tp_run *r, const char *name, const tp_val *v, const tp_args *args,
                              bool *out) {
    int64_t by = 2;
    if (name[0] == 'd') {
        TFM_TRY(one_argument(r, name, args));
        if (args->pos[0].kind != TP_INT || args->pos[0].u.i == 0 || args->pos[0].u.i == -1)
            return tfm_tp_fail(r, "divisibleby: a number is wanted");
        by = args->pos[0].u.i;
    }
    if (v->kind != TP_INT) return tfm_tp_fail(r, "%s of %s", name, tfm_tp_kind(v));
    *out = (v->u.i % by == 0) == (name[0] != 'o');
    return TFM_OK;
}

static tfm_status same_as(tp_run *r, const tp_val *v, const tp_args *args, bool *out) {
    TFM_TRY(one_argument(r, "sameas", args));
    const tp_val *w = &args->pos[0];
    if (v->kind == w->kind && v->kind != TP_NONE && v->kind != TP_BOOL)
        return tfm_tp_fail(r, "sameas of %s is not supported", tfm_tp_kind(v));
    *out = v->kind == w->kind && (v->kind == TP_NONE || v->u.b == w->u.b);
    return TFM_OK;
}

static bool kind_test(const char *name, const tp_val *v, bool *known) {
    bool list = v->kind == TP_LIST;
    const struct {
        const char *name;
        bool is;
    } table[] = {
        {"defined", v->kind != TP_UNDEFINED},
        {"undefined", v->kind == TP_UNDEFINED},
        {"none", v->kind == TP_NONE},
        {"boolean", v->kind == TP_BOOL},
        {"true", v->kind == TP_BOOL && v->u.b},
        {"false", v->kind == TP_BOOL && !v->u.b},
        {"integer", v->kind == TP_INT},
        {"float", v->kind == TP_FLOAT},
        {"number", tfm_tp_is_number(v)},
        {"string", v->kind == TP_STR},
        {"mapping", tfm_tp_is_mapping(v)},
        {"iterable", v->kind == TP_UNDEFINED || v->kind == TP_STR || list || v->kind == TP_DICT ||
                         v->kind == TP_LOOP},
        {"sequence", v->kind == TP_UNDEFINED || v->kind == TP_STR || v->kind == TP_DICT ||
                         (list && v->u.list->form <= TP_FORM_RANGE)},
        {"callable", v->kind >= TP_MACRO},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0) return table[i].is;
    *known = false;
    return false;
}

/* upper, lower: are there letters, and all of that case? */
static tfm_status case_test(tp_run *r, const char *name, const tp_val *v, bool *out) {
    const tp_str *s;
    bool upper = name[0] == 'u', any = false;
    TFM_TRY(tfm_tp_to_str(r, v, &s));
    TFM_TRY(tfm_tp_work(r, s->n / 8));
    *out = true;
    for (size_t i = 0; i < s->n; i++) {
        unsigned char c = (unsigned char)s->p[i];
        if (c >= 0x80) return tfm_tp_fail(r, "the test %s beyond ASCII is not supported", name);
        bool is_upper = c >= 'A' && c <= 'Z', is_lower = c >= 'a' && c <= 'z';
        any = any || is_upper || is_lower;
        if (upper ? is_lower : is_upper) *out = false;
    }
    *out = *out && any;
    return TFM_OK;
}

tfm_status tfm_tp_test(tp_run *r, const char *name, const tp_val *v, const tp_args *args,
                       bool *out) {
    int op = comparison(name);
    bool known = true;
    if (op >= 0) {
        TFM_TRY(one_argument(r, name, args));
        return tfm_tp_compare(r, (tp_op)op, v, &args->pos[0], out);
    }
    if (strcmp(name, "divisibleby") == 0) return number_test(r, name, v, args, out);
    if (strcmp(name, "sameas") == 0) return same_as(r, v, args, out);
    if (args->n_pos || args->n_key) return tfm_tp_fail(r, "the test %s takes no argument", name);
    if (strcmp(name, "odd") == 0 || strcmp(name, "even") == 0)
        return number_test(r, name, v, args, out);
    if (strcmp(name, "upper") == 0 || strcmp(name, "lower") == 0) return case_test(r, name, v, out);
    *out = kind_test(name, v, &known);
    return known ? TFM_OK : tfm_tp_fail(r, "the test %s is not supported", name);
}
