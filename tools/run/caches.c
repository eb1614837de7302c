/* caches.c - what tfm-run keeps of computed prompts: --load-cache, --save-cache, and open turns.
 *
 * Owns one cache of the file that was loaded, one for each group of a stream of turns that is open,
 * and the one that will be saved: that of the first group of the input. All are freed before the
 * engine, in whose pages they live.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
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
    tfm_cache *loaded, *saved;
    tfm_group_map *turns; /* of turn_group; of the present stream */
    bool has_first;       /* the first group is known */
    bool in_first_stream;
    uint32_t first;
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
    tfm_cache_free(c->loaded);
    tfm_cache_free(c->saved);
    free(c);
}

static tfm_status load(run_caches *c, const char *path, tfm_error *err) {
    tfm_reader *r = NULL;
    const char *name;
    int fd;

    TFM_TRY(tfm_cli_open_input(c->cli, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) st = tfm_reader_stream(r, err);
    if (st == TFM_OK) {
        st = tfm_cache_read(&c->loaded, c->engine, r, err);
        if (st != TFM_OK) st = tfm_error_prefix(err, st, "%s", name);
    }
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
    return o->load_cache ? load(c, o->load_cache, err) : TFM_OK;
}

tfm_status run_caches_start(run_caches *c, bool has_turns, tfm_error *err) {
    if (has_turns && (c->opt->generate.n_samples > 1 || c->opt->echo))
        return tfm_fail(err, TFM_USAGE,
                        "%s: does not go with a stream of turns, which has one answer to each",
                        c->opt->echo ? "--echo" : "--samples");
    forget_turns(c);
    c->in_first_stream = !c->has_first;
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

static bool is_first(const run_caches *c, uint32_t group) {
    return c->in_first_stream && c->has_first && group == c->first;
}

/* Says under -v how much of a prompt is known. */
static void say_known(const run_caches *c, const tfm_prompt *p, const tfm_cache *from) {
    uint32_t n, same = 0;
    const int32_t *ids = tfm_cache_ids(from, &n);

    while (same < n && same + 1 < p->n && ids[same] == p->ids[same]) same++;
    tfm_cli_say(c->cli, "group %u: %u of %zu tokens are in the cache", p->group, same, p->n);
}

tfm_status run_caches_add(run_caches *c, tfm_generator *g, const tfm_prompt *p, tfm_error *err) {
    const tfm_cache *from = c->loaded;
    turn_group *t = NULL;

    if (!c->has_first) {
        c->has_first = true;
        c->first = p->group;
    }
    if (p->is_turn) TFM_TRY(turn_get(c, p->group, &t, err));
    if (p->message) return tfm_generator_add_failed(g, p->group, p->message, err);
    if (t && t->cache) from = t->cache;
    if (c->opt->engine.probe) from = NULL; /* taps want every row */
    if (from) say_known(c, p, from);
    bool keep = p->is_turn || (c->opt->save_cache && is_first(c, p->group));
    return tfm_generator_add_from(g, p->group, p->ids, p->n, from, keep, err);
}

tfm_status run_caches_event(run_caches *c, tfm_prompts *prompts, const tfm_event *ev,
                            tfm_error *err) {
    turn_group *t = tfm_group_map_find(c->turns, ev->group);

    if (!t) { /* no turn; a cache is what is to be saved */
        if (ev->type == TFM_EVENT_END && ev->cache) {
            tfm_cache_free(c->saved);
            c->saved = ev->cache;
        }
        return TFM_OK;
    }
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

uint32_t run_caches_end(run_caches *c, uint32_t group) {
    turn_group *t = tfm_group_map_remove(c->turns, group);
    uint32_t length = t ? t->length : 0;

    if (t && c->opt->save_cache && is_first(c, group)) {
        tfm_cache_free(c->saved);
        c->saved = t->cache;
        t->cache = NULL;
    }
    turn_free(t);
    return length;
}

/* ---- saving ---- */

static tfm_status write_stream(const run_caches *c, tfm_writer *w, tfm_error *err) {
    tfm_header *h;

    TFM_TRY(tfm_header_new(&h, "cache", err));
    tfm_status st = tfm_cache_header(c->saved, h, err);
    if (st == TFM_OK) st = tfm_cli_provenance(c->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(w, h, err);
    tfm_header_free(h);
    if (st == TFM_OK) st = tfm_cache_write(c->saved, w, err);
    return st == TFM_OK ? tfm_writer_end(w, err) : st;
}

/* Into a file beside it, which then takes its name: the file is the old one or whole. */
tfm_status run_caches_save(run_caches *c, tfm_error *err) {
    const char *path = c->opt->save_cache;
    tfm_writer *w = NULL;
    char *aside;

    if (!path) return TFM_OK;
    if (!c->saved) {
        tfm_cli_warn(c->cli, "%s: not written: there is no first group that was computed", path);
        return TFM_OK;
    }
    if (asprintf(&aside, "%s.XXXXXX", path) < 0) return tfm_fail(err, TFM_NOMEM, "out of memory");
    int fd = mkstemp(aside);
    if (fd < 0) {
        free(aside);
        return tfm_fail_errno(err, TFM_IO, "%s: cannot create a file beside it", path);
    }
    mode_t mask = umask(0);
    umask(mask);
    tfm_status st = fchmod(fd, 0666 & ~mask) == 0
                        ? tfm_writer_new(&w, fd, path, err)
                        : tfm_fail_errno(err, TFM_IO, "%s: cannot set its mode", path);
    if (st == TFM_OK) st = write_stream(c, w, err);
    tfm_writer_free(w);
    if (close(fd) != 0 && st == TFM_OK) st = tfm_fail_errno(err, TFM_IO, "%s", path);
    if (st == TFM_OK && rename(aside, path) != 0) st = tfm_fail_errno(err, TFM_IO, "%s", path);
    if (st != TFM_OK) unlink(aside);
    free(aside);
    return st;
}
