/* ids.c - the token ids of a stream, a line a group, or a line a token with its piece.
 *
 * Groups may interleave; a group's line is printed when it ends, so lines come in the order in
 * which groups end. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

struct show_ids {
    struct group {
        uint32_t number;
        int32_t *id;
        size_t n, cap;
    } * group; /* [n]: those that are open, few at a time */
    size_t n, cap;
};

tfm_status show_ids_new(show_ids **out, tfm_error *err) {
    *out = calloc(1, sizeof **out);
    return *out ? TFM_OK : tfm_fail(err, TFM_NOMEM, "out of memory");
}

void show_ids_free(show_ids *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) free(s->group[i].id);
    free(s->group);
    free(s);
}

bool show_is_tokens(const tfm_record *rec) {
    return rec->type == TFM_REC_TENSOR && rec->dtype == TFM_I32 && rec->rank == 1 &&
           strcmp(rec->name, "tokens") == 0;
}

/* Room for `need` elements of `size` bytes; false when memory is out. */
static bool room(void **p, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t want = *cap * 2 > need ? *cap * 2 : need + 8;
    void *grown = reallocarray(*p, want, size);
    if (!grown) return false;
    *p = grown;
    *cap = want;
    return true;
}

/* Index of the open group, s->n if there is none. */
static size_t find(const show_ids *s, uint32_t number) {
    size_t i = 0;
    while (i < s->n && s->group[i].number != number) i++;
    return i;
}

static void print_and_close(show_ids *s, FILE *out, size_t i) {
    struct group *g = &s->group[i];
    for (size_t k = 0; k < g->n; k++) fprintf(out, "%s%" PRId32, k ? " " : "", g->id[k]);
    fputc('\n', out);
    free(g->id);
    memmove(g, g + 1, (s->n - i - 1) * sizeof *g);
    s->n--;
}

tfm_status show_ids_add(show_ids *s, FILE *out, const tfm_record *rec, const void *payload,
                        tfm_error *err) {
    bool is_tokens = show_is_tokens(rec), is_end = rec->type == TFM_REC_GROUP_END;
    if (!is_tokens && !is_end) return TFM_OK;
    size_t i = find(s, rec->group);
    if (i == s->n) {
        void *p = s->group;
        if (!room(&p, &s->cap, s->n + 1, sizeof *s->group)) goto no_memory;
        s->group = p;
        s->group[s->n++] = (struct group){.number = rec->group};
    }
    struct group *g = &s->group[i];
    if (is_end) {
        print_and_close(s, out, i);
        return TFM_OK;
    }
    void *p = g->id;
    if (!room(&p, &g->cap, g->n + rec->dims[0], sizeof *g->id)) goto no_memory;
    g->id = p;
    if (rec->bytes > 0) memcpy(g->id + g->n, payload, (size_t)rec->bytes);
    g->n += rec->dims[0];
    return TFM_OK;
no_memory:
    return tfm_fail(err, TFM_NOMEM, "out of memory for the ids of group %" PRIu32, rec->group);
}

void show_ids_end(show_ids *s, FILE *out) {
    while (s->n > 0) print_and_close(s, out, 0);
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
