/* template_run.c - statements, scopes and the output.
 *
 * A scope is a list of names; a loop opens one for each turn, so that what is set inside is gone
 * behind it, as Jinja has it (namespace is the way around that). if opens none. A macro sees the
 * scope it was defined in. What is captured (macro, block set) is written behind the output and
 * then taken off again, so there is one buffer. */
#include "text/template_internal.h"

typedef enum flow { GO_ON, BREAK, CONTINUE } flow;

static tfm_status run_list(tp_run *r, const tp_node *first, flow *f) TFM_MUST_CHECK;

/* ---- output ---- */

static tfm_status put(tp_run *r, const tp_str *s) {
    TFM_TRY(tfm_tp_work(r, s->n / 32));
    if (s->n > r->out_max - r->text.len)
        return tfm_tp_fail(r, "more than %zu bytes of output", r->out_max);
    if (s->n == 0) return TFM_OK;
    TFM_TRY(tfm_buf_reserve(&r->mask, s->n, r->err));
    TFM_TRY(tfm_buf_add(&r->text, s->p, s->n, r->err));
    if (s->mask)
        memcpy(r->mask.data + r->mask.len, s->mask, s->n);
    else
        memset(r->mask.data + r->mask.len, s->own, s->n);
    r->mask.len += s->n;
    return TFM_OK;
}

/* What was written since `from` becomes a string. */
static tfm_status capture(tp_run *r, size_t from, tp_val *out) {
    size_t n = r->text.len - from;
    void *p = "", *mask = NULL;
    if (n) {
        TFM_TRY(tfm_tp_alloc(r, &p, n));
        TFM_TRY(tfm_tp_alloc(r, &mask, n));
        memcpy(p, r->text.data + from, n);
        memcpy(mask, r->mask.data + from, n);
    }
    r->text.len = r->mask.len = from;
    return tfm_tp_str(r, (tp_str){.p = p, .n = n, .mask = mask}, out);
}

/* ---- scopes ---- */

static tfm_status push_scope(tp_run *r, tp_scope *up) {
    void *p;
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof(tp_scope)));
    *(tp_scope *)p = (tp_scope){.up = up};
    r->scope = p;
    return TFM_OK;
}

tfm_status tfm_tp_set(tp_run *r, const char *name, tp_val v) {
    tp_scope *s = r->scope;
    TFM_TRY(tfm_tp_work(r, s->n / 8));
    for (size_t i = 0; i < s->n; i++)
        if (s->bound[i].name == name || strcmp(s->bound[i].name, name) == 0) {
            s->bound[i].value = v;
            return TFM_OK;
        }
    if (s->n == s->cap) {
        void *p;
        size_t cap = s->cap < 4 ? 4 : s->cap * 2;
        TFM_TRY(tfm_tp_alloc(r, &p, cap * sizeof *s->bound));
        if (s->n) memcpy(p, s->bound, s->n * sizeof *s->bound);
        s->bound = p;
        s->cap = cap;
    }
    s->bound[s->n++] = (tp_binding){name, v};
    return TFM_OK;
}

static tfm_status set_attribute(tp_run *r, const tp_node *target, const tp_val *v) {
    tp_val object, key;
    TFM_TRY(tfm_tp_lookup(r, target->a->text, &object));
    if (object.kind != TP_NAMESPACE)
        return tfm_tp_fail(r, "%s is no namespace: its attributes cannot be set", target->a->text);
    TFM_TRY(tfm_tp_bytes(r, target->text, strlen(target->text), true, &key));
    return tfm_tp_dict_set(r, object.u.dict, key, *v);
}

/* target: a name, names, or (set only) an attribute of a namespace. */
static tfm_status assign(tp_run *r, const tp_node *target, const tp_val *v) {
    tp_list *l;
    size_t i = 0, n = 0;
    if (target->kind == TP_N_ATTR) return set_attribute(r, target, v);
    if (target->kind == TP_N_NAME) return tfm_tp_set(r, target->text, *v);
    for (const tp_node *t = target->first; t; t = t->next) n++;
    TFM_TRY(tfm_tp_items(r, v, &l));
    if (l->n != n) return tfm_tp_fail(r, "%zu values for %zu names", l->n, n);
    for (const tp_node *t = target->first; t; t = t->next)
        TFM_TRY(tfm_tp_set(r, t->text, l->item[i++]));
    return TFM_OK;
}

/* ---- statements ---- */

/* The chain of filters at n, over v. */
static tfm_status run_filters(tp_run *r, const tp_node *n, tp_val *v) {
    tp_args args;
    if (n == NULL) return TFM_OK;
    TFM_TRY(run_filters(r, n->a, v)); /* as deep as the tree */
    TFM_TRY(tfm_tp_eval_args(r, n->first, &args));
    r->line = n->line;
    return tfm_tp_filter(r, n->text, v, &args, v);
}

/* The body of n in a scope of its own, as a string. */
static tfm_status run_captured(tp_run *r, const tp_node *body, tp_val *out) {
    size_t from = r->text.len;
    tp_scope *scope = r->scope;
    flow f = GO_ON;
    TFM_TRY(push_scope(r, scope));
    TFM_TRY(run_list(r, body, &f));
    r->scope = scope;
    return capture(r, from, out);
}

static tfm_status run_set_block(tp_run *r, const tp_node *n) {
    tp_val v;
    TFM_TRY(run_captured(r, n->first->first, &v));
    TFM_TRY(run_filters(r, n->b, &v));
    if (n->kind == TP_N_SET_BLOCK) return assign(r, n->a, &v);
    const tp_str *s;
    TFM_TRY(tfm_tp_to_str(r, &v, &s));
    return put(r, s);
}

static tfm_status run_if(tp_run *r, const tp_node *n, flow *f) {
    for (; n; n = n->c) {
        tp_val v;
        if (n->kind != TP_N_IF) return run_list(r, n->first, f); /* else */
        TFM_TRY(tfm_tp_eval(r, n->a, &v));
        if (tfm_tp_true(&v)) return run_list(r, n->first->first, f);
    }
    return TFM_OK;
}

/* Leaves the items for which the loop's condition holds. */
static tfm_status filter_items(tp_run *r, const tp_node *n, tp_list **l) {
    tp_scope *scope = r->scope;
    tp_val kept;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, 0, &kept));
    for (size_t i = 0; i < (*l)->n; i++) {
        tp_val v;
        TFM_TRY(push_scope(r, scope));
        TFM_TRY(assign(r, n->a, &(*l)->item[i]));
        TFM_TRY(tfm_tp_eval(r, n->c, &v));
        if (tfm_tp_true(&v)) TFM_TRY(tfm_tp_list_push(r, kept.u.list, (*l)->item[i]));
        r->scope = scope;
    }
    *l = kept.u.list;
    return TFM_OK;
}

static tfm_status run_for(tp_run *r, const tp_node *n) {
    tp_scope *scope = r->scope;
    tp_val v;
    tp_list *l;
    void *p;
    flow f = GO_ON;
    TFM_TRY(tfm_tp_eval(r, n->b, &v));
    r->line = n->line;
    TFM_TRY(tfm_tp_items(r, &v, &l));
    if (n->c) TFM_TRY(filter_items(r, n, &l));
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof(tp_loop)));
    tp_loop *loop = p;
    *loop = (tp_loop){.list = l};
    for (; loop->at < l->n && f != BREAK; loop->at++) {
        f = GO_ON;
        TFM_TRY(tfm_tp_work(r, 1));
        TFM_TRY(push_scope(r, scope));
        TFM_TRY(tfm_tp_set(r, "loop", (tp_val){.kind = TP_LOOP, .u.loop = loop}));
        TFM_TRY(assign(r, n->a, &l->item[loop->at]));
        TFM_TRY(run_list(r, n->first->first, &f));
        r->scope = scope;
    }
    if (l->n > 0 || n->d == NULL) return TFM_OK;
    f = GO_ON;
    return run_list(r, n->d->first, &f);
}

static tfm_status run_scope(tp_run *r, const tp_node *n, flow *f) {
    tp_scope *scope = r->scope, *inner;
    TFM_TRY(push_scope(r, scope));
    inner = r->scope;
    for (const tp_node *set = n->a; set; set = set->next) { /* values are of the scope around */
        tp_val v;
        r->scope = scope;
        TFM_TRY(tfm_tp_eval(r, set->b, &v));
        r->scope = inner;
        TFM_TRY(assign(r, set->a, &v));
    }
    TFM_TRY(run_list(r, n->first->first, f));
    r->scope = scope;
    return TFM_OK;
}

static tfm_status define_macro(tp_run *r, const tp_node *n) {
    void *p;
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof(tp_macro)));
    *(tp_macro *)p = (tp_macro){n, r->scope};
    return tfm_tp_set(r, n->text, (tp_val){.kind = TP_MACRO, .u.macro = p});
}

/* Parameter number i: what was given for it, else undefined. */
static tfm_status argument(tp_run *r, const tp_node *param, size_t i, const tp_args *args,
                           tp_val *v, bool *given) {
    *given = i < args->n_pos;
    *v = *given ? args->pos[i] : tfm_tp_undefined(param->text);
    for (size_t k = 0; k < args->n_key; k++) {
        if (strcmp(args->key[k], param->text) != 0) continue;
        if (*given) return tfm_tp_fail(r, "the argument %s is given twice", param->text);
        *given = true;
        *v = args->key_value[k];
    }
    return TFM_OK;
}

/* Parameters, then the defaults of those that were not given: a default sees all of the former. */
static tfm_status bind_parameters(tp_run *r, const tp_node *first, const tp_args *args) {
    tp_val v;
    bool given;
    size_t i = 0;
    for (const tp_node *param = first; param; param = param->next) {
        TFM_TRY(argument(r, param, i++, args, &v, &given));
        TFM_TRY(tfm_tp_set(r, param->text, v));
    }
    i = 0;
    for (const tp_node *param = first; param; param = param->next) {
        TFM_TRY(argument(r, param, i++, args, &v, &given));
        if (given || param->a == NULL) continue;
        TFM_TRY(tfm_tp_eval(r, param->a, &v));
        TFM_TRY(tfm_tp_set(r, param->text, v));
    }
    return TFM_OK;
}

static tfm_status check_names(tp_run *r, const tp_node *n, const tp_args *args, size_t n_params) {
    if (args->n_pos > n_params)
        return tfm_tp_fail(r, "the macro %s takes at most %zu arguments", n->text, n_params);
    for (size_t k = 0; k < args->n_key; k++) {
        const tp_node *param = n->a;
        while (param && strcmp(param->text, args->key[k]) != 0) param = param->next;
        if (param == NULL)
            return tfm_tp_fail(r, "the macro %s has no argument %s", n->text, args->key[k]);
    }
    return TFM_OK;
}

tfm_status tfm_tp_call_macro(tp_run *r, const tp_macro *m, const tp_args *args, tp_val *out) {
    const tp_node *n = m->node;
    tp_scope *scope = r->scope;
    size_t n_params = 0;
    for (const tp_node *param = n->a; param; param = param->next) n_params++;
    TFM_TRY(check_names(r, n, args, n_params));
    TFM_TRY(tfm_tp_enter(r));
    TFM_TRY(push_scope(r, m->scope));
    TFM_TRY(bind_parameters(r, n->a, args));
    TFM_TRY(run_captured(r, n->first->first, out));
    r->scope = scope;
    tfm_tp_leave(r);
    return TFM_OK;
}

static tfm_status run_one(tp_run *r, const tp_node *n, flow *f) {
    tp_val v;
    const tp_str *s;
    switch (n->kind) {
    case TP_N_DATA: return put(r, n->value.u.s);
    case TP_N_OUTPUT:
        TFM_TRY(tfm_tp_eval(r, n->a, &v));
        r->line = n->line;
        TFM_TRY(tfm_tp_to_str(r, &v, &s));
        return put(r, s);
    case TP_N_IF: return run_if(r, n, f);
    case TP_N_FOR: return run_for(r, n);
    case TP_N_SCOPE: return run_scope(r, n, f);
    case TP_N_SET: TFM_TRY(tfm_tp_eval(r, n->b, &v)); return assign(r, n->a, &v);
    case TP_N_SET_BLOCK:
    case TP_N_FILTER_BLOCK: return run_set_block(r, n);
    case TP_N_MACRO: return define_macro(r, n);
    case TP_N_BREAK: *f = BREAK; return TFM_OK;
    case TP_N_CONTINUE: *f = CONTINUE; return TFM_OK;
    default: return run_list(r, n->first, f);
    }
}

static tfm_status run_list(tp_run *r, const tp_node *first, flow *f) {
    TFM_TRY(tfm_tp_enter(r));
    for (const tp_node *n = first; n && *f == GO_ON; n = n->next) {
        TFM_TRY(tfm_tp_work(r, 1));
        r->line = n->line;
        TFM_TRY(run_one(r, n, f));
    }
    tfm_tp_leave(r);
    return TFM_OK;
}

tfm_status tfm_tp_run_body(tp_run *r) {
    flow f = GO_ON;
    return run_list(r, r->t->body->first, &f);
}
