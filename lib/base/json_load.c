/* json_load.c - jansson's parser, made safe for the moment when memory runs out.
 *
 * jansson 2.14 ignores that its lexer could not grow the buffer of the token it reads. The token then
 * has lost bytes, perhaps its closing quote, and the next pass over it runs out of bounds. It does
 * check the allocation between the two passes, so the cure is that after one failed allocation all
 * others fail too until the parse has ended: then that check stops it in time. This also tells
 * reliably that memory ran out, which jansson's own error codes mostly do not.
 *
 * The allocator is process-wide in jansson. This one passes on to what was set before, for everybody,
 * and adds its rule only on a thread that is inside tfm_json_load. */
#include <pthread.h>

#include "base/json_load_internal.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static json_malloc_t next_malloc;
static _Thread_local bool is_loading, is_out;

static void *malloc_until_failure(size_t n) {
    if (is_loading && is_out) return NULL;
    void *p = next_malloc(n);
    if (p == NULL) is_out = true;
    return p;
}

static void install(void) {
    json_free_t next_free;
    json_get_alloc_funcs(&next_malloc, &next_free);
    json_set_alloc_funcs(malloc_until_failure, next_free);
}

tfm_status tfm_json_load(json_t **out, const void *text, size_t n, size_t flags, json_error_t *why,
                         tfm_error *err) {
    json_error_t own;
    if (why == NULL) why = &own;
    *out = NULL;
    if (pthread_once(&once, install) != 0) return tfm_fail(err, TFM_NOMEM, "out of memory");
    is_out = false;
    is_loading = true;
    json_t *j = json_loadb(text, n, flags, why);
    is_loading = false;
    if (is_out) {
        json_decref(j);
        return tfm_fail(err, TFM_NOMEM, "out of memory");
    }
    if (j == NULL) return tfm_fail(err, TFM_FORMAT, "line %d: %s", why->line, why->text);
    *out = j;
    return TFM_OK;
}
