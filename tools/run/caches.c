/* caches.c - what tfm-run keeps of computed prompts: --load-cache, --save-cache, and open turns.
 *
 * Owns the caches of the file that was loaded, one for each group of a stream of turns that is
 * open, and the file that is written: a cache goes there when its group has ended and is freed, so
 * that a long input needs no more memory than without. All are freed before the engine, in whose
 * pages they live.
 */
#include <stdlib.h>
#include <unistd.h>

#include "run.h"
#include "tfm/group_map.h"

/* A group that has had a turn. */
typedef struct turn_group {
    uint32_t number, length;
    bool has_failed; /* it was ended by an error; what still comes of it is dropped */
    tfm_cache *cache;
} turn_group;

struct run_caches {
    tfm_cli *cli;
    const run_options *opt;
    tfm_engine *engine;
    tfm_cache_set *loaded; /* or NULL */
    tfm_group_map *turns;  /* of turn_group; of the present stream */
    tfm_cli_aside file;    /* --save-cache, open from the first cache on */
    tfm_writer *w;
};

static void turn_free(turn_group *t) {
    if (!t) return;
    tfm_cache_free(t->cache);
    free(t);
}

static void forget_turns(run_caches *c) {
    size_t at = 0;
    for (turn_group *t; c->turns && (t = tfm_group_map_next(c->turns, &at)) != NULL;) turn_free(t);
    tfm_group_map_free(c->turns);
    c->turns = NULL;
}

void run_caches_free(run_caches *c) {
    if (!c) return;
    forget_turns(c);
    tfm_cache_set_free(c->loaded);
    tfm_writer_free(c->w);
    tfm_error ignored = {0}; /* it is there only if something else failed, which was told */
    if (tfm_cli_aside_close(&c->file, false, &ignored) != TFM_OK)
        tfm_cli_say(c->cli, "%s", ignored.message);
    free(c);
}

static tfm_status load_stream(run_caches *c, tfm_reader *r, tfm_error *err) {
    tfm_cache *cache;
    tfm_status st;

    while ((st = tfm_cache_read(&cache, c->engine, r, err)) == TFM_OK)
        TFM_TRY(tfm_cache_set_add(c->loaded, cache, err));
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status load(run_caches *c, const char *path, tfm_error *err) {
    tfm_reader *r = NULL;
    const char *name;
    int fd;

    TFM_TRY(tfm_cache_set_new(&c->loaded, err));
    TFM_TRY(tfm_cli_open_input(c->cli, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    while (st == TFM_OK && (st = tfm_reader_stream(r, err)) == TFM_OK) {
        st = load_stream(c, r, err);
        if (st != TFM_OK) st = tfm_error_prefix(err, st, "%s", name);
    }
    if (st == TFM_DONE) st = TFM_OK;
    if (st == TFM_OK && tfm_cache_set_count(c->loaded) == 0)
        st = tfm_fail(err, TFM_FORMAT, "%s: there is no cache in it", name);
    tfm_reader_free(r);
    if (fd > 0) close(fd);
    return st;
}

tfm_status run_caches_new(run_caches **out, tfm_cli *cli, const run_options *o, tfm_engine *e,
                          tfm_error *err) {
    run_caches *c = *out = calloc(1, sizeof *c);

    if (!c) return tfm_fail(err, TFM_NOMEM, "out of memory");
    c->cli = cli;
    c->opt = o;
    c->engine = e;
    c->file.fd = -1;
    return o->load_cache ? load(c, o->load_cache, err) : TFM_OK;
}

tfm_status run_caches_start(run_caches *c, bool has_turns, tfm_error *err) {
    if (has_turns && (c->opt->generate.n_samples > 1 || c->opt->echo))
        return tfm_fail(err, TFM_USAGE,
                        "%s: does not go with a stream of turns, which has one answer to each",
                        c->opt->echo ? "--echo" : "--samples");
    forget_turns(c);
    return tfm_group_map_new(&c->turns, err);
}

static tfm_status turn_get(run_caches *c, uint32_t group, turn_group **out, tfm_error *err) {
    void **slot;

    TFM_TRY(tfm_group_map_slot(c->turns, group, &slot, err));
    if (!*slot) {
        turn_group *t = calloc(1, sizeof *t);
        if (!t) {
            tfm_group_map_remove(c->turns, group);
            return tfm_fail(err, TFM_NOMEM, "out of memory");
        }
        t->number = group;
        *slot = t;
    }
    *out = *slot;
    return TFM_OK;
}

bool run_caches_dropped(const run_caches *c, uint32_t group) {
    const turn_group *t = tfm_group_map_find(c->turns, group);
    return t && t->has_failed;
}

/* The cache that knows most of the prompt: of the file, or the group's own; NULL for none. */
static const tfm_cache *best(const run_caches *c, const turn_group *t, const tfm_prompt *p) {
    const tfm_cache *from = c->loaded ? tfm_cache_set_best(c->loaded, p->ids, p->n) : NULL;

    if (!t || !t->cache) return from;
    return !from || tfm_cache_common(t->cache, p->ids, p->n) >= tfm_cache_common(from, p->ids, p->n)
               ? t->cache
               : from;
}

/* Says under -v how much of a prompt is known. Its last token is always computed. */
static void say_known(const run_caches *c, const tfm_prompt *p, const tfm_cache *from) {
    uint32_t same = from && p->n ? tfm_cache_common(from, p->ids, p->n - 1) : 0;

    tfm_cli_say(c->cli, "group %u: %u of %zu tokens are in the cache", p->group, same, p->n);
}

tfm_status run_caches_add(run_caches *c, tfm_generator *g, const tfm_prompt *p, tfm_error *err) {
    const tfm_cache *from;
    turn_group *t = NULL;

    if (p->is_turn) TFM_TRY(turn_get(c, p->group, &t, err));
    if (p->message) return tfm_generator_add_failed(g, p->group, p->message, err);
    from = best(c, t, p);
    if (c->opt->engine.probe) from = NULL; /* taps want every row */
    if (from || c->loaded) say_known(c, p, from);
    return tfm_generator_add_from(g, p->group, p->ids, p->n, from, p->is_turn || c->opt->save_cache,
                                  err);
}

/* ---- saving ---- */

/* Into a file beside it, which takes its name at the end: the file is the old one or whole. */
static tfm_status open_file(run_caches *c, tfm_error *err) {
    tfm_header *h = NULL;

    TFM_TRY(tfm_cli_aside_open(&c->file, c->opt->save_cache, err));
    TFM_TRY(tfm_writer_new(&c->w, c->file.fd, c->opt->save_cache, err));
    tfm_status st = tfm_header_new(&h, "cache", err);
    if (st == TFM_OK) st = tfm_cache_header(c->engine, h, err);
    if (st == TFM_OK) st = tfm_cli_provenance(c->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(c->w, h, err);
    tfm_header_free(h);
    return st;
}

/* A group has ended: its cache (NULL: none was computed) is written, if it is to be, and freed. */
static tfm_status save(run_caches *c, uint32_t group, tfm_cache *cache, tfm_error *err) {
    tfm_status st = TFM_OK;

    if (cache && c->opt->save_cache) {
        if (!c->w) st = open_file(c, err);
        if (st == TFM_OK) st = tfm_cache_write(cache, group, c->w, err);
    }
    tfm_cache_free(cache);
    return st;
}

tfm_status run_caches_save(run_caches *c, tfm_error *err) {
    const char *path = c->opt->save_cache;

    if (!path) return TFM_OK;
    if (!c->w) {
        tfm_cli_warn(c->cli, "%s: not written: there is no group that was computed", path);
        return TFM_OK;
    }
    tfm_status st = tfm_writer_end(c->w, err);
    tfm_writer_free(c->w);
    c->w = NULL;
    return st == TFM_OK ? tfm_cli_aside_close(&c->file, true, err) : st;
}

/* ---- events ---- */

tfm_status run_caches_event(run_caches *c, tfm_prompts *prompts, const tfm_event *ev,
                            tfm_error *err) {
    turn_group *t = tfm_group_map_find(c->turns, ev->group);

    if (!t) return ev->type == TFM_EVENT_END ? save(c, ev->group, ev->cache, err) : TFM_OK;
    switch (ev->type) {
    case TFM_EVENT_TOKEN: return tfm_prompts_append(prompts, ev->group, ev->token, err);
    case TFM_EVENT_ERROR: t->has_failed = true; return TFM_OK;
    case TFM_EVENT_END:
        tfm_cache_free(t->cache);
        t->cache = ev->cache;
        t->length = ev->position;
        return TFM_OK;
    }
    return TFM_OK;
}

tfm_status run_caches_end(run_caches *c, uint32_t group, uint32_t *length, tfm_error *err) {
    turn_group *t = tfm_group_map_remove(c->turns, group);
    tfm_status st = TFM_OK;

    *length = t ? t->length : 0;
    if (t) {
        st = save(c, group, t->cache, err);
        t->cache = NULL;
    }
    turn_free(t);
    return st;
}
