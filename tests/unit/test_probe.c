/* test_probe.c - the inserted steps, on ref and cpu: what KEEP and patterns copy out, what EDIT and
 * PATTERN do.
 *
 * A small random Llama with steps put in by hand. Kept values must be those that go on (compared
 * with hidden_out and with each other), must not depend on how rows come together or on threads,
 * and must not change a logit. EDIT is exact: after it stands, bit for bit, what its definition
 * says of the value before. A pattern times V must give what the heads gave within a derived
 * bound. */
#include "../ops/model.h"

#include "unit.h"

enum { WIDTH = 32, HEADS = 4, HEAD_DIM = 8, VOCAB = 51, SEQS = 2, LONGEST = 40, ROWS = 70 };
enum { MAX_STEPS = 80, MAX_KEPT = 6 };

static const ops_shape shape = {.blocks = 2,
                                .width = WIDTH,
                                .heads = HEADS,
                                .kv_heads = 2,
                                .head_dim = HEAD_DIM,
                                .ffn = 64,
                                .vocab = VOCAB,
                                .window = 11,
                                .type = TFM_F32};
static const uint32_t length[SEQS] = {LONGEST, ROWS - LONGEST}, group_of[SEQS] = {7, 3};

/* What one run gives, by sequence and position, however it was cut. */
typedef struct result {
    float logits[ROWS][VOCAB], hidden[ROWS][WIDTH];
    float kept[MAX_KEPT][ROWS][HEADS * LONGEST]; /* each row as long as it is */
} result;

/* ---- a model with inserted steps ---- */

typedef struct probed {
    ops_model m;
    tfm_step step[MAX_STEPS];
    bool is_pattern[MAX_KEPT];
    uint32_t width[MAX_KEPT];
    bool wants_last; /* logits of the last row of each sequence only */
} probed;

static void begin(probed *p) {
    memset(p, 0, sizeof *p);
    ops_model_new(&p->m, &shape);
    memcpy(p->step, p->m.step, p->m.g.n_steps * sizeof *p->step);
    p->m.g.step = p->step;
}

/* Puts a step behind step `at`; the places of later ones move. */
static tfm_step *put(probed *p, size_t at, tfm_op op, int value) {
    tfm_graph *g = &p->m.g;
    memmove(&p->step[at + 2], &p->step[at + 1], (g->n_steps - at - 1) * sizeof *p->step);
    for (uint32_t b = 0; b <= g->n_blocks; b++) g->block_start[b] += g->block_start[b] > at;
    g->n_steps++;
    p->step[at + 1] = (tfm_step){.op = op, .block = p->step[at].block, .name = "put", .n_in = 1};
    tfm_step *s = &p->step[at + 1];
    s->weight = s->bias = s->extra = TFM_NONE;
    s->in[0] = s->out[0] = value;
    s->n_out = op == TFM_OP_EDIT ? 1 : 0;
    return s;
}

static void keep(probed *p, size_t at, int value) {
    p->width[p->m.g.n_kept] = p->m.value[value].width;
    put(p, at, TFM_OP_KEEP, value)->u.keep = p->m.g.n_kept;
    p->m.g.n_kept++;
}

static void keep_pattern(probed *p, size_t attend) {
    p->is_pattern[p->m.g.n_kept] = true;
    p->step[attend].u.attend.keep_pattern = ++p->m.g.n_kept;
}

/* ---- running it ---- */

static size_t kept_width(const probed *p, uint32_t i, uint32_t position) {
    return p->is_pattern[i] ? HEADS * ((size_t)position + 1) : p->width[i];
}

/* Rows [done, done + take) of each sequence, in one batch. */
static void run_batch(const probed *p, tfm_backend *be, tfm_plan *plan, const uint32_t done[SEQS],
                      const uint32_t take[SEQS], result *out) {
    static float logits[ROWS][VOCAB], hidden[ROWS][WIDTH], memory[MAX_KEPT][ROWS * HEADS * LONGEST];
    uint32_t position[ROWS], row_start[SEQS + 1] = {0}, out_row[ROWS], group[SEQS], from[ROWS];
    uint32_t n = 0, n_seqs = 0, base = 0, n_out = 0;
    const uint32_t page[SEQS] = {1, 0}, *pages[SEQS];
    int32_t token[ROWS];
    uint64_t keys_at[ROWS], keys = 0;
    float *kept[MAX_KEPT];
    tfm_error err;
    for (uint32_t s = 0; s < SEQS; base += length[s++]) {
        if (take[s] == 0) continue;
        group[n_seqs] = group_of[s];
        pages[n_seqs] = &page[s];
        for (uint32_t i = 0; i < take[s]; i++, n++) {
            position[n] = done[s] + i;
            from[n] = base + position[n];
            token[n] = (int32_t)((from[n] * 37 + 5) % VOCAB);
            if (!p->wants_last || position[n] == length[s] - 1) out_row[n_out++] = n;
            keys_at[n] = keys;
            keys += position[n] + 1;
        }
        row_start[++n_seqs] = n;
    }
    for (int i = 0; i < MAX_KEPT; i++) kept[i] = memory[i];
    const tfm_batch b = {.n_rows = n,
                         .n_seqs = n_seqs,
                         .row_start = row_start,
                         .token = token,
                         .position = position,
                         .page = pages,
                         .group = group,
                         .out_row = out_row,
                         .n_out = n_out,
                         .hidden_out = hidden[0],
                         .logits = logits[0],
                         .kept = kept,
                         .keys_at = keys_at};
    if (be->ops->plan_run(plan, &b, &err) != TFM_OK) ops_die("run", &err);
    for (uint32_t i = 0; i < n_out; i++) {
        memcpy(out->logits[from[out_row[i]]], logits[i], sizeof logits[i]);
    }
    for (uint32_t r = 0; r < n; r++) {
        memcpy(out->hidden[from[r]], hidden[r], sizeof hidden[r]);
        for (uint32_t i = 0; i < p->m.g.n_kept; i++) {
            const size_t w = kept_width(p, i, position[r]);
            const size_t at = p->is_pattern[i] ? HEADS * keys_at[r] : r * w;
            memcpy(out->kept[i][from[r]], memory[i] + at, w * sizeof(float));
        }
    }
}

/* most: rows of a sequence in one batch; the second sequence starts some batches later. */
static void run(const probed *p, const char *device, unsigned threads, uint32_t most, result *out) {
    uint32_t done[SEQS] = {0};
    tfm_backend *be;
    tfm_plan *plan;
    tfm_kv *kv;
    tfm_error err;
    memset(out, 0, sizeof *out);
    if (tfm_backend_new(&be, device, threads, &err) != TFM_OK) ops_die(device, &err);
    if (be->ops->kv_new(be, &p->m.g, 0, 2, TFM_F16, &kv, &err) != TFM_OK ||
        be->ops->kv_reserve(kv, 2, &err) != TFM_OK ||
        be->ops->plan_new(be, &p->m.g, 0, p->m.g.n_steps, kv, &plan, &err) != TFM_OK) {
        ops_die("plan", &err);
    }
    for (unsigned round = 0; done[0] < length[0] || done[1] < length[1]; round++) {
        uint32_t take[SEQS] = {0};
        for (uint32_t s = 0; s < SEQS; s++) {
            const uint32_t left = length[s] - done[s];
            take[s] = s == 1 && round < 2 && most < LONGEST ? 0 : left < most ? left : most;
        }
        run_batch(p, be, plan, done, take, out);
        for (uint32_t s = 0; s < SEQS; s++) done[s] += take[s];
    }
    be->ops->plan_free(plan);
    be->ops->kv_free(kv);
    tfm_backend_free(be);
}

static const char *const devices[] = {"ref", "cpu"};
static result plain, want, got;

/* Every cut and thread number gives `want`. */
static void same_anyhow(const probed *p, const char *device) {
    static const uint32_t cuts[] = {1, 3, 17};
    for (unsigned i = 0; i < 3; i++) {
        run(p, device, i + 1, cuts[i], &got);
        CHECK(memcmp(&got, &want, sizeof want) == 0);
    }
}

/* ---- taps ---- */

/* Steps: the first norm and the attention of block 0, the norm behind the blocks. */
enum { AT_NORM = 1, AT_ATTEND = 7, AT_HEAD = 33 };

static void kept_values(void) {
    for (int d = 0; d < 2; d++) {
        probed p;
        begin(&p);
        run(&p, devices[d], 1, LONGEST, &plain);
        const size_t head = p.m.g.block_start[2];
        keep(&p, head + 1, M_LOGITS); /* from the back: places in front of it stay */
        keep(&p, head - 1, M_X);
        keep(&p, AT_ATTEND, M_ATT);
        keep(&p, AT_ATTEND, M_V);
        keep_pattern(&p, AT_ATTEND);
        keep(&p, AT_NORM, M_H);
        run(&p, devices[d], 1, LONGEST, &want);
        CHECK(memcmp(want.logits, plain.logits, sizeof plain.logits) == 0);
        CHECK(memcmp(want.hidden, plain.hidden, sizeof plain.hidden) == 0);
        for (uint32_t r = 0; r < ROWS; r++) {
            CHECK(memcmp(want.kept[0][r], plain.logits[r], sizeof plain.logits[r]) == 0);
            CHECK(memcmp(want.kept[1][r], plain.hidden[r], sizeof plain.hidden[r]) == 0);
        }
        same_anyhow(&p, devices[d]);
        ops_model_free(&p.m);
    }
}

/* sum_j p[j] v[j] against the heads' output o = (sum_j w[j] v[j]) / t, p[j] = w[j] / t, over at
 * most 11 keys: o has at most 11 roundings of products, 11 of sums and the division, p one: 24 u
 * with u = 2^-24, relative to sum p |v|. V is read as the cache has it, in f16. Keys outside the
 * window, and those to come, have no place or a 0. */
static void patterns(void) {
    for (int d = 0; d < 2; d++) {
        probed p;
        begin(&p);
        keep(&p, AT_ATTEND, M_ATT);
        keep(&p, AT_ATTEND, M_V);
        keep_pattern(&p, AT_ATTEND);
        run(&p, devices[d], 1, LONGEST, &want);
        size_t wrong = 0;
        for (uint32_t r = 0; r < ROWS; r++) {
            const uint32_t first = r < LONGEST ? 0 : LONGEST, position = r - first;
            for (uint32_t h = 0; h < HEADS; h++) {
                const float *pattern = want.kept[2][r] + (size_t)h * (position + 1);
                for (uint32_t i = 0; i < HEAD_DIM; i++) {
                    double sum = 0, size = 0;
                    for (uint32_t j = 0; j <= position; j++) {
                        const float *v = want.kept[1][first + j] + h / 2 * HEAD_DIM;
                        const double x = (double)pattern[j] * tfm_f16_to_f32(tfm_f32_to_f16(v[i]));
                        sum += x;
                        size += fabs(x);
                        wrong += j + 11 <= position ? pattern[j] != 0.0f : !(pattern[j] > 0.0f);
                    }
                    const double o = want.kept[0][r][h * HEAD_DIM + i];
                    wrong += !(fabs(sum - o) <= 24 * 0x1p-24 * size);
                }
            }
        }
        CHECK_INT(wrong, 0);
        ops_model_free(&p.m);
    }
}

/* ---- interventions ---- */

/* What x must be after the edit, at (group, position). */
static void expect(const tfm_edit *e, uint32_t group, uint32_t position, float *x) {
    if (position < e->from || position > e->to) return;
    for (uint32_t i = 0; i < e->width; i++) {
        float *y = x + e->first + i;
        if (e->kind == TFM_EDIT_SET) *y = e->data != NULL ? e->data[i] : 0.0f;
        if (e->kind == TFM_EDIT_ADD) *y = *y + e->data[i];
        for (size_t j = 0; e->kind == TFM_EDIT_ROWS && j < e->n_rows; j++) {
            if (e->row[j].group == group && e->row[j].position == position) *y = e->row[j].data[i];
        }
    }
}

static void edits(void) {
    static const float data[3][8] = {{1, -2, 3.5f, -0.0f, 5, 6, 7, 8}, {9}, {0.1f, 0.2f, 0.3f}};
    static const tfm_edit_row rows[] = {{3, 0, data[0], 8},
                                        {3, 29, data[1], 8},
                                        {4, 5, data[2], 8},
                                        {7, 1, data[2], 8},
                                        {7, 38, data[0], 8}};
    const tfm_edit edit[] = {
        {.kind = TFM_EDIT_SET, .first = 8, .width = 8, .to = UINT32_MAX},
        {.kind = TFM_EDIT_SET, .first = 0, .width = 8, .from = 2, .to = 4, .data = data[0]},
        {.kind = TFM_EDIT_ADD, .first = 24, .width = 8, .from = 3, .to = 3, .data = data[2]},
        {.kind = TFM_EDIT_ADD, .first = 24, .width = 8, .to = UINT32_MAX, .data = data[0]},
        {.kind = TFM_EDIT_ROWS, .first = 3, .width = 8, .to = UINT32_MAX, .row = rows, .n_rows = 5},
        {.kind = TFM_EDIT_SET, .first = 0, .width = 0, .to = UINT32_MAX}};
    const size_t places[] = {AT_NORM, AT_ATTEND, AT_HEAD};
    for (size_t i = 0; i < 2 * 3 * 6; i++) {
        const char *device = devices[i % 2];
        const tfm_edit *e = &edit[i / 2 % 6];
        const size_t at = places[i / 12];
        const int value = i / 12 == 1 ? M_ATT : M_H;
        probed p;
        begin(&p);
        keep(&p, at, value); /* ends up behind the edit */
        put(&p, at, TFM_OP_EDIT, value)->u.edit = e;
        keep(&p, at, value); /* before it */
        run(&p, device, 1, LONGEST, &want);
        for (uint32_t r = 0; r < ROWS; r++) {
            const uint32_t s = r >= LONGEST;
            expect(e, group_of[s], r - s * LONGEST, want.kept[1][r]);
            CHECK(memcmp(want.kept[0][r], want.kept[1][r], WIDTH * sizeof(float)) == 0);
        }
        run(&p, device, 1, LONGEST, &want);
        same_anyhow(&p, device);
        ops_model_free(&p.m);
    }
}

/* An edit behind the point where unwanted rows are dropped knows the rows' own places. */
static void edit_of_wanted_rows(void) {
    static const float data[VOCAB] = {1, 2, 3};
    const tfm_edit_row rows[] = {{3, 28, data, VOCAB}, {3, 29, data, VOCAB}, {7, 0, data, VOCAB}};
    const tfm_edit e = {
        .kind = TFM_EDIT_ROWS, .width = VOCAB, .to = UINT32_MAX, .row = rows, .n_rows = 3};
    for (int d = 0; d < 2; d++) {
        probed p;
        begin(&p);
        p.wants_last = true;
        run(&p, devices[d], 1, LONGEST, &plain);
        put(&p, p.m.g.n_steps - 1, TFM_OP_EDIT, M_LOGITS)->u.edit = &e;
        run(&p, devices[d], 1, LONGEST, &want);
        memcpy(plain.logits[ROWS - 1], data, sizeof data);
        CHECK(memcmp(plain.logits, want.logits, sizeof want.logits) == 0);
        same_anyhow(&p, devices[d]);
        ops_model_free(&p.m);
    }
}

/* ---- patterns that are changed ---- */

static tfm_step *put_pattern(probed *p, const tfm_edit *e) {
    tfm_step *s = put(p, AT_ATTEND, TFM_OP_PATTERN, M_ATT);
    s->n_out = 1;
    s->u.pattern.edit = e;
    s->u.pattern.heads = HEADS;
    s->u.pattern.kv_heads = 2;
    s->u.pattern.v_dim = HEAD_DIM;
    s->u.pattern.kv_layer = 0;
    s->u.pattern.keep = p->step[AT_ATTEND].u.attend.keep_pattern - 1;
    return s;
}

/* A model that keeps V, what the heads give, and the pattern, with e on the latter. */
static void begin_pattern(probed *p, const tfm_edit *e) {
    begin(p);
    keep(p, AT_ATTEND, M_V);
    keep(p, AT_ATTEND, M_ATT);
    keep_pattern(p, AT_ATTEND);
    if (e) put_pattern(p, e);
}

/* A run's own patterns change no bit; head 2 set to look at its last key only gives that V, as the
 * cache has it; heads without a pattern give 0. Others, and rows of other groups, stay as they
 * were. */
static void pattern_edits(void) {
    static float data[LONGEST][HEADS * LONGEST];
    tfm_edit_row rows[LONGEST];
    const tfm_edit put_rows = {
        .kind = TFM_EDIT_ROWS, .to = UINT32_MAX, .row = rows, .n_rows = LONGEST};
    const tfm_edit zero = {.kind = TFM_EDIT_SET, .from = 3, .to = 5};
    for (int d = 0; d < 2; d++) {
        probed p;
        begin_pattern(&p, NULL);
        run(&p, devices[d], 1, LONGEST, &plain);
        ops_model_free(&p.m);
        for (uint32_t r = 0; r < LONGEST; r++) { /* those of sequence 0, group 7 */
            memcpy(data[r], plain.kept[2][r], HEADS * (r + 1) * sizeof(float));
            rows[r] = (tfm_edit_row){7, r, data[r], HEADS * (r + 1)};
        }
        begin_pattern(&p, &put_rows);
        run(&p, devices[d], 1, LONGEST, &want);
        CHECK(memcmp(&want, &plain, sizeof want) == 0);
        for (uint32_t r = 0; r < LONGEST; r++)
            for (uint32_t j = 0; j <= r; j++) data[r][2 * (r + 1) + j] = j == r;
        run(&p, devices[d], 1, LONGEST, &want);
        for (uint32_t r = 0; r < LONGEST; r++) {
            CHECK(memcmp(want.kept[2][r], data[r], HEADS * (r + 1) * sizeof(float)) == 0);
            for (uint32_t i = 0; i < WIDTH; i++) {
                const float v =
                    want.kept[0][r][HEAD_DIM + i % HEAD_DIM]; /* head 2 reads kv head 1 */
                const bool is_2 = i / HEAD_DIM == 2;
                CHECK(want.kept[1][r][i] ==
                      (is_2 ? tfm_f16_to_f32(tfm_f32_to_f16(v)) : plain.kept[1][r][i]));
            }
        }
        CHECK(memcmp(want.kept[1][LONGEST], plain.kept[1][LONGEST], WIDTH * sizeof(float)) == 0);
        same_anyhow(&p, devices[d]);
        ops_model_free(&p.m);
        begin_pattern(&p, &zero);
        run(&p, devices[d], 1, LONGEST, &want);
        for (uint32_t r = 0; r < LONGEST; r++)
            for (uint32_t i = 0; i < WIDTH; i++)
                CHECK(want.kept[1][r][i] == (r >= 3 && r <= 5 ? 0 : plain.kept[1][r][i]));
        same_anyhow(&p, devices[d]);
        ops_model_free(&p.m);
    }
}

/* ---- what is refused ---- */

static void wrong_steps(void) {
    tfm_edit e = {.kind = TFM_EDIT_ADD, .first = 0, .width = WIDTH, .to = 9};
    const float data[WIDTH] = {0};
    tfm_error err;
    probed p;
    begin(&p);
    tfm_step *s = put(&p, AT_NORM, TFM_OP_EDIT, M_H);
    s->u.edit = &e;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT); /* nothing to add */
    e.data = data;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_OK);
    e.first = 1;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    e.first = UINT32_MAX;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    e.first = 0;
    s->out[0] = M_X;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    s->out[0] = M_H;
    s->u.edit = NULL;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    s->u.edit = &e;
    keep(&p, AT_NORM, M_H);
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_OK);
    p.m.g.n_kept = 0;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    ops_model_free(&p.m);

    const tfm_edit_row row = {0, 2, data, 3 * HEADS};
    e = (tfm_edit){.kind = TFM_EDIT_ROWS, .to = UINT32_MAX, .row = &row, .n_rows = 1};
    begin_pattern(&p, &e);
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_OK);
    e.row = &(tfm_edit_row){0, 3, data, 3 * HEADS};
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    e.kind = TFM_EDIT_ADD;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    e.kind = TFM_EDIT_SET;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_OK);
    s = &p.step[AT_ATTEND + 1];
    s->u.pattern.keep = 1000;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    s->u.pattern.keep = 0;
    s->u.pattern.kv_heads = 4;
    CHECK_INT(tfm_graph_check(&p.m.g, &err), TFM_FORMAT);
    ops_model_free(&p.m);
}

int main(void) {
    UNIT_RUN(kept_values);
    UNIT_RUN(patterns);
    UNIT_RUN(edits);
    UNIT_RUN(edit_of_wanted_rows);
    UNIT_RUN(pattern_edits);
    UNIT_RUN(wrong_steps);
    return unit_done();
}
