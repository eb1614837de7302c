/* pickle.c - the stack machine of a pickle, protocols 2 to 5, reduced to data.
 *
 * Owns opcodes, stack, marks and memo. What a name means is in pickle_torch.c. The opcodes are
 * those of Python's pickletools that its writers use for containers, numbers and text; the rest
 * (among them all of protocol 0 and the ways to make an object but REDUCE and NEWOBJ) is refused by
 * name.
 *
 * Limits instead of trust: values pushed, memo entries, open marks. A value is 16 bytes, texts stay
 * where they are, and nothing recurses, so that memory and time grow with the bytes that are
 * there. */
#include <string.h>

#include "model/pickle_internal.h"

/* ---- stack and bytes ---- */

static tfm_status damaged(const tfm_pickle *k, const char *why, tfm_error *err) {
    return tfm_fail(err, TFM_FORMAT, "its pickle is damaged at byte %zu: %s", k->at, why);
}

static tfm_status push(tfm_pickle *k, tfm_pickle_value v, tfm_error *err) {
    void *p = k->stack;
    if (k->n_values >= TFM_PICKLE_MAX_VALUES)
        return tfm_fail(err, TFM_LIMIT, "its pickle makes more than %u values",
                        TFM_PICKLE_MAX_VALUES);
    TFM_TRY(tfm_grow(&p, &k->cap_stack, k->n_stack + 1, sizeof *k->stack, err));
    k->stack = p;
    k->stack[k->n_stack++] = v;
    k->n_values++;
    return TFM_OK;
}

/* The lowest height that may be popped: what is below the last mark belongs to its opener. */
static size_t ground(const tfm_pickle *k) {
    return k->n_marks ? k->mark[k->n_marks - 1] : 0;
}

/* The n topmost values, *v pointing to the lowest of them; they are still there. */
static tfm_status peek(const tfm_pickle *k, size_t n, tfm_pickle_value **v, tfm_error *err) {
    *v = NULL;
    if (k->n_stack - ground(k) < n) return damaged(k, "too few values", err);
    *v = k->stack + (k->n_stack - n);
    return TFM_OK;
}

/* Takes n bytes of the pickle. */
static tfm_status take(tfm_pickle *k, uint64_t n, const unsigned char **p, tfm_error *err) {
    *p = NULL;
    if (n > k->n - k->at)
        return tfm_fail(err, TFM_TRUNCATED, "its pickle ends inside a value, at byte %zu", k->at);
    *p = k->p + k->at;
    k->at += (size_t)n;
    return TFM_OK;
}

/* A little-endian number of `width` bytes, at most 8. */
static tfm_status take_number(tfm_pickle *k, unsigned width, uint64_t *v, tfm_error *err) {
    const unsigned char *p;
    *v = 0;
    TFM_TRY(take(k, width, &p, err));
    for (unsigned i = 0; i < width; i++) *v |= (uint64_t)p[i] << 8 * i;
    return TFM_OK;
}

/* Everything above the last mark, which goes. */
static tfm_status pop_mark(tfm_pickle *k, tfm_pickle_value **v, size_t *n, tfm_error *err) {
    *v = NULL;
    *n = 0;
    if (k->n_marks == 0) return damaged(k, "no mark", err);
    const size_t from = k->mark[--k->n_marks];
    *v = k->stack + from;
    *n = k->n_stack - from;
    k->n_stack = from;
    return TFM_OK;
}

/* ---- scalars ---- */

static tfm_status push_int(tfm_pickle *k, int64_t i, tfm_error *err) {
    return push(k, (tfm_pickle_value){.kind = TFM_PICKLE_INT, .u.i = i}, err);
}

static tfm_status push_bool(tfm_pickle *k, bool b, tfm_error *err) {
    return push(k, (tfm_pickle_value){.kind = TFM_PICKLE_BOOL, .u.i = b}, err);
}

/* A text whose length is a number of `width` bytes. */
static tfm_status push_text(tfm_pickle *k, unsigned width, tfm_error *err) {
    uint64_t n;
    const unsigned char *p;
    TFM_TRY(take_number(k, width, &n, err));
    TFM_TRY(take(k, n, &p, err));
    if (n > UINT32_MAX) return tfm_fail(err, TFM_LIMIT, "its pickle has a text of 4 GiB");
    return push(
        k, (tfm_pickle_value){.kind = TFM_PICKLE_TEXT, .n = (uint32_t)n, .u.text = (const char *)p},
        err);
}

static tfm_status push_number(tfm_pickle *k, unsigned width, tfm_error *err) {
    uint64_t v;
    TFM_TRY(take_number(k, width, &v, err));
    if (width == 4 && v > INT32_MAX) return push_int(k, (int64_t)v - ((int64_t)1 << 32), err);
    return push_int(k, (int64_t)v, err);
}

/* LONG: two's complement of any width. */
static tfm_status push_long(tfm_pickle *k, unsigned width, tfm_error *err) {
    uint64_t n, v = 0;
    const unsigned char *p;
    TFM_TRY(take_number(k, width, &n, err));
    TFM_TRY(take(k, n, &p, err));
    if (n > 8)
        return tfm_fail(err, TFM_UNSUPPORTED, "its pickle has an integer of more than 64 bits");
    for (unsigned i = 0; i < n; i++) v |= (uint64_t)p[i] << 8 * i;
    if (n > 0 && n < 8 && (p[n - 1] & 0x80) != 0) v |= UINT64_MAX << 8 * n;
    return push_int(k, v > INT64_MAX ? -(int64_t)(~v) - 1 : (int64_t)v, err);
}

/* Big-endian, unlike everything else. */
static tfm_status push_float(tfm_pickle *k, tfm_error *err) {
    const unsigned char *p;
    uint64_t bits = 0;
    tfm_pickle_value v = {.kind = TFM_PICKLE_FLOAT};
    TFM_TRY(take(k, 8, &p, err));
    for (unsigned i = 0; i < 8; i++) bits = bits << 8 | p[i];
    memcpy(&v.u.f, &bits, sizeof v.u.f);
    return push(k, v, err);
}

/* ---- containers ---- */

static tfm_status push_empty(tfm_pickle *k, tfm_pickle_kind kind, tfm_error *err) {
    tfm_pickle_value v;
    TFM_TRY(tfm_pickle_container(k, kind, &v, err));
    return push(k, v, err);
}

/* The n topmost values, or all above the mark, become one container. */
static tfm_status wrap(tfm_pickle *k, tfm_pickle_kind kind, const tfm_pickle_value *from, size_t n,
                       tfm_error *err) {
    tfm_pickle_value v;
    if (kind == TFM_PICKLE_DICT && n % 2 != 0) return damaged(k, "a key without value", err);
    TFM_TRY(tfm_pickle_container(k, kind, &v, err));
    TFM_TRY(tfm_pickle_append(k, &v, from, n, err));
    return push(k, v, err);
}

static tfm_status wrap_top(tfm_pickle *k, size_t n, tfm_error *err) {
    tfm_pickle_value *v;
    TFM_TRY(peek(k, n, &v, err));
    k->n_stack -= n;
    return wrap(k, TFM_PICKLE_TUPLE, v, n, err);
}

static tfm_status wrap_mark(tfm_pickle *k, tfm_pickle_kind kind, tfm_error *err) {
    tfm_pickle_value *v;
    size_t n;
    TFM_TRY(pop_mark(k, &v, &n, err));
    return wrap(k, kind, v, n, err);
}

/* Appends v[0..n), which lay above it, to the container now on top. */
static tfm_status add_to_top(tfm_pickle *k, tfm_pickle_kind kind, const tfm_pickle_value *v,
                             size_t n, tfm_error *err) {
    tfm_pickle_value *to;
    TFM_TRY(peek(k, 1, &to, err));
    if (to->kind != kind) return damaged(k, "values for what is no such container", err);
    if (kind == TFM_PICKLE_DICT && n % 2 != 0) return damaged(k, "a key without value", err);
    return tfm_pickle_append(k, to, v, n, err);
}

static tfm_status add_many(tfm_pickle *k, tfm_pickle_kind kind, tfm_error *err) {
    tfm_pickle_value *v;
    size_t n;
    TFM_TRY(pop_mark(k, &v, &n, err));
    return add_to_top(k, kind, v, n, err);
}

static tfm_status add_few(tfm_pickle *k, tfm_pickle_kind kind, size_t n, tfm_error *err) {
    tfm_pickle_value *v;
    TFM_TRY(peek(k, n, &v, err));
    k->n_stack -= n;
    return add_to_top(k, kind, v, n, err);
}

/* ---- memo ---- */

/* Writers number their entries in order; a place further on would be a memo of holes. */
static tfm_status remember(tfm_pickle *k, uint64_t i, tfm_error *err) {
    tfm_pickle_value *v;
    void *p = k->memo;
    TFM_TRY(peek(k, 1, &v, err));
    if (i > k->n_memo) return damaged(k, "a memo entry out of order", err);
    if (i >= TFM_PICKLE_MAX_VALUES)
        return tfm_fail(err, TFM_LIMIT, "its pickle remembers more than %u values",
                        TFM_PICKLE_MAX_VALUES);
    TFM_TRY(tfm_grow(&p, &k->cap_memo, (size_t)i + 1, sizeof *k->memo, err));
    k->memo = p;
    k->memo[i] = *v;
    if (i == k->n_memo) k->n_memo++;
    return TFM_OK;
}

static tfm_status remember_at(tfm_pickle *k, unsigned width, tfm_error *err) {
    uint64_t i;
    TFM_TRY(take_number(k, width, &i, err));
    return remember(k, i, err);
}

static tfm_status recall(tfm_pickle *k, unsigned width, tfm_error *err) {
    uint64_t i;
    TFM_TRY(take_number(k, width, &i, err));
    if (i >= k->n_memo) return damaged(k, "no such memo entry", err);
    return push(k, k->memo[i], err);
}

/* ---- names and what would be calls ---- */

/* Up to the next newline, which is taken, too. */
static tfm_status take_line(tfm_pickle *k, const char **line, size_t *n, tfm_error *err) {
    const unsigned char *from = k->p + k->at;
    const unsigned char *end = k->n > k->at ? memchr(from, '\n', k->n - k->at) : NULL;
    *line = NULL;
    *n = 0;
    if (!end) return tfm_fail(err, TFM_TRUNCATED, "its pickle ends inside a name");
    *line = (const char *)from;
    *n = (size_t)(end - from);
    k->at += *n + 1;
    return TFM_OK;
}

static tfm_status global_of_lines(tfm_pickle *k, tfm_error *err) {
    const char *module, *name;
    size_t n_module, n_name;
    tfm_pickle_value v;
    TFM_TRY(take_line(k, &module, &n_module, err));
    TFM_TRY(take_line(k, &name, &n_name, err));
    TFM_TRY(tfm_pickle_name(&v, module, n_module, name, n_name, err));
    return push(k, v, err);
}

static tfm_status global_of_stack(tfm_pickle *k, tfm_error *err) {
    tfm_pickle_value *v, out;
    TFM_TRY(peek(k, 2, &v, err));
    if (v[0].kind != TFM_PICKLE_TEXT || v[1].kind != TFM_PICKLE_TEXT)
        return damaged(k, "a name that is no text", err);
    TFM_TRY(tfm_pickle_name(&out, v[0].u.text, v[0].n, v[1].u.text, v[1].n, err));
    k->n_stack -= 2;
    return push(k, out, err);
}

static tfm_status reduce(tfm_pickle *k, tfm_error *err) {
    tfm_pickle_value *v, out;
    TFM_TRY(peek(k, 2, &v, err));
    if (v[0].kind != TFM_PICKLE_NAME || v[1].kind != TFM_PICKLE_TUPLE)
        return damaged(k, "a call of what is no name", err);
    TFM_TRY(tfm_pickle_call(k, &v[0], &v[1], &out, err));
    k->n_stack -= 2;
    return push(k, out, err);
}

/* State of an object: an ordered dict has some (state_dict's _metadata), which says nothing
 * here. */
static tfm_status build(tfm_pickle *k, tfm_error *err) {
    tfm_pickle_value *v;
    TFM_TRY(peek(k, 2, &v, err));
    if (v[0].kind != TFM_PICKLE_DICT || v[1].kind != TFM_PICKLE_DICT)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "its pickle sets the state of %s (opcode BUILD): only that of a dict is "
                        "known",
                        tfm_pickle_kind_name(&v[0]));
    k->n_stack--;
    return TFM_OK;
}

static tfm_status persistent(tfm_pickle *k, tfm_error *err) {
    tfm_pickle_value *v, out;
    TFM_TRY(peek(k, 1, &v, err));
    TFM_TRY(tfm_pickle_persistent(k, v, &out, err));
    k->n_stack--;
    return push(k, out, err);
}

/* ---- opcodes ---- */

/* For the message: opcodes of Python that this machine does not have. */
static const char *opcode_name(unsigned char op) {
    static const struct {
        unsigned char op;
        const char *name;
    } names[] = {{'i', "INST"},
                 {'o', "OBJ"},
                 {0x92, "NEWOBJ_EX"},
                 {0x82, "EXT1"},
                 {0x83, "EXT2"},
                 {0x84, "EXT4"},
                 {'P', "PERSID"},
                 {'I', "INT"},
                 {'L', "LONG"},
                 {'F', "FLOAT"},
                 {'S', "STRING"},
                 {'V', "UNICODE"},
                 {'p', "PUT"},
                 {'g', "GET"},
                 {0x96, "BYTEARRAY8"},
                 {0x97, "NEXT_BUFFER"},
                 {0x98, "READONLY_BUFFER"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].op == op) return names[i].name;
    return "of no name";
}

static tfm_status unknown(const tfm_pickle *k, unsigned char op, tfm_error *err) {
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "its pickle has opcode 0x%02x (%s) at byte %zu, which no tensor and no plain "
                    "container needs: refused, nothing of it was run",
                    op, opcode_name(op), k->at - 1);
}

static tfm_status mark(tfm_pickle *k, tfm_error *err) {
    if (k->n_marks >= TFM_PICKLE_MAX_DEPTH)
        return tfm_fail(err, TFM_LIMIT, "its pickle is nested more than %u deep",
                        TFM_PICKLE_MAX_DEPTH);
    k->mark[k->n_marks++] = (uint32_t)k->n_stack;
    return TFM_OK;
}

static tfm_status pop(tfm_pickle *k, tfm_error *err) {
    tfm_pickle_value *v;
    if (k->n_marks && k->n_stack == ground(k)) {
        k->n_marks--; /* as Python has it: POP on a mark takes the mark */
        return TFM_OK;
    }
    TFM_TRY(peek(k, 1, &v, err));
    k->n_stack--;
    return TFM_OK;
}

static tfm_status pop_to_mark(tfm_pickle *k, tfm_error *err) {
    tfm_pickle_value *v;
    size_t n;
    return pop_mark(k, &v, &n, err);
}

static tfm_status duplicate(tfm_pickle *k, tfm_error *err) {
    tfm_pickle_value *v;
    TFM_TRY(peek(k, 1, &v, err));
    return push(k, *v, err);
}

static tfm_status skip(tfm_pickle *k, unsigned width, tfm_error *err) {
    const unsigned char *p;
    return take(k, width, &p, err);
}

static tfm_status step_container(tfm_pickle *k, unsigned char op, tfm_error *err) {
    switch (op) {
    case '(': return mark(k, err);
    case '0': return pop(k, err);
    case '1': return pop_to_mark(k, err);
    case '2': return duplicate(k, err);
    case ')': return push_empty(k, TFM_PICKLE_TUPLE, err);
    case ']': return push_empty(k, TFM_PICKLE_LIST, err);
    case '}': return push_empty(k, TFM_PICKLE_DICT, err);
    case 0x8f: return push_empty(k, TFM_PICKLE_SET, err);
    case 't': return wrap_mark(k, TFM_PICKLE_TUPLE, err);
    case 'l': return wrap_mark(k, TFM_PICKLE_LIST, err);
    case 'd': return wrap_mark(k, TFM_PICKLE_DICT, err);
    case 0x91: return wrap_mark(k, TFM_PICKLE_SET, err);
    case 0x85: return wrap_top(k, 1, err);
    case 0x86: return wrap_top(k, 2, err);
    case 0x87: return wrap_top(k, 3, err);
    case 'a': return add_few(k, TFM_PICKLE_LIST, 1, err);
    case 'e': return add_many(k, TFM_PICKLE_LIST, err);
    case 's': return add_few(k, TFM_PICKLE_DICT, 2, err);
    case 'u': return add_many(k, TFM_PICKLE_DICT, err);
    case 0x90: return add_many(k, TFM_PICKLE_SET, err);
    default: return unknown(k, op, err);
    }
}

static tfm_status step(tfm_pickle *k, unsigned char op, tfm_error *err) {
    switch (op) {
    case 0x80: return skip(k, 1, err); /* PROTO */
    case 0x95: return skip(k, 8, err); /* FRAME */
    case 'N': return push(k, (tfm_pickle_value){.kind = TFM_PICKLE_NONE}, err);
    case 0x88: return push_bool(k, true, err);
    case 0x89: return push_bool(k, false, err);
    case 'K': return push_number(k, 1, err);
    case 'M': return push_number(k, 2, err);
    case 'J': return push_number(k, 4, err);
    case 0x8a: return push_long(k, 1, err);
    case 0x8b: return push_long(k, 4, err);
    case 'G': return push_float(k, err);
    case 'U':
    case 'C':
    case 0x8c: return push_text(k, 1, err);
    case 'T':
    case 'B':
    case 'X': return push_text(k, 4, err);
    case 0x8d:
    case 0x8e: return push_text(k, 8, err);
    case 'q': return remember_at(k, 1, err);
    case 'r': return remember_at(k, 4, err);
    case 0x94: return remember(k, k->n_memo, err);
    case 'h': return recall(k, 1, err);
    case 'j': return recall(k, 4, err);
    case 'c': return global_of_lines(k, err);
    case 0x93: return global_of_stack(k, err);
    case 'R':
    case 0x81: return reduce(k, err); /* NEWOBJ: cls.__new__(cls, *args), the same for ours */
    case 'b': return build(k, err);
    case 'Q': return persistent(k, err);
    default: return step_container(k, op, err);
    }
}

static tfm_status run(tfm_pickle *k, tfm_error *err) {
    while (k->at < k->n) {
        const unsigned char op = k->p[k->at++];
        if (op != '.') {
            TFM_TRY(step(k, op, err));
            continue;
        }
        if (k->n_stack != 1 || k->n_marks != 0) return damaged(k, "it ends with open values", err);
        k->top = k->stack[0];
        return TFM_OK;
    }
    return tfm_fail(err, TFM_TRUNCATED, "its pickle has no end");
}

tfm_status tfm_pickle_read(tfm_pickle *k, const void *p, size_t n, tfm_pickle_find find,
                           void *find_ctx, tfm_error *err) {
    void *marks;
    *k = (tfm_pickle){.p = p, .n = n, .find = find, .find_ctx = find_ctx};
    TFM_TRY(tfm_arena_new(&k->arena, err));
    TFM_TRY(tfm_alloc(&marks, TFM_PICKLE_MAX_DEPTH, sizeof *k->mark, err));
    k->mark = marks;
    return run(k, err);
}

void tfm_pickle_free(tfm_pickle *k) {
    tfm_arena_free(k->arena);
    tfm_free(k->stack);
    tfm_free(k->memo);
    tfm_free(k->mark);
    *k = (tfm_pickle){0};
}

bool tfm_pickle_text(const tfm_pickle_value *v, const char *s) {
    return v->kind == TFM_PICKLE_TEXT && strlen(s) == v->n && memcmp(v->u.text, s, v->n) == 0;
}

const char *tfm_pickle_kind_name(const tfm_pickle_value *v) {
    static const char *const names[] = {
        "nothing (None)", "a truth value", "an integer", "a number", "a text",    "a tuple",
        "a list",         "a set",         "a dict",     "a name",   "a storage", "a tensor"};
    return names[v->kind];
}
