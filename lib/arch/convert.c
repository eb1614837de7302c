/* convert.c - to model.bin: type and layout of each tensor are decided first, from what the steps
 * do with it; then the tensors are written one after another, each in memory only while it is made.
 */
#include "arch/assemble_internal.h"
#include "arch/graph_internal.h"
#include "arch/quantise_internal.h"
#include "model/names_internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the steps do with a tensor. */
enum { USE_LINEAR = 1, USE_TOKENS = 2, USE_POSITIONS = 4, USE_OTHER = 8 };

typedef struct converter {
    const tfm_convert_options *o;
    tfm_assembly a;
    tfm_names names;            /* of parts */
    uint8_t *use;               /* [n_parts] */
    tfm_tensor *source;         /* [n_parts] what the steps are compiled against */
    tfm_tensor *target;         /* [n_parts] type, layout and bytes to write */
    uint64_t done, total;       /* bytes of tensors written, and in all */
    tfm_importance *importance; /* NULL: columns count the same */
    tfm_pool *pool;             /* NULL if nothing is quantised by search */
    uint32_t n_blocks;
    size_t n_replaced; /* matrices whose columns do not fit the type; the last of them: */
    uint32_t replaced_columns;
    tfm_dtype replaced, replacement;
    size_t n_requantised; /* matrices that go from one block type to another */
    size_t requantised;   /* the first of them */
} converter;

static void report(const converter *c, const char *fmt, ...) TFM_PRINTF(2, 3);
static void report(const converter *c, const char *fmt, ...) {
    char line[400];
    va_list ap;
    if (c->o->report == NULL) return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->o->report(c->o->report_ctx, line);
}

static void detail(const converter *c, const char *fmt, ...) TFM_PRINTF(2, 3);
static void detail(const converter *c, const char *fmt, ...) {
    char line[400];
    va_list ap;
    if (c->o->detail == NULL) return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->o->detail(c->o->report_ctx, line);
}

/* ---- what is what ---- */

static const tfm_tensor *find_part(const tfm_tensors *t, const char *name) {
    const converter *c = t->ctx;
    uint32_t i = tfm_names_find(&c->names, name, strlen(name));
    return i == TFM_NO_NAME ? NULL : &c->source[i];
}

static void note_use(converter *c, const tfm_graph *g, int weight, unsigned use) {
    if (weight != TFM_NONE) {
        size_t i = (size_t)(g->weight[weight].tensor - c->source);
        c->use[i] = (uint8_t)(c->use[i] | use);
    }
}

/* Compiling proves the description again, which matters when it comes from a model.bin. */
static tfm_status find_uses(converter *c, const char *path, tfm_error *err) {
    tfm_tensors tensors = {find_part, c};
    tfm_graph *g;
    if (!c->a.has_steps) return TFM_OK;
    TFM_TRY(tfm_graph_compile(&g, path, c->a.description, c->a.description_len, NULL, &tensors, 0,
                              err));
    for (size_t i = 0; i < g->n_steps; i++) {
        const tfm_step *s = &g->step[i];
        const bool experts = s->op == TFM_OP_MOE_FFN; /* all three are matrices */
        unsigned use = s->op == TFM_OP_LINEAR || experts ? USE_LINEAR : USE_OTHER;
        if (s->op == TFM_OP_GATHER)
            use = s->u.gather.index == TFM_INDEX_TOKEN      ? USE_TOKENS
                  : s->u.gather.index == TFM_INDEX_POSITION ? USE_POSITIONS
                                                            : USE_OTHER;
        note_use(c, g, s->weight, use);
        note_use(c, g, s->bias, experts ? USE_LINEAR : USE_OTHER);
        note_use(c, g, s->extra, experts ? USE_LINEAR : USE_OTHER);
        for (int k = 0; experts && k < 3; k++)
            note_use(c, g, (int)s->u.experts.bias[k] - 1, USE_OTHER);
    }
    c->n_blocks = g->n_blocks;
    tfm_status st = TFM_OK;
    if (c->o->imatrix || c->o->calibrate)
        st = tfm_importance_new(&c->importance, g, c->source, c->a.n_parts, err);
    tfm_graph_free(g);
    return st;
}

static tfm_status list_parts(converter *c, tfm_error *err) {
    size_t n = c->a.n_parts;
    void *p;
    TFM_TRY(tfm_alloc(&p, n, 1, err));
    c->use = p;
    TFM_TRY(tfm_alloc(&p, n, sizeof *c->source, err));
    c->source = p;
    TFM_TRY(tfm_alloc(&p, n, sizeof *c->target, err));
    c->target = p;
    for (size_t i = 0; i < n; i++) {
        const tfm_tensor *t = &c->a.part[i].t;
        c->source[i] = c->target[i] = *t;
        TFM_TRY(tfm_names_add(&c->names, t->name, strlen(t->name), (uint32_t)i, err));
    }
    return TFM_OK;
}

/* The compiler reads vectors only, and those are there; an address that nobody follows stands for a
 * matrix that is not made yet. */
static void stand_in(converter *c) {
    for (size_t i = 0; i < c->a.n_parts; i++)
        if (c->source[i].data == NULL) c->source[i].data = c;
}

/* ---- type and layout ---- */

static bool is_number(tfm_dtype t) {
    return t == TFM_F32 || t == TFM_F16 || t == TFM_BF16 || tfm_dtype_block(t) > 1;
}

static bool is_block_source(tfm_dtype t) {
    return t != TFM_F32 && t != TFM_F16 && t != TFM_BF16;
}

/* The type of a matrix of this many columns, and a report if it is not what was asked for. */
static tfm_dtype fit_columns(converter *c, const tfm_tensor *t, tfm_dtype want) {
    const uint32_t columns = t->dims[t->rank - 1];
    tfm_dtype fits = tfm_type_for_columns(want, columns);
    if (fits == want) return want;
    if (fits != TFM_DTYPE_NONE) {
        c->n_replaced++;
        c->replaced_columns = columns;
        c->replaced = want;
        c->replacement = fits;
        detail(c, "%s: %u columns, %s instead of %s", t->name, columns, tfm_dtype_name(fits),
               tfm_dtype_name(want));
        return fits;
    }
    fits = is_block_source(t->dtype) ? t->dtype : TFM_F16;
    report(c, "%s: %u columns are no whole number of %s blocks, kept as %s", t->name, columns,
           tfm_dtype_name(want), tfm_dtype_name(fits));
    return fits;
}

static tfm_dtype target_type(converter *c, size_t i) {
    const tfm_tensor *t = &c->source[i];
    tfm_dtype want = c->o->type;
    unsigned use = c->use[i];
    if (want == TFM_DTYPE_NONE || use == 0 || !is_number(t->dtype)) return t->dtype;
    if ((use & (USE_LINEAR | USE_TOKENS)) == 0 || t->rank < 2)
        return t->dtype == TFM_F16 || t->dtype == TFM_BF16 ? TFM_F32 : t->dtype;
    if (c->o->mixed) {
        const bool is_embedding = (use & USE_TOKENS) != 0;
        const bool is_output =
            (use & USE_LINEAR) != 0 && (is_embedding || strcmp(t->name, "output.weight") == 0);
        want = tfm_mixed_type(t->name, c->n_blocks, is_output);
    }
    return fit_columns(c, t, want);
}

/* One line for all matrices that got another type; each is a detail. */
static void report_replaced(const converter *c) {
    if (c->n_replaced > 0)
        report(c,
               "%zu %s columns that are no multiple of %u (%u, say): %s instead of %s; "
               "-v names them",
               c->n_replaced, c->n_replaced == 1 ? "matrix has" : "matrices have",
               tfm_dtype_block(c->replaced), c->replaced_columns, tfm_dtype_name(c->replacement),
               tfm_dtype_name(c->replaced));
}

static void note_requantised(converter *c, size_t i) {
    if (c->n_requantised++ == 0) c->requantised = i;
    detail(c, "%s: from %s to %s, which rounds a second time", c->source[i].name,
           tfm_dtype_name(c->source[i].dtype), tfm_dtype_name(c->target[i].dtype));
}

static void report_requantised(const converter *c) {
    const tfm_tensor *s = &c->source[c->requantised], *t = &c->target[c->requantised];
    if (c->n_requantised > 0)
        report(c,
               "%zu matri%s from one quantised type to another (%s: %s to %s), which rounds a "
               "second time; "
               "-v names them",
               c->n_requantised, c->n_requantised == 1 ? "x goes" : "ces go", s->name,
               tfm_dtype_name(s->dtype), tfm_dtype_name(t->dtype));
}

static tfm_status decide(converter *c, tfm_error *err) {
    for (size_t i = 0; i < c->a.n_parts; i++) {
        const tfm_tensor *s = &c->source[i];
        tfm_tensor *t = &c->target[i];
        bool linear = (c->use[i] & USE_LINEAR) != 0 && (c->use[i] & ~USE_LINEAR) == 0;
        t->dtype = target_type(c, i);
        if (t->dtype != s->dtype && tfm_dtype_block(s->dtype) > 1 && tfm_dtype_block(t->dtype) > 1)
            note_requantised(c, i);
        if (c->use[i] != 0)
            t->layout =
                linear && t->rank == 2 && is_number(t->dtype) ? c->o->layout : TFM_LAYOUT_ROWS;
        TFM_TRY(tfm_layout_bytes(t->dtype, t->layout, t->rank, t->dims, &t->bytes, err));
    }
    report_replaced(c);
    report_requantised(c);
    return TFM_OK;
}

/* q4_0 and q8_0 are made by the reference formulas, but for q4_0 where there is an imatrix, or
 * where it stands for another type. */
static bool is_searched(const converter *c, size_t i) {
    const tfm_tensor *s = &c->source[i], *t = &c->target[i];
    if (s->dtype == t->dtype || !tfm_can_quantise(t->dtype)) return false;
    return t->dtype != TFM_Q4_0 || c->o->imatrix != NULL || c->o->type != TFM_Q4_0;
}

static bool any_searched(const converter *c) {
    for (size_t i = 0; i < c->a.n_parts; i++)
        if (is_searched(c, i)) return true;
    return false;
}

/* Importance from what the caller runs. */
static tfm_status read_calibration(const converter *c, size_t n, tfm_error *err) {
    /* A model without columns that stand out is better off with it, one that has them loses little:
     * measured, see tests/golden/MANIFEST.md. */
    static const float HALF_A_COLUMN = 0.5f;
    tfm_reader *taps = NULL;
    void *name;
    TFM_TRY(tfm_alloc(&name, n, sizeof(const char *), err));
    tfm_importance_names(c->importance, name);
    tfm_status st = c->o->calibrate(c->o->calibrate_ctx, name, n, &taps, err);
    tfm_free(name);
    return st == TFM_OK ? tfm_importance_read(c->importance, taps, HALF_A_COLUMN, err) : st;
}

/* Where nothing is to be learned all columns count the same. A weight that is not finite makes
 * values that are none either; which weight it is, will be said when its tensor is quantised. */
static tfm_status calibrate(converter *c, tfm_error *err) {
    const size_t n = tfm_importance_names(c->importance, NULL);
    tfm_status st = TFM_FORMAT;
    if (any_searched(c) && n > 0) {
        st = read_calibration(c, n, err);
        if (st == TFM_FORMAT)
            report(c, "calibration: %s: all columns count the same", err->message);
    }
    if (st != TFM_FORMAT) return st == TFM_OK ? st : tfm_error_prefix(err, st, "calibration");
    tfm_importance_free(c->importance);
    c->importance = NULL;
    return TFM_OK;
}

static tfm_status read_importance(converter *c, tfm_error *err) {
    const char *value, *first_value = NULL, *first = NULL;
    uint64_t rows;
    size_t n = 0;
    if (!c->importance) return TFM_OK;
    if (!c->o->imatrix) return calibrate(c, err);
    tfm_status st = tfm_importance_read(c->importance, c->o->imatrix, 0.0f, err);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "%s", c->o->imatrix_name);
    for (size_t i = 0; i < c->a.n_parts; i++) {
        if (!is_searched(c, i) || tfm_importance_of(c->importance, i, &value, &rows)) continue;
        detail(c, "%s: no importance", c->source[i].name);
        if (!value) continue; /* nothing could be tapped */
        if (n++ > 0) continue;
        first = c->source[i].name;
        first_value = value;
    }
    if (n > 0)
        report(c, "%s: no taps for %zu matrices, the first is %s: tap '%s'", c->o->imatrix_name, n,
               first, first_value);
    return TFM_OK;
}

static tfm_status start_threads(converter *c, tfm_error *err) {
    if (!any_searched(c)) return TFM_OK;
    return tfm_pool_new(&c->pool, c->o->threads ? c->o->threads : tfm_threads_default(), err);
}

/* ---- one tensor ---- */

/* Bytes that are passed along, and the memory they may own. */
typedef struct piece {
    const void *data;
    void *own;
} piece;

static tfm_status piece_new(piece *p, uint64_t bytes, tfm_error *err) {
    if (bytes > SIZE_MAX) return tfm_fail(err, TFM_NOMEM, "a tensor is too large for this machine");
    TFM_TRY(tfm_alloc_aligned(&p->own, 64, (size_t)bytes, 1, err));
    p->data = p->own;
    return TFM_OK;
}

static void piece_move(piece *to, piece *from) {
    tfm_free(to->own);
    *to = *from;
    *from = (piece){NULL, NULL};
}

/* The tensor in its own type, layout rows. */
static tfm_status get_rows(const converter *c, size_t i, piece *out, tfm_error *err) {
    const tfm_tensor *s = &c->source[i];
    const tfm_recipe *r = c->a.part[i].recipe;
    uint64_t bytes;
    if (r != NULL) {
        TFM_TRY(piece_new(out, s->bytes, err));
        return tfm_recipe_run(r, out->own, err);
    }
    out->data = s->data;
    if (s->layout == TFM_LAYOUT_ROWS) return TFM_OK;
    TFM_TRY(tfm_layout_bytes(s->dtype, TFM_LAYOUT_ROWS, s->rank, s->dims, &bytes, err));
    TFM_TRY(piece_new(out, bytes, err));
    return tfm_unpack_p16(s->dtype, s->dims[0], s->dims[1], s->data, out->own, err);
}

/* f16 ends at 65504: a larger weight would become infinite. */
static tfm_status check_f16(const float *v, size_t n, tfm_error *err) {
    for (size_t i = 0; i < n; i++)
        if (fabsf(v[i]) > 65504.0f && isfinite(v[i]))
            return tfm_fail(err, TFM_LIMIT,
                            "the value %.9g does not fit f16; use --type bf16 or "
                            "f32",
                            (double)v[i]);
    return TFM_OK;
}

static tfm_status convert_rows(const tfm_tensor *s, const tfm_tensor *t, piece *p, tfm_error *err) {
    uint64_t n, done = 0, step, from, to;
    piece made = {NULL, NULL};
    void *buf = NULL;
    tfm_status st = TFM_OK;
    if (s->dtype == t->dtype) return TFM_OK;
    if (!tfm_dims_count(s->rank, s->dims, &n) || !tfm_dtype_bytes(t->dtype, n, &to))
        return tfm_fail(err, TFM_LIMIT, "the tensor is too large");
    st = piece_new(&made, to, err);
    step = 256 * 64; /* whole blocks of every type */
    if (st == TFM_OK) st = tfm_alloc(&buf, (size_t)step, sizeof(float), err);
    while (done < n && st == TFM_OK) {
        uint64_t k = n - done < step ? n - done : step;
        if (!tfm_dtype_bytes(s->dtype, done, &from) || !tfm_dtype_bytes(t->dtype, done, &to)) break;
        st = tfm_to_f32(s->dtype, (const char *)p->data + from, k, buf, err);
        if (st == TFM_OK && t->dtype == TFM_F16) st = check_f16(buf, (size_t)k, err);
        if (st == TFM_OK) st = tfm_from_f32(t->dtype, buf, k, (char *)made.own + to, err);
        done += k;
    }
    tfm_free(buf);
    if (st == TFM_OK) piece_move(p, &made);
    tfm_free(made.own);
    return st;
}

static tfm_status quantise(const converter *c, size_t i, piece *p, tfm_error *err) {
    const tfm_tensor *s = &c->source[i], *t = &c->target[i];
    piece made = {NULL, NULL};
    uint64_t bytes, rows;
    const char *value;
    const float *importance =
        c->importance ? tfm_importance_of(c->importance, i, &value, &rows) : NULL;
    TFM_TRY(tfm_layout_bytes(t->dtype, TFM_LAYOUT_ROWS, t->rank, t->dims, &bytes, err));
    TFM_TRY(piece_new(&made, bytes, err));
    tfm_status st = tfm_quantise_tensor(c->pool, s, p->data, t->dtype, importance, made.own, err);
    if (st == TFM_OK) piece_move(p, &made);
    tfm_free(made.own);
    return st;
}

static tfm_status pack(const tfm_tensor *t, piece *p, tfm_error *err) {
    piece made = {NULL, NULL};
    tfm_status st;
    if (t->layout == TFM_LAYOUT_ROWS) return TFM_OK;
    st = piece_new(&made, t->bytes, err);
    if (st == TFM_OK) st = tfm_pack_p16(t->dtype, t->dims[0], t->dims[1], p->data, made.own, err);
    if (st == TFM_OK) piece_move(p, &made);
    tfm_free(made.own);
    return st;
}

/* The tensor as it shall be written: out->data has target[i].bytes. */
static tfm_status make(const converter *c, size_t i, piece *out, tfm_error *err) {
    const tfm_tensor *s = &c->source[i], *t = &c->target[i];
    tfm_status st;
    *out = (piece){NULL, NULL};
    if (c->a.part[i].recipe == NULL && s->dtype == t->dtype && s->layout == t->layout) {
        out->data = s->data;
        return TFM_OK;
    }
    st = get_rows(c, i, out, err);
    if (st == TFM_OK)
        st = is_searched(c, i) ? quantise(c, i, out, err) : convert_rows(s, t, out, err);
    if (st == TFM_OK) st = pack(t, out, err);
    if (st == TFM_OK) return TFM_OK;
    tfm_free(out->own);
    *out = (piece){NULL, NULL};
    return tfm_error_prefix(err, st, "tensor %s", s->name);
}

static tfm_status emit(void *ctx, size_t i, tfm_writer *w, tfm_error *err) {
    converter *c = ctx;
    piece p;
    tfm_status st;
    TFM_TRY(make(c, i, &p, err));
    st = tfm_writer_data(w, p.data, (size_t)c->target[i].bytes, err);
    tfm_free(p.own);
    c->done += c->target[i].bytes;
    if (c->o->progress) c->o->progress(c->o->report_ctx, c->done, c->total);
    return st;
}

/* ---- the whole ---- */

static void converter_free(converter *c) {
    tfm_importance_free(c->importance);
    tfm_pool_free(c->pool);
    tfm_names_free(&c->names);
    tfm_free(c->use);
    tfm_free(c->source);
    tfm_free(c->target);
    tfm_assembly_free(&c->a);
}

static tfm_status prepare(converter *c, const char *path, const tfm_convert_options *o,
                          tfm_error *err) {
    *c = (converter){.o = o};
    TFM_TRY(tfm_assemble(&c->a, path, &o->load, false, err));
    TFM_TRY(list_parts(c, err));
    stand_in(c);
    TFM_TRY(find_uses(c, path, err));
    if (!c->a.has_steps)
        report(c, "no weights: only the vocabulary is converted");
    else if (c->a.vocab_id[0] == '\0')
        report(c, "no vocabulary: give one with --tokenizer to work with text");
    TFM_TRY(decide(c, err));
    TFM_TRY(read_importance(c, err));
    return start_threads(c, err);
}

/* A change of layout only leaves the model what it is. */
static tfm_status identify(const converter *c, char id[65], tfm_error *err) {
    char type[128], digest[65];
    if (c->a.model != NULL && c->o->type == TFM_DTYPE_NONE) {
        memcpy(id, tfm_model_id(c->a.model), 65);
        return TFM_OK;
    }
    snprintf(type, sizeof type, "%s",
             c->o->mixed                    ? "mixed"
             : c->o->type == TFM_DTYPE_NONE ? "as is"
                                            : tfm_dtype_name(c->o->type));
    if (c->importance) {
        tfm_importance_digest(c->importance, digest);
        snprintf(type + strlen(type), sizeof type - strlen(type), " imatrix %s", digest);
    }
    return tfm_assembly_id(&c->a, type, true, id, err);
}

static tfm_status write_model(converter *c, tfm_header *h, tfm_writer *w, tfm_error *err) {
    char id[65];
    for (size_t i = 0; i < c->a.n_parts; i++) c->total += c->target[i].bytes;
    TFM_TRY(identify(c, id, err));
    TFM_TRY(tfm_header_set(h, "model", id, err));
    if (c->a.vocab_id[0] != '\0') TFM_TRY(tfm_header_set(h, "vocab", c->a.vocab_id, err));
    return tfm_model_write(w, h, c->a.description, c->a.description_len, c->target, c->a.n_parts,
                           emit, c, err);
}

tfm_status tfm_convert(const char *path, const tfm_convert_options *o, tfm_header *h, tfm_writer *w,
                       tfm_error *err) {
    converter c;
    tfm_status st = prepare(&c, path, o, err);
    if (st == TFM_OK) st = write_model(&c, h, w, err);
    converter_free(&c);
    return st;
}

/* What a model in memory keeps alive. */
typedef struct holder {
    converter c;
    piece *piece; /* [n_parts] */
} holder;

static void holder_free(void *p) {
    holder *h = p;
    for (size_t i = 0; h->piece && i < h->c.a.n_parts; i++) tfm_free(h->piece[i].own);
    tfm_free(h->piece);
    converter_free(&h->c);
    tfm_free(h);
}

static tfm_status hold(holder *h, const char *path, tfm_model **out, tfm_error *err) {
    converter *c = &h->c;
    char id[65];
    tfm_model_parts parts = {.path = path, .id = id, .owner = h, .free_owner = holder_free};
    void *p;
    TFM_TRY(tfm_alloc(&p, c->a.n_parts, sizeof *h->piece, err));
    h->piece = p;
    for (size_t i = 0; i < c->a.n_parts; i++) {
        TFM_TRY(make(c, i, &h->piece[i], err));
        c->target[i].data = h->piece[i].data;
    }
    TFM_TRY(identify(c, id, err));
    parts.vocab_id = c->a.vocab_id;
    parts.description = c->a.description;
    parts.description_len = c->a.description_len;
    parts.tensor = c->target;
    parts.n_tensors = c->a.n_parts;
    return tfm_model_from_parts(out, &parts, err);
}

tfm_status tfm_convert_load(tfm_model **out, const char *path, const tfm_convert_options *o,
                            tfm_error *err) {
    holder *h;
    void *p;
    tfm_status st;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof *h, err));
    h = p;
    st = prepare(&h->c, path, o, err);
    if (st == TFM_OK) st = hold(h, path, out, err);
    if (st != TFM_OK) holder_free(h);
    return st;
}
