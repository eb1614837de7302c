/* describe.c - writes a description: flat, complete, and the same bytes for the same model.
 *
 * Layers whose steps differ in nothing but numbers form one group and are written once, a number
 * that differs as a list with one element per layer; so a model of a hundred layers stays within
 * the 256 KiB of tfm-model(5). Attributes that equal their default are left out.
 */
#include "arch/resolve_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- scalars ---- */

/* The shortest text that reads back as v: whole numbers in full, 9 digits if v came from a
 * float. */
static void number_text(char out[40], double v) {
    static const int digits[] = {9, 15, 17};
    if (v == floor(v) && fabs(v) < 1e15) {
        snprintf(out, 40, "%.0f", v);
        return;
    }
    for (size_t i = (double)(float)v == v ? 0 : 1; i < 3; i++) {
        double back;
        snprintf(out, 40, "%.*g", digits[i], v);
        /* An application's locale may have put its own decimal sign. */
        for (char *p = out; *p; p++)
            if (strchr("0123456789+-e", *p) == NULL) *p = '.';
        if (tfm_parse_double(out, -1e308, 1e308, &back) &&
            (back == v || (i == 0 && (float)back == (float)v)))
            return;
    }
}

static tfm_status put_number(tfm_buf *b, double v, tfm_error *err) {
    char text[40];
    number_text(text, v);
    return tfm_buf_str(b, text, err);
}

/* Double-quoted YAML. */
static tfm_status put_quoted(tfm_buf *b, const char *s, size_t n, tfm_error *err) {
    TFM_TRY(tfm_buf_byte(b, '"', err));
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            TFM_TRY(tfm_buf_printf(b, err, "\\%c", c));
        else if (c < 0x20 || c == 0x7f)
            TFM_TRY(tfm_buf_printf(b, err, "\\x%02x", c));
        else
            TFM_TRY(tfm_buf_byte(b, c, err));
    }
    return tfm_buf_byte(b, '"', err);
}

static bool is_letter(char c) { /* isalpha would ask the application's locale */
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A tensor's name: plain where that is safe inside {...}. */
static tfm_status put_name(tfm_buf *b, const char *s, tfm_error *err) {
    bool safe = is_letter(*s);
    for (const char *p = s; *p; p++)
        safe = safe && (is_letter(*p) || strchr("0123456789._-/", *p) != NULL);
    return safe ? tfm_buf_str(b, s, err) : put_quoted(b, s, strlen(s), err);
}

static tfm_status put_value(tfm_buf *b, const tfm_val *v, tfm_error *err) {
    if (v->kind == TFM_VAL_NUM) return put_number(b, v->num, err);
    if (v->kind == TFM_VAL_STR) return put_quoted(b, v->str, v->len, err);
    TFM_TRY(tfm_buf_byte(b, '[', err));
    for (size_t i = 0; i < v->n; i++) {
        if (i > 0) TFM_TRY(tfm_buf_str(b, ", ", err));
        TFM_TRY(put_value(b, &v->item[i], err));
    }
    return tfm_buf_byte(b, ']', err);
}

/* ---- groups of layers ---- */

static bool same_text(const char *a, const char *b) {
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

/* Equal in everything but numbers (words, sizes and flags included in what must be equal). */
static bool same_shape(const tfm_astep *a, const tfm_astep *b) {
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out ||
        !same_text(a->name, b->name))
        return false;
    for (int i = 0; i < a->n_in; i++)
        if (!same_text(a->in[i], b->in[i])) return false;
    for (int i = 0; i < a->n_out; i++)
        if (!same_text(a->out[i], b->out[i])) return false;
    for (int i = 0; i < TFM_STEP_TENSORS; i++)
        if (!same_text(a->tensor[i], b->tensor[i])) return false;
    for (const tfm_attr *at = tfm_op_table[a->op].attr; at->key != NULL; at++) {
        int n = at->kind == TFM_ATTR_SIZES ? TFM_STEP_MAX_OUT : 1;
        if (at->kind == TFM_ATTR_NUM || at->kind == TFM_ATTR_INT || at->kind == TFM_ATTR_TENSOR)
            continue;
        for (int i = 0; i < n; i++)
            if (a->num[at->slot + i] != b->num[at->slot + i]) return false;
    }
    return true;
}

static bool same_group(const tfm_step_list *a, const tfm_step_list *b) {
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_shape(&a->step[i], &b->step[i])) return false;
    return true;
}

/* The layers of one group; for embed and head one list. */
typedef struct group {
    const tfm_step_list *const *list; /* [n] */
    size_t n;
} group;

/* ---- steps ---- */

static tfm_status put_words(tfm_buf *b, const char *key, const char *const *word, int n,
                            tfm_error *err) {
    if (n == 0) return TFM_OK;
    if (n == 1) return tfm_buf_printf(b, err, ", %s: %s", key, word[0]);
    TFM_TRY(tfm_buf_printf(b, err, ", %s: [%s", key, word[0]));
    for (int i = 1; i < n; i++) TFM_TRY(tfm_buf_printf(b, err, ", %s", word[i]));
    return tfm_buf_byte(b, ']', err);
}

static tfm_status put_attr(tfm_buf *b, const group *g, size_t at_step, const tfm_attr *at,
                           tfm_error *err) {
    const tfm_astep *s = &g->list[0]->step[at_step];
    double first = s->num[at->slot];
    const bool sizes = at->kind == TFM_ATTR_SIZES;
    const size_t n_sizes = (size_t)(s->op == TFM_OP_SPLIT ? s->n_out : s->n_in);
    bool equal = true;
    if (sizes && first == 0) return TFM_OK; /* a concat of values as they are */
    if (at->kind == TFM_ATTR_TENSOR) {
        if (s->tensor[at->slot] == NULL) return TFM_OK;
        TFM_TRY(tfm_buf_printf(b, err, ", %s: ", at->key));
        return put_name(b, s->tensor[at->slot], err);
    }
    for (size_t i = 1; i < g->n; i++)
        equal = equal && g->list[i]->step[at_step].num[at->slot] == first;
    if (!sizes && equal && !at->required && first == at->fallback) return TFM_OK;
    TFM_TRY(tfm_buf_printf(b, err, ", %s: ", at->key));
    if (at->kind == TFM_ATTR_WORD) return tfm_buf_str(b, at->words[(int)first], err);
    if (!sizes && equal) return put_number(b, first, err);
    TFM_TRY(tfm_buf_byte(b, '[', err));
    for (size_t i = 0; i < (sizes ? n_sizes : g->n); i++) {
        if (i > 0) TFM_TRY(tfm_buf_str(b, ", ", err));
        TFM_TRY(put_number(
            b, sizes ? s->num[at->slot + (int)i] : g->list[i]->step[at_step].num[at->slot], err));
    }
    return tfm_buf_byte(b, ']', err);
}

static tfm_status put_steps(tfm_buf *b, const group *g, const char *indent, tfm_error *err) {
    if (g->list[0]->n == 0) return tfm_buf_printf(b, err, "%s[]\n", indent);
    for (size_t i = 0; i < g->list[0]->n; i++) {
        const tfm_astep *s = &g->list[0]->step[i];
        TFM_TRY(tfm_buf_printf(b, err, "%s- {%s: %s", indent, tfm_op_table[s->op].name, s->name));
        TFM_TRY(put_words(b, "in", s->in, s->n_in, err));
        TFM_TRY(put_words(b, "out", s->out, s->n_out, err));
        for (const tfm_attr *at = tfm_op_table[s->op].attr; at->key != NULL; at++)
            TFM_TRY(put_attr(b, g, i, at, err));
        TFM_TRY(tfm_buf_str(b, "}\n", err));
    }
    return TFM_OK;
}

static tfm_status put_section(tfm_buf *b, const char *name, const tfm_step_list *list,
                              tfm_error *err) {
    group g = {&list, 1};
    TFM_TRY(tfm_buf_printf(b, err, "%s:\n", name));
    return put_steps(b, &g, "  ", err);
}

/* "0-3,6": the layers of `member` as ranges. */
static tfm_status put_ranges(tfm_buf *b, const uint32_t *member, size_t n, tfm_error *err) {
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && member[k] == member[k - 1] + 1; k++) {
        }
        TFM_TRY(tfm_buf_printf(b, err, "%s%u", i ? "," : "", member[i]));
        if (k > i + 1) TFM_TRY(tfm_buf_printf(b, err, "-%u", member[k - 1]));
    }
    return TFM_OK;
}

static tfm_status put_blocks(const tfm_resolver *r, tfm_buf *b, tfm_error *err) {
    void *p;
    uint32_t *member;
    const tfm_step_list **list;
    bool *done;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, r->n_layers * sizeof *member, err));
    member = p;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, r->n_layers * sizeof *list, err));
    list = p;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, r->n_layers, err));
    done = p;
    TFM_TRY(tfm_buf_str(b, "blocks:\n", err));
    for (uint32_t first = 0; first < r->n_layers; first++) {
        group g = {list, 0};
        if (done[first]) continue;
        for (uint32_t n = first; n < r->n_layers; n++) {
            if (done[n] || !same_group(&r->block[first], &r->block[n])) continue;
            done[n] = true;
            member[g.n] = n;
            list[g.n++] = &r->block[n];
        }
        TFM_TRY(tfm_buf_str(b, "  - layers: ", err));
        TFM_TRY(put_ranges(b, member, g.n, err));
        TFM_TRY(tfm_buf_str(b, "\n    steps:\n", err));
        TFM_TRY(put_steps(b, &g, "      ", err));
    }
    return TFM_OK;
}

/* ---- the rest ---- */

static tfm_status put_parameters(const tfm_resolver *r, tfm_buf *b, tfm_error *err) {
    TFM_TRY(tfm_buf_str(b, "parameters:\n", err));
    for (size_t i = 0; i < r->n_params; i++) {
        const tfm_param *p = &r->param[i];
        if (p->value.kind == TFM_VAL_NONE) continue;
        TFM_TRY(tfm_buf_printf(b, err, "  %s: ", p->name));
        TFM_TRY(put_value(b, &p->value, err));
        TFM_TRY(tfm_buf_byte(b, '\n', err));
    }
    return TFM_OK;
}

static tfm_status put_generation(const tfm_resolver *r, tfm_buf *b, tfm_error *err) {
    if (r->n_generation > 0) TFM_TRY(tfm_buf_str(b, "generation:\n", err));
    for (size_t i = 0; i < r->n_generation; i++) {
        tfm_val v = r->generation[i].value, list = {.kind = TFM_VAL_LIST, .item = &v, .n = 1};
        TFM_TRY(tfm_buf_printf(b, err, "  %s: ", r->generation[i].name));
        TFM_TRY(put_value(b, v.kind == TFM_VAL_LIST ? &v : &list, err));
        TFM_TRY(tfm_buf_byte(b, '\n', err));
    }
    return TFM_OK;
}

/* One "KEY: {TYPE: VALUE}" line of the gguf section. */
static tfm_status put_gguf(tfm_buf *b, const char *key, const tfm_yaml *type, const tfm_val *v,
                           tfm_error *err) {
    static const char *const types[] = {"u32", "i32", "u64", "i64", "f32", "bool", "str", NULL};
    const tfm_val *one = v->kind == TFM_VAL_LIST && v->n > 0 ? v->item : v;
    int k = 0;
    while (types[k] != NULL && strcmp(types[k], type->text) != 0) k++;
    if (types[k] == NULL)
        return tfm_yaml_fail(type, err, TFM_FORMAT,
                             "no GGUF type '%.20s' (u32 i32 u64 i64 f32 "
                             "bool str)",
                             type->text);
    if ((one->kind == TFM_VAL_STR) != (strcmp(types[k], "str") == 0))
        return tfm_yaml_fail(type, err, TFM_FORMAT, "'%s' is no %s", key, types[k]);
    TFM_TRY(tfm_buf_printf(b, err, "  %s: {%s: ", key, types[k]));
    if (strcmp(types[k], "bool") == 0 && v->kind == TFM_VAL_NUM)
        TFM_TRY(tfm_buf_str(b, v->num != 0 ? "true" : "false", err));
    else
        TFM_TRY(put_value(b, v, err));
    return tfm_buf_str(b, "}\n", err);
}

static const char *arch_of(const void *ctx, const char *name, size_t len) {
    return len == 4 && memcmp(name, "arch", 4) == 0 ? ctx : NULL;
}

static tfm_status put_gguf_param(const tfm_resolver *r, tfm_buf *b, const char *arch,
                                 const tfm_param *p, tfm_error *err) {
    const tfm_yaml *type = tfm_yaml_get(p->spec, "write"), *key = tfm_yaml_get(p->spec, "gguf");
    const tfm_yaml *when = tfm_yaml_get(p->spec, "write_if");
    const tfm_yaml *what = tfm_yaml_get(p->spec, "write_value");
    const char *name;
    tfm_val v = p->value;
    bool yes = true;
    if (type == NULL) return TFM_OK;
    if (key != NULL && key->kind == TFM_YAML_LIST && key->n > 0) key = key->entry[0].value;
    if (key == NULL || key->kind != TFM_YAML_SCALAR || key->text[0] == '=')
        return tfm_yaml_fail(type, err, TFM_FORMAT, "'write' needs a metadata key under 'gguf'");
    if (when != NULL) TFM_TRY(tfm_expr_true(when, when->text, &r->scope, &yes, err));
    if (!yes || v.kind == TFM_VAL_NONE) return TFM_OK;
    if (what != NULL) TFM_TRY(tfm_expr_eval(what, what->text, &r->scope, &v, err));
    TFM_TRY(tfm_substitute(r->arena, &name, key->text, arch_of, arch, err));
    return put_gguf(b, name, type, &v, err);
}

/* Metadata for a GGUF made from this model. A checkpoint that GGUF cannot express (`if` is false)
 * gets no section, and tfm_gguf_write refuses. */
static tfm_status put_gguf_section(const tfm_resolver *r, tfm_buf *b, tfm_error *err) {
    static const char *const known[] = {"architecture", "if", NULL};
    const tfm_yaml *section = tfm_yaml_get(r->arch, "gguf"), *arch, *when;
    bool yes = true;
    if (section == NULL) return TFM_OK;
    TFM_TRY(tfm_yaml_keys(section, known, err));
    arch = tfm_yaml_get(section, "architecture");
    when = tfm_yaml_get(section, "if");
    if (arch == NULL || arch->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(section, err, TFM_FORMAT, "'gguf' needs 'architecture'");
    if (when != NULL) TFM_TRY(tfm_expr_true(when, when->text, &r->scope, &yes, err));
    if (!yes) return TFM_OK;
    TFM_TRY(tfm_buf_str(b, "gguf:\n  general.architecture: {str: ", err));
    TFM_TRY(put_quoted(b, arch->text, arch->len, err));
    TFM_TRY(tfm_buf_str(b, "}\n", err));
    for (size_t i = 0; i < r->n_params; i++)
        TFM_TRY(put_gguf_param(r, b, arch->text, &r->param[i], err));
    return TFM_OK;
}

/* The vocabulary's settings, every line indented by two. */
static tfm_status put_tokenizer(const tfm_vocab_tables *vocab, tfm_buf *b, tfm_error *err) {
    const char *p = vocab->settings, *end = p + vocab->settings_len;
    TFM_TRY(tfm_buf_str(b, "tokenizer:\n", err));
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t n = eol ? (size_t)(eol - p) : (size_t)(end - p);
        if (n > 0) TFM_TRY(tfm_buf_str(b, "  ", err));
        TFM_TRY(tfm_buf_add(b, p, n, err));
        TFM_TRY(tfm_buf_byte(b, '\n', err));
        p += n + (eol ? 1 : 0);
    }
    return TFM_OK;
}

tfm_status tfm_describe_vocab(const tfm_vocab_tables *vocab, tfm_buf *out, tfm_error *err) {
    TFM_TRY(tfm_buf_str(out, "description: 1\n", err));
    return put_tokenizer(vocab, out, err);
}

tfm_status tfm_describe(const tfm_resolver *r, const tfm_vocab_tables *vocab, tfm_buf *out,
                        tfm_error *err) {
    const tfm_yaml *name = tfm_yaml_get(r->arch, "architecture");
    if (name == NULL || name->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(r->arch, err, TFM_FORMAT, "'architecture' (its name) is missing");
    TFM_TRY(tfm_buf_str(out, "description: 1\narchitecture: ", err));
    TFM_TRY(put_quoted(out, name->text, name->len, err));
    TFM_TRY(tfm_buf_byte(out, '\n', err));
    TFM_TRY(put_parameters(r, out, err));
    TFM_TRY(put_section(out, "embed", &r->embed, err));
    TFM_TRY(put_blocks(r, out, err));
    TFM_TRY(put_section(out, "head", &r->head, err));
    TFM_TRY(put_generation(r, out, err));
    TFM_TRY(put_gguf_section(r, out, err));
    return vocab ? put_tokenizer(vocab, out, err) : TFM_OK;
}
