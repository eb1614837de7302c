/* json_text.c - jansson's parser and printer, made safe for the moment when memory runs out.
 *
 * jansson 2.14 ignores in places that a text buffer could not grow. The printer then leaves out a
 * character; the lexer has lost bytes of a token, perhaps its closing quote, and its next pass runs
 * out of bounds. Both check a later allocation, so the cure is that after one failed allocation all
 * others fail too until the call has ended. This also tells reliably that memory ran out, which
 * jansson's own error codes mostly do not.
 *
 * The allocator is process-wide in jansson. This one passes on to what was set before, for
 * everybody, and adds its rule only on a thread that is inside one of these two functions. */
#include <pthread.h>
#include <stdlib.h>

#include "base/json_text_internal.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static json_malloc_t next_malloc;
static _Thread_local bool is_inside, is_out;

static void *malloc_until_failure(size_t n) {
    if (is_inside && is_out) return NULL;
    void *p = next_malloc(n);
    if (p == NULL) is_out = true;
    return p;
}

static void install(void) {
    json_free_t next_free;
    json_get_alloc_funcs(&next_malloc, &next_free);
    json_set_alloc_funcs(malloc_until_failure, next_free);
}

static tfm_status enter(tfm_error *err) {
    if (pthread_once(&once, install) != 0) return tfm_fail(err, TFM_NOMEM, "out of memory");
    is_out = false;
    is_inside = true;
    return TFM_OK;
}

tfm_status tfm_json_load(json_t **out, const void *text, size_t n, size_t flags, json_error_t *why,
                         tfm_error *err) {
    json_error_t own;
    if (why == NULL) why = &own;
    *out = NULL;
    TFM_TRY(enter(err));
    json_t *j = json_loadb(text, n, flags, why);
    is_inside = false;
    if (is_out) {
        json_decref(j);
        return tfm_fail(err, TFM_NOMEM, "out of memory");
    }
    if (j == NULL) return tfm_fail(err, TFM_FORMAT, "line %d: %s", why->line, why->text);
    *out = j;
    return TFM_OK;
}

tfm_status tfm_json_dump(char **out, const json_t *j, size_t flags, tfm_error *err) {
    *out = NULL;
    TFM_TRY(enter(err));
    char *text = json_dumps(j, flags);
    is_inside = false;
    if (text == NULL || is_out) {
        free(text);
        return tfm_fail(err, TFM_NOMEM, "out of memory");
    }
    *out = text;
    return TFM_OK;
}
