/* test_turns.c - a group that goes on: what tfm_prompts gives at each turn, and caches in
 * memory. */
#include <stdlib.h>
#include <unistd.h>

#include "tfm/cache.h"
#include "tfm/load.h"
#include "tfm/prompts.h"
#include "unit.h"

static tfm_status put(tfm_writer *w, uint32_t group, uint32_t position, const int32_t *ids,
                      uint32_t n, uint16_t flags, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .flags = flags,
                      .group = group,
                      .position = position,
                      .dims = {n, 1, 1, 1},
                      .name = "tokens"};
    return tfm_writer_record(w, &rec, ids, err);
}

/* Turns of two groups that interleave; the second turn of group 0 follows the answer 7 8, the third
 * goes back. */
static tfm_status write_stream(int fd, tfm_error *err) {
    static const int32_t ids[] = {1, 2, 3, 4, 5};
    const uint16_t turn = TFM_FLAG_LAST | TFM_FLAG_FLUSH;
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    TFM_TRY(tfm_header_new(&h, "tokens", err));
    TFM_TRY(tfm_header_set(h, "turns", "yes", err));
    TFM_TRY(tfm_writer_new(&w, fd, "turns", err));
    TFM_TRY(tfm_writer_header(w, h, err));
    TFM_TRY(put(w, 0, 0, ids, 1, 0, err));
    TFM_TRY(put(w, 0, 1, ids + 1, 2, turn, err));
    TFM_TRY(put(w, 1, 0, ids + 4, 1, turn, err));
    TFM_TRY(put(w, 0, 5, ids + 3, 1, turn, err));
    TFM_TRY(put(w, 0, 2, ids + 4, 1, turn, err));
    TFM_TRY(tfm_writer_group_end(w, 0, 3, TFM_END_OPEN, err));
    TFM_TRY(tfm_writer_end(w, err));
    tfm_writer_free(w);
    tfm_header_free(h);
    return TFM_OK;
}

static void expect(tfm_prompts *p, uint32_t group, const int32_t *ids, size_t n, bool ends) {
    tfm_prompt q;
    tfm_error err = {0};
    if (!CHECK_INT(tfm_prompts_next(p, &q, &err), TFM_OK)) return;
    CHECK_INT(q.group, group);
    CHECK_INT(q.is_turn, !ends);
    CHECK_INT(q.has_ended, ends);
    CHECK(q.message == NULL);
    if (CHECK_INT(q.n, n)) CHECK(memcmp(q.ids, ids, n * sizeof *ids) == 0);
}

static void turns(void) {
    tfm_reader *r = NULL;
    tfm_prompts *p = NULL;
    tfm_prompt q;
    tfm_error err = {0};
    FILE *f = tmpfile();
    if (!CHECK(f != NULL)) return;
    CHECK_INT(write_stream(fileno(f), &err), TFM_OK);
    lseek(fileno(f), 0, SEEK_SET);
    CHECK_INT(tfm_reader_new(&r, fileno(f), "turns", &err), TFM_OK);
    CHECK_INT(tfm_reader_stream(r, &err), TFM_OK);
    CHECK_INT(tfm_prompts_new(&p, r, NULL, "none", &err), TFM_OK);
    CHECK(tfm_prompts_has_turns(p));
    expect(p, 0, (int32_t[]){1, 2, 3}, 3, false);
    CHECK_INT(tfm_prompts_append(p, 0, 7, &err), TFM_OK);
    CHECK_INT(tfm_prompts_append(p, 0, 8, &err), TFM_OK);
    expect(p, 1, (int32_t[]){5}, 1, false);
    expect(p, 0, (int32_t[]){1, 2, 3, 7, 8, 4}, 6, false);
    expect(p, 0, (int32_t[]){1, 2, 5}, 3, false);
    expect(p, 0, (int32_t[]){1, 2, 5}, 3, true);
    expect(p, 1, (int32_t[]){5}, 1, true); /* it had no GROUP-END: the stream's end is one */
    CHECK_INT(tfm_prompts_next(p, &q, &err), TFM_DONE);
    tfm_prompts_free(p);
    tfm_reader_free(r);
    fclose(f);
}

/* ---- a cache goes from group to group ---- */

/* Runs ids for n_new tokens; the cache if keep. */
static tfm_cache *run(tfm_engine *e, const int32_t *ids, size_t n, uint32_t n_new,
                      const tfm_cache *from, bool keep, int32_t *out) {
    tfm_generate_options o = {.has_max_tokens = true, .max_tokens = n_new, .ignore_eog = true};
    tfm_generator *g = NULL;
    tfm_event ev;
    tfm_error err = {0};
    tfm_cache *kept = NULL;
    size_t at = 0;
    if (tfm_generator_new(&g, e, &o, &err) == TFM_OK &&
        tfm_generator_add_from(g, 0, ids, n, from, keep, &err) == TFM_OK)
        while (tfm_generator_next(g, &ev, &err) == TFM_OK) {
            if (ev.type == TFM_EVENT_TOKEN && at < n_new) out[at++] = ev.token;
            if (ev.type == TFM_EVENT_END) kept = ev.cache;
        }
    CHECK_STR(err.message, "");
    CHECK_INT(at, n_new);
    tfm_generator_free(g);
    return kept;
}

static void caches(void) {
    static const tfm_load_options lo = {.share_dir = "share"};
    enum { N = 20 };
    int32_t ids[40], want[N], got[N], ignored[N];
    tfm_model *model = NULL;
    tfm_engine *e = NULL;
    tfm_error err = {0};
    if (tfm_load(&model, "tests/golden/gguf/llama-f16.gguf", &lo, &err) != TFM_OK ||
        tfm_engine_new(&e, model, &(tfm_engine_options){.threads = 1}, &err) != TFM_OK) {
        CHECK_STR(err.message, "");
        return;
    }
    for (int i = 0; i < 40; i++) ids[i] = 3 + i * 7 % 50;
    CHECK(run(e, ids, 40, N, NULL, false, want) == NULL);
    for (size_t known = 1; known <= 40; known += 13) {
        uint32_t n;
        tfm_cache *c = run(e, ids, known, 4, NULL, true, ignored);
        if (!CHECK(c != NULL)) break;
        const int32_t *of = tfm_cache_ids(c, &n);
        CHECK_INT(n, known + 3); /* the last token drawn was not computed */
        CHECK(memcmp(of, ids, known * sizeof *ids) == 0);
        tfm_cache *more = run(e, ids, 40, N, c, true, got);
        CHECK(memcmp(want, got, sizeof want) == 0);
        tfm_cache_free(more);
        CHECK(run(e, ids, 40, N, c, false, got) == NULL); /* c is as it was */
        CHECK(memcmp(want, got, sizeof want) == 0);
        tfm_cache_free(c);
    }
    tfm_engine_free(e);
    tfm_model_free(model);
}

int main(void) {
    UNIT_RUN(turns);
    UNIT_RUN(caches);
    return unit_done();
}
