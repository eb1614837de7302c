/* arena.c - many small allocations with one lifetime.
 *
 * A list of blocks, the newest first; a request that does not fit in the newest opens another, and
 * a large request gets a block of its own. Nothing is given back before the whole arena is. */
#include <string.h>

#include "base/base_internal.h"

enum { ARENA_ALIGN = 16, ARENA_BLOCK = 64 * 1024, ARENA_OWN_BLOCK = 16 * 1024 };

typedef struct arena_block {
    struct arena_block *next;
    size_t used, size; /* bytes of data */
    _Alignas(ARENA_ALIGN) unsigned char data[];
} arena_block;

struct tfm_arena {
    arena_block *head; /* the one that is filled */
    arena_block *own;  /* blocks of a single large request */
};

tfm_status tfm_arena_new(tfm_arena **out, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_arena), err));
    *out = p;
    return TFM_OK;
}

static tfm_status add_block(arena_block **list, size_t size, tfm_error *err) {
    size_t total;
    void *p;
    if (!tfm_add_size(size, sizeof(arena_block), &total))
        return tfm_fail(err, TFM_NOMEM, "out of memory for %zu bytes", size);
    TFM_TRY(tfm_alloc(&p, total, 1, err));
    arena_block *b = p;
    b->size = size;
    b->next = *list;
    *list = b;
    return TFM_OK;
}

tfm_status tfm_arena_alloc(tfm_arena *a, void **out, size_t n, tfm_error *err) {
    *out = NULL;
    if (n > ARENA_OWN_BLOCK) {
        TFM_TRY(add_block(&a->own, n, err));
        *out = a->own->data;
        return TFM_OK;
    }
    size_t need = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (need == 0) need = ARENA_ALIGN;
    if (!a->head || a->head->size - a->head->used < need)
        TFM_TRY(add_block(&a->head, ARENA_BLOCK, err));
    *out = a->head->data + a->head->used;
    a->head->used += need;
    return TFM_OK;
}

tfm_status tfm_arena_strndup(tfm_arena *a, const char **out, const char *s, size_t n,
                             tfm_error *err) {
    size_t need;
    void *p;
    *out = NULL;
    if (!tfm_add_size(n, 1, &need)) return tfm_fail(err, TFM_NOMEM, "out of memory for a string");
    TFM_TRY(tfm_arena_alloc(a, &p, need, err));
    if (n) memcpy(p, s, n);
    *out = p;
    return TFM_OK;
}

static void free_list(arena_block *b) {
    while (b) {
        arena_block *next = b->next;
        tfm_free(b);
        b = next;
    }
}

void tfm_arena_free(tfm_arena *a) {
    if (!a) return;
    free_list(a->head);
    free_list(a->own);
    tfm_free(a);
}
