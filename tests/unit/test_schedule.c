/* test_schedule.c - the generator's scheduler: whatever the order of arrival, the memory, the table
 * of prefixes or the number of sequences, every group has the ids that it has alone; rows are
 * computed once; nothing blocks. */
#include "../bits/bits_model.h"
#include "infer/infer_internal.h"
#include "tfm/cache.h"
#include "tfm/probe.h"
#include "unit.h"

enum { GROUPS = 14, MOST_NEW = 70, MOST_SAMPLES = 3 };

/* Prompts that begin alike up to around the ends of pages, some equal, some of one token. */
static const uint32_t common[GROUPS] = {63, 64, 65,  128, 128, 127, 129,
                                        64, 0,  192, 1,   128, 192, 63};
static const uint32_t more[GROUPS] = {1, 0, 9, 0, 64, 1, 30, 5, 1, 0, 0, 70, 3, 65};

typedef struct setting {
    uint32_t pages; /* of the cache; 0: no limit */
    bool prefix, unordered, in_steps;
    uint32_t sequences, n_samples, row_budget, max_tokens;
    bool keep;
    uint64_t seed;
} setting;

static bits_model model;
static int32_t prompt[GROUPS][512];
static uint32_t length[GROUPS];

typedef struct text {
    int32_t id[MOST_SAMPLES][MOST_NEW];
    uint32_t n[MOST_SAMPLES];
    int end[MOST_SAMPLES]; /* -1: an error */
} text;
static text alone[GROUPS];

static void make_prompts(void) {
    uint64_t random = 5, first = 11;
    int32_t begin[256];
    for (int i = 0; i < 256; i++) begin[i] = (int32_t)(ops_next(&first) % BITS_VOCAB);
    for (int g = 0; g < GROUPS; g++) {
        length[g] = common[g] + more[g];
        for (uint32_t i = 0; i < length[g]; i++)
            prompt[g][i] = i < common[g] ? begin[i] : (int32_t)(ops_next(&random) % BITS_VOCAB);
    }
}

static tfm_engine *engine_new(const setting *s) {
    tfm_engine_options o = {.device = "cpu", .threads = 1, .prefix_cache = s->prefix, .ctx = 300};
    tfm_engine *e;
    tfm_error err;
    if (tfm_engine_new(&e, model.model, &o, &err) != TFM_OK) ops_die("engine", &err);
    if (!s->pages) return e;
    o.kv_bytes = s->pages * tfm_pages_bytes(tfm_engine_pages(e));
    tfm_engine_free(e);
    if (tfm_engine_new(&e, model.model, &o, &err) != TFM_OK) ops_die("engine", &err);
    CHECK_INT(tfm_pages_limit(tfm_engine_pages(e)), s->pages);
    return e;
}

static tfm_generator *generator_new(const setting *s, tfm_engine *e) {
    const tfm_generate_options o = {.sampling = {.temperature = 1.0f, .seed = 3},
                                    .has_max_tokens = true,
                                    .max_tokens = s->max_tokens,
                                    .sequences = s->sequences,
                                    .n_samples = s->n_samples,
                                    .unordered = s->unordered,
                                    .ignore_eog = true,
                                    .row_budget = s->row_budget};
    tfm_generator *g;
    tfm_error err;
    if (tfm_generator_new(&g, e, &o, &err) != TFM_OK) ops_die("generator", &err);
    return g;
}

static void note(text *got, const tfm_event *ev) {
    text *t = &got[ev->group];
    if (!CHECK(ev->sample < MOST_SAMPLES)) return;
    if (ev->type == TFM_EVENT_TOKEN) {
        if (CHECK(t->n[ev->sample] < MOST_NEW)) t->id[ev->sample][t->n[ev->sample]] = ev->token;
        CHECK_INT(ev->position, length[ev->group] + t->n[ev->sample]);
        t->n[ev->sample]++;
        return;
    }
    t->end[ev->sample] = ev->type == TFM_EVENT_ERROR ? -1 : (int)ev->end;
    if (ev->cache) { /* all rows but the last drawn one's, whatever was taken away on the way */
        uint32_t n;
        const int32_t *ids = tfm_cache_ids(ev->cache, &n);
        CHECK_INT(n, length[ev->group] + t->n[0] - (t->n[0] > 0));
        CHECK(n >= length[ev->group] &&
              memcmp(ids, prompt[ev->group], length[ev->group] * sizeof *ids) == 0);
    }
    tfm_cache_free(ev->cache);
}

/* Runs all groups; returns what was done. The generator must come to its end. */
static tfm_generator_stats run(const setting *s, text *got, tfm_engine *engine) {
    tfm_engine *e = engine ? engine : engine_new(s);
    tfm_generator *g = generator_new(s, e);
    tfm_generator_stats stats;
    uint64_t random = s->seed, steps = 0;
    uint32_t order[GROUPS], n = 0, last = UINT32_MAX;
    tfm_event ev;
    tfm_error err;
    tfm_status st = TFM_OK;
    memset(got, 0, GROUPS * sizeof *got);
    for (uint32_t i = 0; i < GROUPS; i++) order[i] = i;
    for (uint32_t i = GROUPS; s->seed && i-- > 1;) {
        const uint32_t k = (uint32_t)(ops_next(&random) % (i + 1)), swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
    uint32_t place[GROUPS];
    for (uint32_t i = 0; i < GROUPS; i++) place[order[i]] = i;
    while (n < GROUPS || st == TFM_OK) {
        while (n < GROUPS && (!s->in_steps || ops_next(&random) % 3 == 0)) {
            const uint32_t k = order[n++];
            if (tfm_generator_add_from(g, k, prompt[k], length[k], NULL, s->keep, &err) != TFM_OK)
                ops_die("add", &err);
            st = TFM_OK;
        }
        if (s->in_steps && !tfm_generator_ready(g)) {
            if (tfm_generator_step(g, &err) != TFM_OK) ops_die("step", &err);
            if (!CHECK(steps++ < 100000)) break;
            if (!tfm_generator_ready(g) && tfm_generator_unfinished(g)) continue;
        }
        st = tfm_generator_next(g, &ev, &err);
        if (st == TFM_DONE) continue;
        if (st != TFM_OK) ops_die("next", &err);
        CHECK(s->unordered || last == UINT32_MAX || place[ev.group] >= place[last]);
        last = ev.group;
        note(got, &ev);
    }
    CHECK_INT(tfm_generator_unfinished(g), 0);
    tfm_generator_get_stats(g, &stats);
    CHECK_INT(stats.running, 0);
    CHECK_INT(stats.waiting, 0);
    if (s->pages) CHECK(stats.peak_pages <= s->pages);
    if (!s->prefix) CHECK_INT(stats.pages, 0); /* all given back */
    tfm_generator_free(g);
    if (!engine) tfm_engine_free(e);
    return stats;
}

/* The same ids and ends as alone; shorter runs are the beginning. */
static void compare(const setting *s, const text *got) {
    for (int g = 0; g < GROUPS; g++)
        for (uint32_t k = 0; k < s->n_samples; k++) {
            const uint32_t n = s->max_tokens;
            if (!CHECK_INT(got[g].n[k], n) ||
                !CHECK(memcmp(got[g].id[k], alone[g].id[k], n * sizeof(int32_t)) == 0) ||
                !CHECK_INT(got[g].end[k], TFM_END_LENGTH))
                printf("  group %d sample %u: %u pages, prefix %d, unordered %d, steps %d, -b %u, "
                       "-N %u, budget %u, seed %llu\n",
                       g, k, s->pages, s->prefix, s->unordered, s->in_steps, s->sequences,
                       s->n_samples, s->row_budget, (unsigned long long)s->seed);
        }
}

/* What each group gives by itself, in memory without limit. */
static void each_alone(void) {
    const setting s = {.sequences = 1, .n_samples = MOST_SAMPLES, .max_tokens = MOST_NEW};
    text got[GROUPS];
    for (uint32_t g = 0; g < GROUPS; g++) {
        tfm_engine *e = engine_new(&s);
        tfm_generator *gen = generator_new(&s, e);
        tfm_event ev;
        tfm_error err;
        memset(got, 0, sizeof got);
        CHECK_INT(tfm_generator_add(gen, g, prompt[g], length[g], &err), TFM_OK);
        while (tfm_generator_next(gen, &ev, &err) == TFM_OK) note(got, &ev);
        alone[g] = got[g];
        CHECK_INT(got[g].n[0], MOST_NEW);
        tfm_generator_free(gen);
        tfm_engine_free(e);
    }
}

static void any_setting_gives_the_same(void) {
    static const uint32_t sequences[] = {1, 2, 3, 7, 64}, budget[] = {0, 1, 3, 70, 200};
    const int n = getenv("LONG") ? 1000 : 50;
    uint64_t random = 21, preempted = 0, shared = 0;
    text got[GROUPS];
    for (int i = 0; i < n; i++) {
        setting s = {.seed = 1 + (uint64_t)i};
        s.prefix = ops_next(&random) % 2;
        s.unordered = ops_next(&random) % 3 == 0;
        s.in_steps = ops_next(&random) % 2;
        s.sequences = sequences[ops_next(&random) % 5];
        s.n_samples = 1 + (uint32_t)(ops_next(&random) % MOST_SAMPLES);
        s.row_budget = budget[ops_next(&random) % 5];
        s.max_tokens = ops_next(&random) % 2 ? 5 : MOST_NEW;
        s.keep = ops_next(&random) % 3 == 0;
        /* The longest needs 5 pages of its own. */
        s.pages = ops_next(&random) % 4 ? 5 + (uint32_t)(ops_next(&random) % 12) : 0;
        const tfm_generator_stats stats = run(&s, got, NULL);
        compare(&s, got);
        preempted += stats.preempted;
        shared += stats.shared_rows;
    }
    CHECK(preempted > 50); /* the memory was short */
    CHECK(shared > 10000);
}

/* All at once, all in flight: the pages that begin alike are computed once. */
static void shared_beginnings_are_computed_once(void) {
    const setting s = {.prefix = true, .sequences = 64, .n_samples = 1, .max_tokens = 1};
    tfm_engine *e = engine_new(&s);
    text got[GROUPS];
    uint64_t all = 0, own = 192; /* the common beginning, and what is not of whole common pages */
    for (int g = 0; g < GROUPS; g++) {
        const bool whole = more[g] == 0 && common[g] % TFM_KV_PAGE == 0 && common[g];
        all += length[g];
        /* A prompt that ends with a shared page computes its last row again, unless it was
         * first. */
        own += whole ? 1 : length[g] - common[g] / TFM_KV_PAGE * TFM_KV_PAGE;
    }
    tfm_generator_stats stats = run(&s, got, e);
    compare(&s, got);
    CHECK_INT(stats.rows + stats.shared_rows, all);
    CHECK(stats.rows >= own - GROUPS);
    CHECK(stats.rows <= own);
    CHECK_INT(stats.preempted, 0);
    /* Again on the same engine: whole pages are there. */
    stats = run(&s, got, e);
    compare(&s, got);
    CHECK_INT(stats.rows + stats.shared_rows, all);
    uint64_t rest = 0;
    for (int g = 0; g < GROUPS; g++) rest += length[g] % TFM_KV_PAGE ? length[g] % TFM_KV_PAGE : 1;
    CHECK_INT(stats.rows, rest);
    tfm_engine_free(e);
    const setting without = {.sequences = 64, .n_samples = 1, .max_tokens = 1};
    stats = run(&without, got, NULL);
    CHECK_INT(stats.rows, all);
    CHECK_INT(stats.shared_rows, 0);
}

/* One that can never fit fails with the cure, the others go on; one whose answer outgrows the
 * memory fails when it does. */
static void what_does_not_fit_fails_alone(void) {
    setting s = {.pages = 3, .sequences = 8, .n_samples = 1, .max_tokens = 20};
    text got[GROUPS];
    for (int prefix = 0; prefix < 2; prefix++) {
        s.prefix = prefix;
        run(&s, got, NULL);
        for (int g = 0; g < GROUPS; g++) {
            const uint32_t rows = length[g] + s.max_tokens - 1; /* the last one drawn has none */
            CHECK_INT(got[g].end[0], rows > 3 * TFM_KV_PAGE ? -1 : TFM_END_LENGTH);
            CHECK(memcmp(got[g].id[0], alone[g].id[0], got[g].n[0] * sizeof(int32_t)) == 0);
            if (length[g] > 3 * TFM_KV_PAGE) CHECK_INT(got[g].n[0], 0);
            if (got[g].end[0] == -1 && got[g].n[0]) /* as far as memory went */
                CHECK_INT(length[g] + got[g].n[0] - 1, 3 * TFM_KV_PAGE);
        }
    }
}

/* A long prompt in the middle of others: they have a row in every step. */
static void a_long_prompt_holds_nobody_up(void) {
    const setting s = {.sequences = 4, .n_samples = 1, .max_tokens = 40, .row_budget = 10};
    tfm_engine *e = engine_new(&s);
    tfm_generator *g = generator_new(&s, e);
    tfm_event ev;
    tfm_error err;
    uint32_t tokens = 0;
    CHECK_INT(tfm_generator_add(g, 0, prompt[10], 1, &err), TFM_OK);
    CHECK_INT(tfm_generator_step(g, &err), TFM_OK);
    CHECK_INT(tfm_generator_add(g, 1, prompt[11], length[11], &err), TFM_OK); /* 198 rows */
    for (int i = 0; i < 21; i++) {
        CHECK_INT(tfm_generator_step(g, &err), TFM_OK);
        while (tfm_generator_ready(g)) {
            CHECK_INT(tfm_generator_next(g, &ev, &err), TFM_OK);
            tokens += ev.type == TFM_EVENT_TOKEN;
            CHECK_INT(ev.group, 0);
        }
    }
    CHECK_INT(tokens, 22); /* one a step, the first step included */
    tfm_generator_free(g); /* in the middle of it */
    tfm_engine_free(e);
}

static void a_probe_and_a_prefix_cache_exclude_each_other(void) {
    tfm_probe *probe;
    tfm_engine *e;
    tfm_error err;
    CHECK_INT(tfm_probe_new(&probe, &err), TFM_OK);
    const tfm_engine_options o = {.device = "cpu", .prefix_cache = true, .probe = probe};
    CHECK_INT(tfm_engine_new(&e, model.model, &o, &err), TFM_USAGE);
    CHECK(e == NULL);
    tfm_probe_free(probe);
}

int main(void) {
    make_prompts();
    bits_model_new(&model, BITS_GROUPED, TFM_F16, TFM_LAYOUT_ROWS, TFM_F16, BITS_SLIM);
    UNIT_RUN(each_alone);
    UNIT_RUN(any_setting_gives_the_same);
    UNIT_RUN(shared_beginnings_are_computed_once);
    UNIT_RUN(what_does_not_fit_fails_alone);
    UNIT_RUN(a_long_prompt_holds_nobody_up);
    UNIT_RUN(a_probe_and_a_prefix_cache_exclude_each_other);
    bits_model_free(&model);
    return unit_done();
}
