/* template_statement.c - tokens to statements: if, for, set, macro, with, filter, generation, break
 * and continue. Others that Jinja has (include, extends, block, call, import) are refused by
 * name. */
#include "text/template_internal.h"

/* Parses until one of the names in ends ("elif else endif"; "" for the end of the template), which
 * is left to the caller: the position is at the name. *out: a TP_N_BLOCK. */
static tfm_status parse_body(tp_parser *p, const char *ends, tp_node **out) TFM_MUST_CHECK;

static bool is_one_of(const tp_tok *t, const char *names) {
    if (t->kind != TP_T_NAME) return false;
    for (const char *s = names; *s;) {
        size_t n = strcspn(s, " ");
        if (n == t->n && memcmp(s, t->p, n) == 0) return true;
        s += n + (s[n] == ' ');
    }
    return false;
}

static tfm_status end_tag(tp_parser *p) {
    if (tfm_tp_peek(p)->kind != TP_T_BLOCK_END) return tfm_tp_unexpected(p);
    p->at++;
    return TFM_OK;
}

/* "%} body {% NAME %}", with one end only. */
static tfm_status body_to(tp_parser *p, const char *end, tp_node *n, tp_node **out) {
    TFM_TRY(end_tag(p));
    TFM_TRY(parse_body(p, end, out));
    p->at++;
    TFM_TRY(tfm_tp_adopt(p, n, *out));
    return end_tag(p);
}

/* Behind "if" or "elif". */
static tfm_status parse_if(tp_parser *p, tp_node **out) {
    tp_node *n;
    TFM_TRY(tfm_tp_node(p, TP_N_IF, &n));
    *out = n;
    for (;;) { /* elif: a further TP_N_IF in n->c, which is walked by a loop, too */
        TFM_TRY(tfm_tp_parse_tuple(p, false, &n->a));
        TFM_TRY(end_tag(p));
        TFM_TRY(parse_body(p, "elif else endif", &n->first));
        TFM_TRY(tfm_tp_adopt(p, *out, n->a));
        TFM_TRY(tfm_tp_adopt(p, *out, n->first));
        if (!tfm_tp_skip_name(p, "elif")) break;
        TFM_TRY(tfm_tp_node(p, TP_N_IF, &n->c));
        n = n->c;
    }
    if (tfm_tp_skip_name(p, "else")) return body_to(p, "endif", *out, &n->c);
    p->at++;
    return end_tag(p);
}

static tfm_status parse_for(tp_parser *p, tp_node **out) {
    tp_node *n;
    TFM_TRY(tfm_tp_node(p, TP_N_FOR, &n));
    *out = n;
    TFM_TRY(tfm_tp_parse_target(p, false, &n->a));
    if (!tfm_tp_skip_name(p, "in")) return tfm_tp_unexpected(p);
    TFM_TRY(tfm_tp_parse_tuple(p, false, &n->b));
    if (tfm_tp_skip_name(p, "if")) TFM_TRY(tfm_tp_parse_expression(p, true, &n->c));
    if (tfm_tp_is_name(p, "recursive"))
        return tfm_tp_bad(p, TFM_UNSUPPORTED, "recursive loops are not supported");
    TFM_TRY(tfm_tp_adopt(p, n, n->b));
    TFM_TRY(tfm_tp_adopt(p, n, n->c));
    TFM_TRY(end_tag(p));
    p->loops++;
    TFM_TRY(parse_body(p, "else endfor", &n->first));
    p->loops--;
    TFM_TRY(tfm_tp_adopt(p, n, n->first));
    if (tfm_tp_skip_name(p, "else")) return body_to(p, "endfor", n, &n->d);
    p->at++;
    return end_tag(p);
}

static tfm_status parse_set(tp_parser *p, tp_node **out) {
    tp_node *n;
    TFM_TRY(tfm_tp_node(p, TP_N_SET, &n));
    *out = n;
    TFM_TRY(tfm_tp_parse_target(p, true, &n->a));
    if (tfm_tp_skip_op(p, "=")) {
        TFM_TRY(tfm_tp_parse_tuple(p, true, &n->b));
        TFM_TRY(tfm_tp_adopt(p, n, n->b));
        return end_tag(p);
    }
    n->kind = TP_N_SET_BLOCK;
    TFM_TRY(tfm_tp_parse_filters(p, NULL, &n->b));
    TFM_TRY(tfm_tp_adopt(p, n, n->b));
    return body_to(p, "endset", n, &n->first);
}

static tfm_status parse_parameters(tp_parser *p, tp_node *macro) {
    tp_node *last = NULL;
    TFM_TRY(tfm_tp_expect_op(p, "("));
    while (!tfm_tp_skip_op(p, ")")) {
        tp_node *name, *param;
        if (last) TFM_TRY(tfm_tp_expect_op(p, ","));
        TFM_TRY(tfm_tp_parse_target(p, false, &name));
        if (name->kind == TP_N_TUPLE) { /* "a, b" was read at once: take it apart */
            for (tp_node *one = name->first; one; one = one->next) {
                TFM_TRY(tfm_tp_node(p, TP_N_KEYWORD, &param));
                param->text = one->text;
                if (last)
                    last->next = param;
                else
                    macro->a = param;
                last = param;
            }
        } else {
            TFM_TRY(tfm_tp_node(p, TP_N_KEYWORD, &param));
            param->text = name->text;
            if (last)
                last->next = param;
            else
                macro->a = param;
            last = param;
        }
        if (tfm_tp_skip_op(p, "=")) {
            TFM_TRY(tfm_tp_parse_expression(p, true, &last->a));
            TFM_TRY(tfm_tp_adopt(p, macro, last->a));
        }
    }
    return TFM_OK;
}

static tfm_status parse_macro(tp_parser *p, tp_node **out) {
    tp_node *n;
    const tp_tok *t = tfm_tp_peek(p);
    unsigned loops = p->loops;
    TFM_TRY(tfm_tp_node(p, TP_N_MACRO, &n));
    *out = n;
    if (t->kind != TP_T_NAME) return tfm_tp_unexpected(p);
    TFM_TRY(tfm_tp_intern(p, t->p, t->n, &n->text));
    p->at++;
    p->macros++;
    p->loops = 0;
    TFM_TRY(parse_parameters(p, n));
    TFM_TRY(body_to(p, "endmacro", n, &n->first));
    p->macros--;
    p->loops = loops;
    return TFM_OK;
}

static tfm_status parse_with(tp_parser *p, tp_node **out) {
    tp_node *n, *last = NULL;
    TFM_TRY(tfm_tp_node(p, TP_N_SCOPE, &n));
    *out = n;
    while (tfm_tp_peek(p)->kind != TP_T_BLOCK_END) {
        tp_node *set;
        if (last) TFM_TRY(tfm_tp_expect_op(p, ","));
        TFM_TRY(tfm_tp_node(p, TP_N_SET, &set));
        TFM_TRY(tfm_tp_parse_target(p, false, &set->a));
        TFM_TRY(tfm_tp_expect_op(p, "="));
        TFM_TRY(tfm_tp_parse_expression(p, true, &set->b));
        TFM_TRY(tfm_tp_adopt(p, set, set->b));
        TFM_TRY(tfm_tp_adopt(p, n, set));
        if (last)
            last->next = set;
        else
            n->a = set;
        last = set;
    }
    return body_to(p, "endwith", n, &n->first);
}

/* The span that a model is trained on: it only gives its text a scope of its own. */
static tfm_status parse_generation(tp_parser *p, tp_node **out) {
    unsigned loops = p->loops;
    TFM_TRY(tfm_tp_node(p, TP_N_SCOPE, out));
    p->loops = 0;
    TFM_TRY(body_to(p, "endgeneration", *out, &(*out)->first));
    p->loops = loops;
    return TFM_OK;
}

static tfm_status parse_filter_block(tp_parser *p, tp_node **out) {
    tp_node *n;
    TFM_TRY(tfm_tp_node(p, TP_N_FILTER_BLOCK, &n));
    *out = n;
    /* The first filter stands without a bar. */
    if (p->at == 0 || tfm_tp_peek(p)->kind != TP_T_NAME) return tfm_tp_unexpected(p);
    p->tok[p->at - 1] = (tp_tok){.kind = TP_T_OP, .line = n->line, .p = "|", .n = 1};
    p->at--;
    TFM_TRY(tfm_tp_parse_filters(p, NULL, &n->b));
    TFM_TRY(tfm_tp_adopt(p, n, n->b));
    return body_to(p, "endfilter", n, &n->first);
}

static tfm_status parse_statement(tp_parser *p, tp_node **out) {
    const tp_tok *t = tfm_tp_peek(p);
    if (tfm_tp_skip_name(p, "if")) return parse_if(p, out);
    if (tfm_tp_skip_name(p, "for")) return parse_for(p, out);
    if (tfm_tp_skip_name(p, "set")) return parse_set(p, out);
    if (tfm_tp_skip_name(p, "macro")) return parse_macro(p, out);
    if (tfm_tp_skip_name(p, "with")) return parse_with(p, out);
    if (tfm_tp_skip_name(p, "generation")) return parse_generation(p, out);
    if (tfm_tp_skip_name(p, "filter")) return parse_filter_block(p, out);
    if (tfm_tp_is_name(p, "break") || tfm_tp_is_name(p, "continue")) {
        TFM_TRY(tfm_tp_node(p, tfm_tp_is_name(p, "break") ? TP_N_BREAK : TP_N_CONTINUE, out));
        if (p->loops == 0)
            return tfm_tp_bad(p, TFM_FORMAT, "%.*s outside of a loop", (int)t->n, t->p);
        p->at++;
        return end_tag(p);
    }
    if (is_one_of(t, "include import from extends block call do trans autoescape debug"))
        return tfm_tp_bad(p, TFM_UNSUPPORTED, "the statement %.*s is not supported", (int)t->n,
                          t->p);
    return tfm_tp_unexpected(p);
}

static tfm_status parse_data(tp_parser *p, tp_node **out) {
    const tp_tok *t = tfm_tp_peek(p);
    void *s;
    TFM_TRY(tfm_tp_node(p, TP_N_DATA, out));
    TFM_TRY(tfm_arena_alloc(p->arena, &s, sizeof(tp_str), p->err));
    *(tp_str *)s = (tp_str){.p = t->p, .n = t->n, .own = true};
    (*out)->value = (tp_val){.kind = TP_STR, .u.s = s};
    p->at++;
    return TFM_OK;
}

static tfm_status parse_output(tp_parser *p, tp_node **out) {
    TFM_TRY(tfm_tp_node(p, TP_N_OUTPUT, out));
    p->at++;
    TFM_TRY(tfm_tp_parse_tuple(p, true, &(*out)->a));
    TFM_TRY(tfm_tp_adopt(p, *out, (*out)->a));
    if (tfm_tp_peek(p)->kind != TP_T_VAR_END) return tfm_tp_unexpected(p);
    p->at++;
    return TFM_OK;
}

static tfm_status parse_body(tp_parser *p, const char *ends, tp_node **out) {
    tp_node *n, *last = NULL, *one;
    if (++p->depth > TP_TREE_DEPTH)
        return tfm_tp_bad(p, TFM_LIMIT, "more than %d levels within each other", TP_TREE_DEPTH);
    TFM_TRY(tfm_tp_node(p, TP_N_BLOCK, &n));
    *out = n;
    for (;;) {
        tp_tok_kind kind = tfm_tp_peek(p)->kind;
        if (kind == TP_T_END && *ends == '\0') break;
        if (kind == TP_T_END) return tfm_tp_bad(p, TFM_FORMAT, "the template ends before %s", ends);
        if (kind == TP_T_DATA) {
            TFM_TRY(parse_data(p, &one));
        } else if (kind == TP_T_VAR_BEGIN) {
            TFM_TRY(parse_output(p, &one));
        } else {
            p->at++;
            if (is_one_of(tfm_tp_peek(p), ends)) break;
            TFM_TRY(parse_statement(p, &one));
        }
        if (last)
            last->next = one;
        else
            n->first = one;
        last = one;
        TFM_TRY(tfm_tp_adopt(p, n, one));
    }
    p->depth--;
    return TFM_OK;
}

tfm_status tfm_tp_parse(tp_parser *p, tp_node **body) {
    return parse_body(p, "", body);
}
