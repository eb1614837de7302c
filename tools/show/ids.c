/* ids.c - the token ids of a stream, a line a group, or a line a token with its piece.
 *
 * Groups may interleave; a group's line is printed when it ends, so lines come in the order in
 * which groups end. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"
#include "tfm/group_map.h"

/* One that is open. */
typedef struct group {
    uint64_t order; /* of arrival */
    int32_t *id;    /* [n] */
    size_t n, cap;
} group;

struct show_ids {
    tfm_group_map *open; /* of group */
    uint64_t arrivals;
};

tfm_status show_ids_new(show_ids **out, tfm_error *err) {
    *out = calloc(1, sizeof **out);
    if (!*out) return tfm_fail(err, TFM_NOMEM, "out of memory");
    return tfm_group_map_new(&(*out)->open, err);
}

static void group_free(group *g) {
    if (g) free(g->id);
    free(g);
}

void show_ids_free(show_ids *s) {
    size_t at = 0;
    if (!s) return;
    for (group *g; s->open && (g = tfm_group_map_next(s->open, &at)) != NULL;) group_free(g);
    tfm_group_map_free(s->open);
    free(s);
}

bool show_is_tokens(const tfm_record *rec) {
    return rec->type == TFM_REC_TENSOR && rec->dtype == TFM_I32 && rec->rank == 1 &&
           strcmp(rec->name, "tokens") == 0;
}

static tfm_status no_memory(uint32_t number, tfm_error *err) {
    return tfm_fail(err, TFM_NOMEM, "out of memory for the ids of group %" PRIu32, number);
}

static tfm_status get(show_ids *s, uint32_t number, group **out, tfm_error *err) {
    void **slot;
    TFM_TRY(tfm_group_map_slot(s->open, number, &slot, err));
    if (!*slot) {
        group *g = calloc(1, sizeof *g);
        if (!g) {
            tfm_group_map_remove(s->open, number);
            return no_memory(number, err);
        }
        g->order = s->arrivals++;
        *slot = g;
    }
    *out = *slot;
    return TFM_OK;
}

static tfm_status add(group *g, const tfm_record *rec, const void *payload, tfm_error *err) {
    const size_t need = g->n + rec->dims[0];
    if (need > g->cap) {
        size_t cap = g->cap * 2 > need ? g->cap * 2 : need + 8;
        int32_t *id = reallocarray(g->id, cap, sizeof *id);
        if (!id) return no_memory(rec->group, err);
        g->id = id;
        g->cap = cap;
    }
    if (rec->bytes > 0) memcpy(g->id + g->n, payload, (size_t)rec->bytes);
    g->n = need;
    return TFM_OK;
}

static void print(FILE *out, const group *g) {
    for (size_t i = 0; i < g->n; i++) fprintf(out, "%s%" PRId32, i ? " " : "", g->id[i]);
    fputc('\n', out);
}

tfm_status show_ids_add(show_ids *s, FILE *out, const tfm_record *rec, const void *payload,
                        tfm_error *err) {
    group *g = NULL;
    if (!show_is_tokens(rec) && rec->type != TFM_REC_GROUP_END) return TFM_OK;
    TFM_TRY(get(s, rec->group, &g, err));
    if (rec->type != TFM_REC_GROUP_END) return add(g, rec, payload, err);
    print(out, g);
    group_free(tfm_group_map_remove(s->open, rec->group));
    return TFM_OK;
}

static int by_arrival(const void *a, const void *b) {
    const group *x = *(group *const *)a, *y = *(group *const *)b;
    return (x->order > y->order) - (x->order < y->order);
}

tfm_status show_ids_end(show_ids *s, FILE *out, tfm_error *err) {
    const size_t n = tfm_group_map_count(s->open);
    size_t at = 0, i = 0;
    group **rest = calloc(n + 1, sizeof(group *));
    if (!rest) return tfm_fail(err, TFM_NOMEM, "out of memory for %zu open groups", n);
    for (group *g; (g = tfm_group_map_next(s->open, &at)) != NULL;) rest[i++] = g;
    qsort(rest, n, sizeof(group *), by_arrival);
    for (i = 0; i < n; i++) {
        print(out, rest[i]);
        group_free(rest[i]);
    }
    free(rest);
    tfm_group_map_free(s->open);
    s->open = NULL;
    return tfm_group_map_new(&s->open, err);
}

void show_pieces(FILE *out, const tfm_vocab *v, const tfm_record *rec, const void *payload) {
    const int32_t *id = payload;
    for (uint32_t i = 0; i < rec->dims[0]; i++) {
        size_t len = 0;
        const char *piece = "?";
        if (id[i] >= 0 && (uint32_t)id[i] < tfm_vocab_size(v))
            piece = tfm_vocab_piece(v, (uint32_t)id[i], &len);
        else
            len = 1;
        fprintf(out, "%" PRIu32 "\t%" PRIu32 "\t%" PRId32 "\t", rec->group, rec->position + i,
                id[i]);
        tfm_cli_escaped(out, piece, len);
        fputc('\n', out);
    }
}
