/* test_sample.c - the sampler: each filter by its definition, frequencies, penalties, refusals. */
#include <math.h>

#include "tfm/infer.h"
#include "unit.h"

#define V 8u

/* exp of these are 8:4:2:1:... so that probabilities are easy to say */
static const float halves[V] = {3 * 0.6931472f, 2 * 0.6931472f, 0.6931472f, 0, -40, -40, -40, -40};

static int32_t draw(const tfm_sampling *o, const float *logits, const int32_t *history, size_t n,
                    uint32_t position, tfm_status want) {
    tfm_sampler *s;
    int32_t id = -1;
    if (!CHECK_INT(tfm_sampler_new(&s, o, V, NULL), TFM_OK)) return -1;
    CHECK_INT(tfm_sample(s, logits, history, n, 7, 0, position, &id, NULL), want);
    tfm_sampler_free(s);
    return id;
}

/* Shares of 20,000 draws. */
static void shares(const tfm_sampling *o, const float *logits, double share[V]) {
    enum { DRAWS = 20000 };
    tfm_sampler *s;
    for (unsigned i = 0; i < V; i++) share[i] = 0;
    if (!CHECK_INT(tfm_sampler_new(&s, o, V, NULL), TFM_OK)) return;
    for (uint32_t i = 0; i < DRAWS; i++) {
        int32_t id = -1;
        CHECK_INT(tfm_sample(s, logits, NULL, 0, 0, 0, i, &id, NULL), TFM_OK);
        if (id >= 0 && id < (int32_t)V) share[id] += 1.0 / DRAWS;
    }
    tfm_sampler_free(s);
}

/* Standard deviation of a share of p over 20,000 draws is sqrt(p(1-p)/20000) <= 0.0036: 6 of
 * them. */
static int near(double got, double want) {
    return fabs(got - want) <= 6 * sqrt(want * (1 - want) / 20000) + 1e-12;
}

static void greedy_takes_lowest_of_a_tie(void) {
    const float l[V] = {1, 5, 2, 5, 0, 0, 0, 0};
    tfm_sampling o = {0};
    CHECK_INT(draw(&o, l, NULL, 0, 0, TFM_OK), 1);
}

static void temperature_gives_the_softmax(void) {
    double s[V];
    tfm_sampling o = {.temperature = 1};
    shares(&o, halves, s);
    CHECK(near(s[0], 8 / 15.0) && near(s[1], 4 / 15.0) && near(s[2], 2 / 15.0));
    CHECK(near(s[3], 1 / 15.0));
    o.temperature = 0.5f; /* squares: 64:16:4:1 */
    shares(&o, halves, s);
    CHECK(near(s[0], 64 / 85.0) && near(s[1], 16 / 85.0) && near(s[3], 1 / 85.0));
}

static void top_k_keeps_k(void) {
    double s[V];
    tfm_sampling o = {.temperature = 1, .top_k = 2};
    shares(&o, halves, s);
    CHECK(near(s[0], 2 / 3.0) && near(s[1], 1 / 3.0) && s[2] == 0 && s[3] == 0);
    const float tie[V] = {1, 1, 1, 1, 1, 1, 1, 1}; /* lower ids win ties */
    shares(&o, tie, s);
    CHECK(near(s[0], 0.5) && near(s[1], 0.5) && s[2] == 0);
}

static void top_p_keeps_the_fewest_that_reach_it(void) {
    double s[V];
    tfm_sampling o = {.temperature = 1, .top_p = 0.6f}; /* 8/15 < 0.6 <= 12/15 */
    shares(&o, halves, s);
    CHECK(near(s[0], 2 / 3.0) && near(s[1], 1 / 3.0) && s[2] == 0);
    o.top_p = 0.5f; /* 8/15 reaches it alone */
    shares(&o, halves, s);
    CHECK(s[0] > 0.999999);
    o.top_k = 2; /* of what top-k left, 2/3 : 1/3 */
    o.top_p = 0.66f;
    shares(&o, halves, s);
    CHECK(s[0] > 0.999999);
    o.top_p = 0.67f;
    shares(&o, halves, s);
    CHECK(near(s[1], 1 / 3.0));
}

static void min_p_is_a_share_of_the_best(void) {
    double s[V];
    tfm_sampling o = {.temperature = 1, .min_p = 0.24f}; /* 1, 1/2, 1/4 stay; 1/8 goes */
    shares(&o, halves, s);
    CHECK(near(s[0], 4 / 7.0) && near(s[2], 1 / 7.0) && s[3] == 0);
}

static void penalties_by_their_definition(void) {
    const float l[V] = {4, 3, -1, -1.5f, -9, -9, -9, -9};
    const int32_t seen[] = {0, 0, 2};
    tfm_sampling o = {.repeat_penalty = 2}; /* 4 -> 2 < 3 */
    CHECK_INT(draw(&o, l, seen, 3, 0, TFM_OK), 1);
    o = (tfm_sampling){.presence_penalty = 0.9f}; /* 4 -> 3.1, once */
    CHECK_INT(draw(&o, l, seen, 3, 0, TFM_OK), 0);
    o = (tfm_sampling){.frequency_penalty = 0.6f}; /* 4 -> 2.8, twice 0.6 */
    CHECK_INT(draw(&o, l, seen, 3, 0, TFM_OK), 1);
    o = (tfm_sampling){.frequency_penalty = 0.6f, .penalty_last = 1}; /* only the 2 counts */
    CHECK_INT(draw(&o, l, seen, 3, 0, TFM_OK), 0);
    const float negative[V] = {-9, -9, -1, -1.5f, -9, -9, -9, -9};
    o = (tfm_sampling){.repeat_penalty = 2}; /* -1 -> -2 < -1.5 */
    CHECK_INT(draw(&o, negative, seen, 3, 0, TFM_OK), 3);
}

static void draw_depends_on_its_keys_only(void) {
    tfm_sampling o = {.temperature = 1, .seed = 5};
    unsigned differ = 0;
    for (uint32_t p = 0; p < 64; p++) {
        int32_t first = draw(&o, halves, NULL, 0, p, TFM_OK);
        CHECK_INT(draw(&o, halves, NULL, 0, p, TFM_OK), first);
        tfm_sampling other = o;
        other.seed = 6;
        differ += draw(&other, halves, NULL, 0, p, TFM_OK) != first;
    }
    CHECK(differ > 10);
}

static void refuses_what_is_no_number(void) {
    float l[V] = {0, 1, 2, 3, 4, 5, 6, 7};
    tfm_sampling o = {0};
    tfm_sampler *s;
    l[2] = NAN;
    draw(&o, l, NULL, 0, 0, TFM_RECORD);
    l[2] = INFINITY;
    draw(&o, l, NULL, 0, 0, TFM_RECORD);
    o.temperature = NAN;
    CHECK_INT(tfm_sampler_new(&s, &o, V, NULL), TFM_USAGE);
    o = (tfm_sampling){.top_p = 1.5f};
    CHECK_INT(tfm_sampler_new(&s, &o, V, NULL), TFM_USAGE);
    o = (tfm_sampling){0};
    CHECK_INT(tfm_sampler_new(&s, &o, 0, NULL), TFM_USAGE);
}

int main(void) {
    UNIT_RUN(greedy_takes_lowest_of_a_tie);
    UNIT_RUN(temperature_gives_the_softmax);
    UNIT_RUN(top_k_keeps_k);
    UNIT_RUN(top_p_keeps_the_fewest_that_reach_it);
    UNIT_RUN(min_p_is_a_share_of_the_best);
    UNIT_RUN(penalties_by_their_definition);
    UNIT_RUN(draw_depends_on_its_keys_only);
    UNIT_RUN(refuses_what_is_no_number);
    return unit_done();
}
