/* importance.c - how much each column of a matrix counts: the mean square of what it is multiplied
 * with, over the rows of a stream of taps.
 *
 * The graph says which value a matrix reads: the last that was written to that name before the
 * step. That value has the name of the step which wrote it, as taps have (tfm/probe.h), and maybe
 * one that is the same in every architecture: blk.N.heads of what attention gives, blk.N.ffn_in of
 * what the first step of the feed-forward part reads. Either is recognised in the stream.
 *
 * Rows at position 0 are left out: there models park what attention shall ignore, a few columns
 * hundreds of times larger than those of any other row, which would be all that the mean is made
 * of. */
#include "arch/quantise_internal.h"

#include "model/names_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct input {
    const char *name;
    bool has_name; /* else nobody can tap it */
    uint32_t width;
    uint64_t rows;
    double *sum; /* [width] of squares; NULL before the first row */
    float *mean; /* [width] once all is read */
} input;

struct tfm_importance {
    tfm_arena *arena;
    tfm_names names; /* to inputs; two names may lead to one */
    input *input;    /* [n_inputs], room for one a step */
    size_t n_inputs;
    uint32_t *of_tensor; /* [n_tensors], TFM_NO_NAME: none */
    size_t n_tensors;
};

void tfm_importance_free(tfm_importance *m) {
    if (!m) return;
    tfm_names_free(&m->names);
    tfm_arena_free(m->arena);
    tfm_free(m);
}

/* ---- from the graph ---- */

/* The step that wrote the value which step i reads; SIZE_MAX: none. */
static size_t writer_of(const tfm_graph *g, size_t i, int value) {
    while (i-- > 0)
        for (int k = 0; k < g->step[i].n_out; k++)
            if (g->step[i].out[k] == value) return i;
    return SIZE_MAX;
}

static tfm_status add_name(tfm_importance *m, uint32_t at, int block, const char *step,
                           const char *part, const char **out, tfm_error *err) {
    tfm_buf b = {0};
    const char *name = NULL;
    tfm_status st = TFM_OK;
    if (block >= 0) st = tfm_buf_printf(&b, err, "blk.%d.", block);
    if (st == TFM_OK)
        st = tfm_buf_printf(&b, err, "%s%s%s", step, part ? "." : "", part ? part : "");
    if (st == TFM_OK) st = tfm_arena_strndup(m->arena, &name, b.data, b.len, err);
    tfm_buf_free(&b);
    if (st == TFM_OK && tfm_names_find(&m->names, name, strlen(name)) == TFM_NO_NAME)
        st = tfm_names_add(&m->names, name, strlen(name), at, err);
    if (out) *out = name;
    return st;
}

/* The input of step i, made at its first use. by_step: [n_steps][TFM_STEP_MAX_OUT] */
static tfm_status input_of(tfm_importance *m, const tfm_graph *g, size_t i, uint32_t *by_step,
                           uint32_t *out, tfm_error *err) {
    const int value = g->step[i].in[0];
    const size_t w = writer_of(g, i, value);
    *out = TFM_NO_NAME;
    if (w == SIZE_MAX) return TFM_OK;
    const tfm_step *writer = &g->step[w];
    int k = 0;
    while (writer->out[k] != value) k++;
    uint32_t *at = &by_step[w * TFM_STEP_MAX_OUT + (size_t)k];
    if (*at == TFM_NO_NAME) {
        *at = (uint32_t)m->n_inputs++;
        input *in = &m->input[*at];
        in->width = g->value[value].width;
        in->has_name = writer->name != NULL;
        TFM_TRY(add_name(m, *at, writer->block, writer->name ? writer->name : "step",
                         writer->n_out > 1 ? g->value[value].name : NULL, &in->name, err));
        if (writer->op == TFM_OP_ATTEND)
            TFM_TRY(add_name(m, *at, writer->block, "heads", NULL, NULL, err));
    }
    *out = *at;
    return TFM_OK;
}

static void note(tfm_importance *m, const tfm_graph *g, const tfm_tensor *first, int weight,
                 uint32_t at) {
    if (weight == TFM_NONE || at == TFM_NO_NAME) return;
    const size_t t = (size_t)(g->weight[weight].tensor - first);
    if (m->of_tensor[t] == TFM_NO_NAME) m->of_tensor[t] = at;
}

static tfm_status walk(tfm_importance *m, const tfm_graph *g, const tfm_tensor *first,
                       uint32_t *by_step, tfm_error *err) {
    int ffn_block = -1; /* the last one whose ffn_in is known */
    for (size_t i = 0; i < g->n_steps; i++) {
        const tfm_step *s = &g->step[i];
        const bool experts = s->op == TFM_OP_MOE_FFN;
        uint32_t in;
        if (s->op != TFM_OP_LINEAR && !experts) continue;
        TFM_TRY(input_of(m, g, i, by_step, &in, err));
        note(m, g, first, s->weight, in);
        if (experts) note(m, g, first, s->bias, in); /* down reads what only experts see */
        if (in == TFM_NO_NAME || s->block <= ffn_block) continue;
        if ((!experts || s->extra == TFM_NONE) && (!s->name || strncmp(s->name, "ffn_", 4) != 0))
            continue;
        TFM_TRY(add_name(m, in, s->block, "ffn_in", NULL, NULL, err));
        ffn_block = s->block;
    }
    return TFM_OK;
}

static tfm_status fill(tfm_importance *m, const tfm_graph *g, const tfm_tensor *first, size_t n,
                       tfm_error *err) {
    void *p;
    const size_t outs = g->n_steps * TFM_STEP_MAX_OUT;
    TFM_TRY(tfm_arena_new(&m->arena, err));
    TFM_TRY(tfm_arena_alloc(m->arena, &p, g->n_steps * sizeof *m->input, err));
    m->input = p;
    TFM_TRY(tfm_arena_alloc(m->arena, &p, n * sizeof *m->of_tensor, err));
    m->of_tensor = p;
    m->n_tensors = n;
    for (size_t i = 0; i < n; i++) m->of_tensor[i] = TFM_NO_NAME;
    TFM_TRY(tfm_alloc(&p, outs, sizeof(uint32_t), err));
    for (size_t i = 0; i < outs; i++) ((uint32_t *)p)[i] = TFM_NO_NAME;
    tfm_status st = walk(m, g, first, p, err);
    tfm_free(p);
    return st;
}

tfm_status tfm_importance_new(tfm_importance **out, const tfm_graph *g,
                              const tfm_tensor *first_tensor, size_t n_tensors, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_importance), err));
    tfm_status st = fill(p, g, first_tensor, n_tensors, err);
    if (st == TFM_OK)
        *out = p;
    else
        tfm_importance_free(p);
    return st;
}

/* ---- from the stream ---- */

static tfm_status add_rows(tfm_importance *m, input *in, const tfm_record *rec, const void *payload,
                           tfm_error *err) {
    uint64_t width = 1;
    void *p;
    for (unsigned i = 1; i < rec->rank; i++) width *= rec->dims[i];
    if (rec->dtype != TFM_F32 || rec->rank < 2 || width != in->width)
        return tfm_fail(err, TFM_MISMATCH, "'%s' is no f32 of %u columns: taps of another model",
                        rec->name, in->width);
    if (!in->sum) {
        TFM_TRY(tfm_arena_alloc(m->arena, &p, in->width * sizeof *in->sum, err));
        in->sum = p;
    }
    const float *x = payload;                                     /* aligned to 64 */
    const uint32_t skip = rec->position == 0 && rec->dims[0] > 0; /* the row at position 0 */
    x += skip * width;
    for (uint32_t row = skip; row < rec->dims[0]; row++, x += width)
        for (uint32_t i = 0; i < width; i++) in->sum[i] += (double)x[i] * (double)x[i];
    in->rows += rec->dims[0] - skip;
    return TFM_OK;
}

static tfm_status read_stream(tfm_importance *m, tfm_reader *r, tfm_error *err) {
    tfm_record rec;
    const void *payload;
    tfm_status st;
    while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) {
        if (rec.type != TFM_REC_TENSOR) continue;
        const uint32_t i = tfm_names_find(&m->names, rec.name, strlen(rec.name));
        if (i == TFM_NO_NAME) continue;
        TFM_TRY(tfm_reader_payload(r, &payload, err));
        TFM_TRY(add_rows(m, &m->input[i], &rec, payload, err));
    }
    return st;
}

/* Means, with a floor: a column that was never met may be met later. */
static tfm_status finish(tfm_importance *m, input *in, float more, tfm_error *err) {
    static const double FLOOR = 1e-4; /* of the average column */
    double all = 0.0;
    void *p;
    for (uint32_t i = 0; i < in->width; i++) all += in->sum[i];
    all /= (double)in->width;
    if (!isfinite(all)) return tfm_fail(err, TFM_FORMAT, "'%s' has values not finite", in->name);
    if (all <= 0.0) return tfm_fail(err, TFM_FORMAT, "'%s' is zero everywhere", in->name);
    TFM_TRY(tfm_arena_alloc(m->arena, &p, in->width * sizeof *in->mean, err));
    in->mean = p;
    /* In units of the average column: weights near 1, whatever the scale of the model. */
    for (uint32_t i = 0; i < in->width; i++)
        in->mean[i] = more + (float)fmax(in->sum[i] / all, FLOOR);
    return TFM_OK;
}

tfm_status tfm_importance_read(tfm_importance *m, tfm_reader *r, float more, tfm_error *err) {
    tfm_status st;
    while ((st = tfm_reader_stream(r, err)) == TFM_OK) {
        if (strcmp(tfm_header_kind(tfm_reader_header(r)), "tensor") != 0)
            return tfm_fail(err, TFM_MISMATCH, "a stream of kind %s, not taps (kind tensor)",
                            tfm_header_kind(tfm_reader_header(r)));
        st = read_stream(m, r, err);
        if (st != TFM_DONE) return st;
    }
    if (st != TFM_DONE) return st;
    bool any = false;
    for (size_t i = 0; i < m->n_inputs; i++) {
        if (m->input[i].rows == 0) continue;
        TFM_TRY(finish(m, &m->input[i], more, err));
        any = true;
    }
    if (!any)
        return tfm_fail(err, TFM_MISMATCH,
                        "none of its taps feeds a matrix of this model; '%s' is one that does",
                        m->n_inputs ? m->input[0].name : "");
    return TFM_OK;
}

size_t tfm_importance_names(const tfm_importance *m, const char **name) {
    size_t n = 0;
    for (size_t i = 0; i < m->n_inputs; i++) {
        if (!m->input[i].has_name) continue;
        if (name) name[n] = m->input[i].name;
        n++;
    }
    return n;
}

const float *tfm_importance_of(const tfm_importance *m, size_t tensor, const char **value,
                               uint64_t *rows) {
    *value = NULL;
    *rows = 0;
    if (m->of_tensor[tensor] == TFM_NO_NAME) return NULL;
    const input *in = &m->input[m->of_tensor[tensor]];
    *value = in->name;
    *rows = in->rows;
    return in->mean;
}

void tfm_importance_digest(const tfm_importance *m, char out[65]) {
    tfm_sha256 sha;
    tfm_sha256_init(&sha);
    for (size_t i = 0; i < m->n_inputs; i++) {
        const input *in = &m->input[i];
        if (!in->mean) continue;
        tfm_sha256_add(&sha, in->name, strlen(in->name) + 1);
        tfm_sha256_add(&sha, in->mean, in->width * sizeof *in->mean);
    }
    tfm_sha256_hex(&sha, out);
}
