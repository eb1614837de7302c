/* memory.c - allocation with checked sizes, and the checked arithmetic behind it.
 *
 * Owns every call of malloc and its family in the library, so that a size that overflows and memory
 * that runs out are one and the same reported failure everywhere. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base_internal.h"

bool tfm_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

bool tfm_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

bool tfm_mul_size(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

bool tfm_add_size(size_t a, size_t b, size_t *out) {
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

/* *n = count * size if an object can be that large (C: no more than PTRDIFF_MAX bytes). */
static bool object_size(size_t count, size_t size, size_t *n) {
    return tfm_mul_size(count, size, n) && *n <= PTRDIFF_MAX;
}

static tfm_status no_memory(tfm_error *err, size_t count, size_t size) {
    return tfm_fail(err, TFM_NOMEM, "out of memory for %zu x %zu bytes", count, size);
}

tfm_status tfm_alloc(void **out, size_t count, size_t size, tfm_error *err) {
    size_t n;
    *out = NULL;
    if (!object_size(count, size, &n)) return no_memory(err, count, size);
    *out = calloc(n ? n : 1, 1);
    return *out ? TFM_OK : no_memory(err, count, size);
}

tfm_status tfm_alloc_aligned(void **out, size_t align, size_t count, size_t size, tfm_error *err) {
    size_t n;
    void *p = NULL;
    *out = NULL;
    if (!object_size(count, size, &n)) return no_memory(err, count, size);
    if (posix_memalign(&p, align, n ? n : 1) != 0) return no_memory(err, count, size);
    memset(p, 0, n);
    *out = p;
    return TFM_OK;
}

tfm_status tfm_alloc_large(void **out, size_t count, size_t size, tfm_error *err) {
    enum { HUGE_PAGE = 2 << 20 };
    size_t n;
    void *p = NULL;
    *out = NULL;
    if (!object_size(count, size, &n)) return no_memory(err, count, size);
    if (posix_memalign(&p, n < HUGE_PAGE ? 64 : HUGE_PAGE, n ? n : 1) != 0) {
        return no_memory(err, count, size);
    }
#if defined(MADV_HUGEPAGE)
    /* Whole huge pages only, so that no neighbour is rounded up. That it may be refused is fine. */
    if (n >= HUGE_PAGE) (void)madvise(p, n / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    *out = p;
    return TFM_OK;
}

tfm_status tfm_realloc(void **ptr, size_t count, size_t size, tfm_error *err) {
    size_t n;
    if (!object_size(count, size, &n)) return no_memory(err, count, size);
    void *p = realloc(*ptr, n ? n : 1);
    if (!p) return no_memory(err, count, size);
    *ptr = p;
    return TFM_OK;
}

tfm_status tfm_grow(void **ptr, size_t *cap, size_t need, size_t size, tfm_error *err) {
    if (need <= *cap) return TFM_OK;
    size_t want;
    if (!tfm_add_size(*cap, *cap / 2, &want) || want < need) want = need;
    if (want < 8) want = 8;
    TFM_TRY(tfm_realloc(ptr, want, size, err));
    *cap = want;
    return TFM_OK;
}

void tfm_free(void *ptr) {
    free(ptr);
}

tfm_status tfm_strndup(char **out, const char *s, size_t n, tfm_error *err) {
    size_t need;
    void *p;
    *out = NULL;
    if (!tfm_add_size(n, 1, &need)) return no_memory(err, n, 1);
    TFM_TRY(tfm_alloc(&p, need, 1, err));
    if (n) memcpy(p, s, n);
    *out = p;
    return TFM_OK;
}

tfm_status tfm_strdup(char **out, const char *s, tfm_error *err) {
    return tfm_strndup(out, s, strlen(s), err);
}
