/* bytes.c - growing byte strings, and one write for each. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "detok.h"

tfm_status bytes_add(bytes *b, const void *p, size_t n, tfm_error *err) {
    if (n > b->cap - b->len) {
        size_t cap = b->cap + b->cap / 2;
        if (cap - b->len < n || cap < b->len) cap = b->len + n;
        if (cap < b->len || cap > SIZE_MAX / 2) return tfm_fail(err, TFM_NOMEM, "out of memory");
        char *grown = realloc(b->data, cap < 256 ? 256 : cap);
        if (grown == NULL) return tfm_fail(err, TFM_NOMEM, "out of memory");
        b->data = grown;
        b->cap = cap < 256 ? 256 : cap;
    }
    if (n > 0) memcpy(b->data + b->len, p, n);
    b->len += n;
    return TFM_OK;
}

tfm_status bytes_str(bytes *b, const char *s, tfm_error *err) {
    return bytes_add(b, s, strlen(s), err);
}

void bytes_free(bytes *b) {
    free(b->data);
    *b = (bytes){NULL, 0, 0};
}

tfm_status bytes_write(bytes *b, int fd, const char *name, tfm_error *err) {
    for (size_t at = 0; at < b->len;) {
        ssize_t n = write(fd, b->data + at, b->len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tfm_fail_errno(err, TFM_IO, "%s: write", name);
        at += (size_t)n;
    }
    b->len = 0;
    return TFM_OK;
}
