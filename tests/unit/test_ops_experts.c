/* test_ops_experts.c - the steps of a mixture of experts.
 *
 * ffn: on each backend byte for byte what the dense steps (linear, linear, activation, multiply,
 * linear) give for each expert, weighted and added slot after slot: those steps have their bounds
 * in test_ops.c, so nothing is left to bound here. route: cpu against ref within a derived bound,
 * the choice exactly, and against numbers worked out by hand. Both the same bits for every
 * batch. */
#include "../ops/ops.h"

#include "unit.h"

static const double U = 0x1p-24;
static const uint32_t experts = 5, used = 3;

static size_t out_bytes(const ops_case *c) {
    return (size_t)c->n_rows * c->g.n_vocab * sizeof(float);
}

/* Frees base. */
static void check_batches(const ops_case *c, const char *device, float *base) {
    const ops_cutting cuts[] = {{1, false, false, 5}, {7, true, false, 11}, {0, false, true, 3}};
    for (unsigned i = 0; i < 6; i++) {
        float *other = ops_run(c, device, 1 + i % 3, i < 3 ? &cuts[i] : &ops_whole);
        if (!CHECK(memcmp(base, other, out_bytes(c)) == 0)) {
            printf("%s: other bytes on %s, %u threads, cutting %u\n", c->name, device, 1 + i % 3,
                   i);
        }
        free(other);
    }
    free(base);
}

/* ---- the experts ---- */

/* A tensor [experts, out, in]. */
static int expert_weight(ops_case *c, tfm_dtype t, uint32_t out, uint32_t in) {
    const int id = ops_weight(c, t, TFM_LAYOUT_ROWS, experts * out, in);
    c->tensor[id].rank = 3;
    c->tensor[id].dims[0] = experts;
    c->tensor[id].dims[1] = out;
    c->tensor[id].dims[2] = in;
    return id;
}

/* Form 0 has no gate, form 1 has one; form 2 has biases, too, and a limit that is met; form 3 is
 * form 1 with weights that multiply the input; form 4 is up alone, with a bias. */
static void ffn_case(ops_case *c, tfm_dtype t, uint32_t width, uint32_t ffn, int form) {
    const bool gate = form > 0 && form != 4;
    tfm_step *s = ops_begin(c, TFM_OP_MOE_FFN, 7 * ffn + width);
    snprintf(c->name, sizeof c->name, "moe-ffn %s %u, %u", tfm_dtype_name(t), width, ffn);
    s->bias = expert_weight(c, t, ffn, width);
    if (form != 4) s->extra = expert_weight(c, t, width, ffn);
    if (gate) s->weight = expert_weight(c, t, ffn, width);
    s->u.experts.kind = gate ? TFM_ACT_SILU : TFM_ACT_GELU;
    for (int i = 0; form == 2 && i < 3; i++) {
        const uint32_t out = i == 2 ? width : ffn;
        const int id = ops_weight(c, TFM_F32, TFM_LAYOUT_ROWS, experts, out);
        s->u.experts.bias[i] = (uint32_t)id + 1;
    }
    if (form == 4) {
        const int id = ops_weight(c, TFM_F32, TFM_LAYOUT_ROWS, experts, ffn);
        s->u.experts.bias[1] = (uint32_t)id + 1;
    }
    if (form == 2) s->u.experts.limit = 0.6f;
    s->u.experts.weigh_input = form == 3;
    ops_sequence(c, 0, 41);
    ops_sequence(c, 9, 1);
    ops_sequence(c, 3, 6);
    ops_finish(c, (uint32_t[4]){width, used, used}, form == 4 ? ffn : width, 1.5f);
    for (uint32_t r = 0; r < c->n_rows; r++) {
        float *id = c->hidden + (size_t)r * c->g.width + width;
        for (uint32_t i = 0; i < used; i++) id[i] = (float)(ops_next(&c->random) % experts);
        if (r % 4 == 0) id[0] = id[1] = id[2] = 2.0f; /* a crowd at one expert, another idle */
        if (r % 9 == 1) id[0] = NAN;                  /* what an intervention may leave: expert 0 */
    }
}

/* One expert's matrix of c as a matrix of its own. */
static tfm_tensor one_expert(const ops_case *c, int id, uint32_t e) {
    tfm_tensor t = c->tensor[id];
    t.bytes /= experts;
    t.data = (const uint8_t *)t.data + e * t.bytes;
    t.rank = 2;
    t.dims[0] = c->tensor[id].dims[1];
    t.dims[1] = c->tensor[id].dims[2];
    t.dims[2] = 1;
    return t;
}

/* One expert's bias, a vector. */
static tfm_tensor one_bias(const ops_case *c, uint32_t id, uint32_t e) {
    tfm_tensor t = c->tensor[id - 1];
    t.bytes /= experts;
    t.data = (const uint8_t *)t.data + e * t.bytes;
    t.rank = 1;
    t.dims[0] = t.dims[1];
    t.dims[1] = 1;
    return t;
}

static tfm_step plain_step(tfm_op op, int in, int in2, int out, int weight) {
    return (tfm_step){.op = op,
                      .name = "dense",
                      .n_in = in2 == TFM_NONE ? 1 : 2,
                      .n_out = 1,
                      .in = {in, in2},
                      .out = {out},
                      .weight = weight,
                      .bias = TFM_NONE,
                      .extra = TFM_NONE};
}

/* All rows of c, times their weights of `slot` if it is not TFM_NONE, through expert e, by dense
 * steps: [n_rows, width]. */
static float *run_dense(const ops_case *c, const char *device, uint32_t e, int slot) {
    const tfm_step *s = &c->step[1];
    const uint32_t width = c->tensor[s->bias].dims[2], ffn = c->tensor[s->bias].dims[1];
    ops_case d = {.n_seqs = c->n_seqs, .n_rows = c->n_rows, .token = c->token};
    const bool alone = s->extra == TFM_NONE; /* up, with its bias */
    const uint32_t out = alone ? ffn : width;
    tfm_value value[4] = {{"x", width}, {"g", ffn}, {"u", ffn}, {"y", out}};
    const bool biased = s->u.experts.bias[0] > 0;
    const float limit = s->u.experts.limit;
    tfm_step step[7];
    size_t n = 0;
    memcpy(d.start, c->start, sizeof d.start);
    memcpy(d.length, c->length, sizeof d.length);
    d.tensor[0] = one_expert(c, s->bias, e);
    if (!alone) d.tensor[1] = one_expert(c, s->extra, e);
    if (alone) d.tensor[1] = one_bias(c, s->u.experts.bias[1], e);
    if (s->weight != TFM_NONE) d.tensor[2] = one_expert(c, s->weight, e);
    for (int i = 0; biased && i < 3; i++) d.tensor[3 + i] = one_bias(c, s->u.experts.bias[i], e);
    for (int i = 0; i < 6; i++) d.weight[i].tensor = &d.tensor[i];
    if (s->weight != TFM_NONE) step[n++] = plain_step(TFM_OP_LINEAR, 0, TFM_NONE, 1, 2);
    if (biased) step[n - 1].bias = 3;
    step[n++] = plain_step(TFM_OP_LINEAR, 0, TFM_NONE, 2, 0);
    if (biased) step[n - 1].bias = 4;
    for (int i = 1; limit > 0 && i < 3; i++) {
        step[n] = plain_step(TFM_OP_CLIP, i, TFM_NONE, i, TFM_NONE);
        step[n].u.clip.lo = i == 1 ? -1e30f : -limit;
        step[n++].u.clip.hi = limit;
    }
    const int from = s->weight != TFM_NONE ? 1 : 2;
    step[n] = plain_step(TFM_OP_ACTIVATION, from, TFM_NONE, 1, TFM_NONE);
    step[n++].u.activation = s->u.experts.kind;
    if (s->weight != TFM_NONE) step[n++] = plain_step(TFM_OP_MULTIPLY, 1, 2, 1, TFM_NONE);
    step[n++] = plain_step(TFM_OP_LINEAR, 1, TFM_NONE, 3, 1);
    if (biased) step[n - 1].bias = 5;
    if (alone) {
        n = 1;
        step[0] = plain_step(TFM_OP_LINEAR, 0, TFM_NONE, 3, 0);
        step[0].bias = 1;
    }
    d.block_start[1] = n;
    d.g = (tfm_graph){.value = value,
                      .n_values = 4,
                      .weight = d.weight,
                      .n_weights = biased                  ? 6
                                   : s->weight != TFM_NONE ? 3
                                                           : 2,
                      .step = step,
                      .n_steps = n,
                      .block_start = d.block_start,
                      .n_blocks = 1,
                      .logits = 3,
                      .width = width,
                      .n_vocab = out,
                      .max_position = UINT32_MAX};
    d.hidden = ops_alloc((size_t)c->n_rows * width * sizeof(float));
    for (uint32_t r = 0; r < c->n_rows; r++) {
        const float *x = c->hidden + (size_t)r * c->g.width;
        const float by = slot == TFM_NONE ? 1.0f : x[width + used + (uint32_t)slot];
        for (uint32_t i = 0; i < width; i++) d.hidden[(size_t)r * width + i] = by * x[i];
    }
    float *y = ops_run(&d, device, 1, &ops_whole);
    free(d.hidden);
    return y;
}

/* Slots ascending; in f32 on cpu, in double and rounded once on ref. y: [used][experts], or of all
 * slots [experts]. */
static float *weigh(const ops_case *c, float *y[3][5], bool is_ref) {
    const uint32_t width = c->tensor[c->step[1].bias].dims[2], wide = c->g.n_vocab;
    const bool plain = c->step[1].u.experts.weigh_input;
    float *out = ops_alloc(out_bytes(c));
    for (uint32_t r = 0; r < c->n_rows; r++) {
        const float *id = c->hidden + (size_t)r * c->g.width + width, *weight = id + used;
        for (uint32_t i = 0; i < wide; i++) {
            double exact = 0.0;
            float sum = 0.0f;
            for (uint32_t s = 0; s < used; s++) {
                const int e = isnan(id[s]) ? 0 : (int)id[s];
                const float part = y[plain ? s : 0][e][(size_t)r * wide + i];
                const float by = plain ? 1.0f : weight[s];
                exact += (double)by * part;
                sum = sum + by * part;
            }
            out[(size_t)r * wide + i] = is_ref ? (float)exact : sum;
        }
    }
    return out;
}

static void check_ffn(tfm_dtype t, uint32_t width, uint32_t ffn, int form) {
    const char *const devices[] = {"ref", "cpu"};
    ops_case c;
    ffn_case(&c, t, width, ffn, form);
    for (int d = 0; d < 2; d++) {
        float *y[3][5], *got = ops_run(&c, devices[d], 1, &ops_whole);
        const uint32_t runs = form == 3 ? used : 1;
        for (uint32_t i = 0; i < runs * experts; i++) {
            const int slot = form == 3 ? (int)(i / experts) : TFM_NONE;
            y[i / experts][i % experts] = run_dense(&c, devices[d], i % experts, slot);
        }
        float *want = weigh(&c, y, d == 0);
        if (!CHECK(memcmp(want, got, out_bytes(&c)) == 0)) {
            printf("%s on %s: not what its dense steps give\n", c.name, devices[d]);
        }
        for (uint32_t i = 0; i < runs * experts; i++) free(y[i / experts][i % experts]);
        free(want);
        check_batches(&c, devices[d], got);
    }
    ops_case_free(&c);
}

static void experts_are_their_dense_steps(void) {
    const tfm_dtype types[] = {TFM_F32, TFM_F16, TFM_BF16, TFM_Q8_0, TFM_Q4_0, TFM_Q4_K, TFM_MXFP4};
    for (int t = 0; t < 7; t++) {
        const uint32_t each = tfm_dtype_block(types[t]);
        check_ffn(types[t], each == 1 ? 37 : each, each == 1 ? 19 : 2 * each, t % 2 == 0);
        check_ffn(types[t], each == 1 ? 37 : each, each == 1 ? 19 : 2 * each, 2);
    }
    check_ffn(TFM_F32, 37, 19, 4);
    check_ffn(TFM_BF16, 15, 80, 4);
    check_ffn(TFM_Q8_0, 64, 33, 4);
    check_ffn(TFM_F32, 37, 19, 3);
    check_ffn(TFM_BF16, 37, 19, 3);
    check_ffn(TFM_Q8_0, 64, 32, 3);
    check_ffn(TFM_Q8_0, 96, 32, 1);
    check_ffn(TFM_F32, 1, 1, 1);
    check_ffn(TFM_BF16, 15, 80, 1);
}

/* ---- routing ---- */

/* Output: ids, then weights, side by side. */
static void route_case(ops_case *c, tfm_dtype t, uint32_t n, uint32_t k, bool bias) {
    tfm_step *s = ops_begin(c, TFM_OP_MOE_ROUTE, 31 * n + k);
    snprintf(c->name, sizeof c->name, "moe-route %s %u of %u", tfm_dtype_name(t), n, k);
    s->weight = ops_weight(c, t, TFM_LAYOUT_ROWS, n, k);
    if (bias) s->bias = ops_weight(c, TFM_F32, TFM_LAYOUT_ROWS, 0, n);
    const uint32_t slots = s->u.route.used = n < used ? n : used;
    s->u.route.scale = 1.0f;
    ops_sequence(c, 0, 33);
    ops_sequence(c, 9, 1);
    ops_finish(c, (uint32_t[4]){k}, 2 * slots, 1.0f);
    c->step[0] = c->step[1];
    c->value[4].width = c->value[5].width = slots;
    c->step[0].n_out = 2;
    c->step[0].out[0] = 4;
    c->step[0].out[1] = 5;
    c->step[1] = plain_step(TFM_OP_CONCAT, 4, 5, 1, TFM_NONE);
    c->g.step = c->step;
    c->g.n_steps = c->block_start[1] = 2;
}

/* A logit is a chain of k products and additions: off by at most d = (k + 3) u S, S the largest sum
 * of |w x| + |b| of an expert. exp(l - max) is then off by a factor exp(2 d), the subtraction's
 * rounding u 2 S and exp's own 3 u; so is their sum, with n u more; division and scale round once
 * each: relatively 4 d + u (4 S + n + 10), with 1 % for the higher orders. */
static double bound_route(const ops_case *c, uint32_t row) {
    static float w[1 << 12];
    const tfm_tensor *t = &c->tensor[0];
    const uint32_t n = t->dims[0], k = t->dims[1];
    double most = 0.0;
    tfm_error err;
    if (tfm_to_f32(t->dtype, t->data, (uint64_t)n * k, w, &err) != TFM_OK) ops_die("router", &err);
    for (uint32_t e = 0; e < n; e++) {
        double sum = c->step[0].bias != TFM_NONE ? fabs(((const float *)c->tensor[1].data)[e]) : 0;
        for (uint32_t i = 0; i < k; i++) {
            sum += fabs((double)w[e * k + i] * c->hidden[(size_t)row * k + i]);
        }
        most = fmax(most, sum);
    }
    return 1.01 * U * (4 * (k + 3) * most + 4 * most + n + 10);
}

static void check_route(tfm_dtype t, uint32_t n, uint32_t k, int form) {
    ops_case c;
    route_case(&c, t, n, k, form % 2 == 1);
    tfm_step *s = &c.step[0];
    if (form == 1) s->u.route.softmax = TFM_SOFTMAX_AFTER;
    if (form >= 7) s->u.route.softmax = TFM_SOFTMAX_REMAINING;
    if (form == 8) s->u.route.near = 0.4f;
    s->u.route.renormalise = form == 2;
    if (form == 3) s->u.route.scale = 2.5f;
    s->u.route.sigmoid = form == 4;
    if (form == 4) s->u.route.renormalise = true;
    if (form == 5 || form == 6) { /* the best half of groups of four, by their best one or two */
        s->u.route.groups = n / 4;
        s->u.route.groups_used = (n / 4 + 1) / 2;
        s->u.route.group_sum = form == 5 ? 1 : 2;
        s->u.route.sigmoid = form == 6;
    }
    float *ref = ops_run(&c, "ref", 1, &ops_whole), *cpu = ops_run(&c, "cpu", 1, &ops_whole);
    const uint32_t slots = s->u.route.used;
    for (uint32_t r = 0; r < c.n_rows; r++) {
        const float *want = ref + (size_t)r * 2 * slots, *got = cpu + (size_t)r * 2 * slots;
        const double bound = bound_route(&c, r);
        CHECK(memcmp(want, got, slots * sizeof *got) == 0);
        for (uint32_t i = slots; i < 2 * slots; i++) {
            CHECK(fabs((double)want[i] - (double)got[i]) <= bound * (double)want[i]);
        }
    }
    check_batches(&c, "ref", ref);
    check_batches(&c, "cpu", cpu);
    ops_case_free(&c);
}

static void routes(void) {
    for (int form = 0; form < 5; form++) {
        check_route(TFM_F32, 8, 64, form);
        check_route(TFM_F16, 33, 65, form);
        check_route(TFM_BF16, 16, 7, form);
        check_route(TFM_Q8_0, 5, 96, form);
        check_route(TFM_F32, 2, 3, form);
        check_route(TFM_F32, 1, 40, form);
    }
    for (int form = 5; form < 9; form++) {
        check_route(TFM_F32, 8, 64, form);
        check_route(TFM_F32, 36, 65, form);
        check_route(TFM_BF16, 16, 7, form);
    }
}

/* Two of four groups of two experts, by the largest score or by the sum of both. The best expert is
 * in a group that loses by its sum. */
static void routes_by_groups(void) {
    static const float logit[8] = {5, -9, 3, 2.5f, 2, 1, 4, -8};
    static const float by_best[3] = {0, 6, 7}, by_sum[3] = {2, 3, 4};
    const char *const devices[] = {"ref", "cpu"};
    for (int i = 0; i < 4; i++) {
        ops_case c;
        route_case(&c, TFM_F32, 8, 8, false);
        c.step[0].u.route.groups = 4;
        c.step[0].u.route.groups_used = 2;
        c.step[0].u.route.group_sum = i < 2 ? 1 : 2;
        c.step[0].u.route.sigmoid = i >= 2; /* softmax and logits are in the same order */
        float *w = (float *)(uintptr_t)c.tensor[0].data;
        for (int k = 0; k < 64; k++) w[k] = k / 8 == k % 8 ? 1.0f : 0.0f;
        for (uint32_t r = 0; r < c.n_rows; r++) memcpy(c.hidden + r * 8, logit, sizeof logit);
        const uint32_t slots = c.step[0].u.route.used;
        float *out = ops_run(&c, devices[i % 2], 1, &ops_whole);
        CHECK(slots == 3 && memcmp(out, i < 2 ? by_best : by_sum, sizeof by_sum) == 0);
        free(out);
        ops_case_free(&c);
    }
}

/* Four experts whose logits are the row's own numbers, two of them chosen. */
static void run_by_hand(const float logit[4], tfm_softmax softmax, bool renormalise,
                        const char *device, float out[4]) {
    ops_case c;
    route_case(&c, TFM_F32, 4, 4, false);
    float *w = (float *)(uintptr_t)c.tensor[0].data;
    for (int i = 0; i < 16; i++) w[i] = i / 4 == i % 4 ? 1.0f : 0.0f;
    c.step[0].u.route.used = c.value[4].width = c.value[5].width = 2;
    c.step[0].u.route.softmax = softmax;
    if (softmax == TFM_SOFTMAX_REMAINING) c.step[0].u.route.near = 0.8f;
    c.step[0].u.route.renormalise = renormalise;
    c.value[1].width = c.g.n_vocab = 4;
    for (uint32_t r = 0; r < c.n_rows; r++) memcpy(c.hidden + r * 4, logit, 4 * sizeof *logit);
    float *all = ops_run(&c, device, 1, &ops_whole);
    memcpy(out, all, 4 * sizeof *out);
    free(all);
    ops_case_free(&c);
}

static void near(float got, double want) {
    CHECK(fabs((double)got - want) <= 1e-6 * want);
}

static void routes_by_hand(void) {
    const char *const devices[] = {"ref", "cpu"};
    for (int d = 0; d < 2; d++) {
        float out[4];
        const float logit[4] = {0.0f, 2.0f, -1.0f, 1.0f}; /* e^2 = 7.3890561, e^1 = 2.7182818 */
        const double all = 7.3890561 + 2.7182818 + 1.0 + 0.36787944;
        run_by_hand(logit, TFM_SOFTMAX_BEFORE, false, devices[d], out);
        CHECK(out[0] == 1.0f && out[1] == 3.0f);
        near(out[2], 7.3890561 / all);
        near(out[3], 2.7182818 / all);
        for (int i = 0; i < 2; i++) { /* after and renormalised are the same but for rounding */
            run_by_hand(logit, i == 0 ? TFM_SOFTMAX_AFTER : TFM_SOFTMAX_BEFORE, i == 1, devices[d],
                        out);
            near(out[2], 0.73105858);
            near(out[3], 0.26894142);
        }
        /* Near 2 is 1 (0.5 of 2 away), not 0 (1 of 2); of 0, 1 and -1 near 1 is no other. */
        run_by_hand(logit, TFM_SOFTMAX_REMAINING, false, devices[d], out);
        near(out[2], 0.73105858);
        CHECK(out[0] == 1.0f && out[1] == 3.0f && out[3] == 1.0f);
        const float low[4] = {-4.0f, -2.0f, -3.0f, -9.0f}; /* 0.33 and 0.5, then 0.25 away */
        run_by_hand(low, TFM_SOFTMAX_REMAINING, false, devices[d], out);
        near(out[2], 1 / (1 + 0.36787944 + 0.13533528 + 9.1188197e-4));
        near(out[3], 1 / (1 + 0.36787944 + 2.4787522e-3));
        const float tie[4] = {0.5f, 3.0f, 3.0f, 3.0f};
        run_by_hand(tie, TFM_SOFTMAX_AFTER, false, devices[d], out);
        CHECK(out[0] == 1.0f && out[1] == 2.0f); /* the lower expert */
        CHECK(out[2] == 0.5f && out[3] == 0.5f);
        const float sick[4] = {0.5f, 3.0f, NAN, 1.0f}; /* 0 * NAN: all four logits are NaN */
        run_by_hand(sick, TFM_SOFTMAX_BEFORE, true, devices[d], out);
        CHECK(out[0] == 0.0f && out[1] == 1.0f);
        CHECK(isnan(out[2]) && isnan(out[3]));
    }
}

/* ---- what a graph may not say ---- */

static void refuse(ops_case *c, const char *what) {
    tfm_error err = {0};
    if (!CHECK(tfm_graph_check(&c->g, &err) != TFM_OK)) printf("  let through: %s\n", what);
}

static void graphs_are_checked(void) {
    ops_case c;
    tfm_error err;
    ffn_case(&c, TFM_F32, 8, 4, 2);
    tfm_step *s = &c.step[1];
    CHECK_INT(tfm_graph_check(&c.g, &err), TFM_OK);
    c.tensor[s->u.experts.bias[2] - 1].dims[1] = 7;
    refuse(&c, "a bias of another width");
    c.tensor[s->u.experts.bias[2] - 1].dims[1] = 8;
    s->u.experts.bias[1] += 100;
    refuse(&c, "a bias that is no weight");
    s->u.experts.bias[1] -= 100;
    s->u.experts.limit = -1;
    refuse(&c, "a limit below 0");
    s->u.experts.limit = 0;
    c.tensor[s->extra].dims[1] = 7;
    refuse(&c, "down is not as wide as the output");
    c.tensor[s->extra].dims[1] = 8;
    c.tensor[s->weight].dims[0] = 4;
    refuse(&c, "another number of gates");
    c.tensor[s->weight].dims[0] = experts;
    c.tensor[s->bias].rank = 2;
    refuse(&c, "up of rank 2");
    c.tensor[s->bias].rank = 3;
    s->extra = TFM_NONE;
    refuse(&c, "a gate and no down");
    ops_case_free(&c);
    ffn_case(&c, TFM_F32, 8, 4, 4);
    s = &c.step[1];
    CHECK_INT(tfm_graph_check(&c.g, &err), TFM_OK);
    s->u.experts.shift = 1;
    refuse(&c, "a shift of no gate");
    s->u.experts.shift = 0;
    c.tensor[s->bias].dims[1] = 5;
    refuse(&c, "up is not as wide as the output");
    ops_case_free(&c);
    route_case(&c, TFM_F32, 8, 16, false);
    s = &c.step[0];
    CHECK_INT(tfm_graph_check(&c.g, &err), TFM_OK);
    s->u.route.used = 2;
    refuse(&c, "fewer slots than columns");
    s->u.route.used = 9;
    refuse(&c, "more slots than experts");
    s->u.route.used = used;
    s->u.route.groups = 3;
    refuse(&c, "groups that do not divide the experts");
    s->u.route.groups = 4;
    refuse(&c, "no groups in use");
    s->u.route.groups_used = 1;
    s->u.route.group_sum = 1;
    refuse(&c, "fewer experts in the groups than slots");
    s->u.route.groups_used = 2;
    s->u.route.group_sum = 3;
    refuse(&c, "a sum of more than a group has");
    s->u.route.group_sum = 2;
    CHECK_INT(tfm_graph_check(&c.g, &err), TFM_OK);
    s->u.route.softmax = TFM_SOFTMAX_AFTER;
    refuse(&c, "groups by what comes after the choice");
    s->u.route.softmax = TFM_SOFTMAX_REMAINING;
    refuse(&c, "groups by what remains");
    s->u.route.groups = 1;
    CHECK_INT(tfm_graph_check(&c.g, &err), TFM_OK);
    s->u.route.renormalise = true;
    refuse(&c, "one sum for several softmaxes");
    s->u.route.renormalise = false;
    s->u.route.near = -1;
    refuse(&c, "nearer than near");
    s->u.route.near = 1;
    s->u.route.softmax = TFM_SOFTMAX_BEFORE;
    refuse(&c, "near what");
    s->u.route.near = 0;
    s->out[1] = 4;
    refuse(&c, "one value for both outputs");
    ops_case_free(&c);
}

int main(void) {
    UNIT_RUN(experts_are_their_dense_steps);
    UNIT_RUN(routes);
    UNIT_RUN(routes_by_hand);
    UNIT_RUN(routes_by_groups);
    UNIT_RUN(graphs_are_checked);
    return unit_done();
}
