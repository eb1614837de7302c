/* error.c - the one error object: how a failure becomes one safe line of text.
 *
 * Owns formatting, cutting and cleaning of messages. Does not print. A message may quote names from
 * a hostile file, so it is cleaned here, once, and never again by those who show it. It is made in
 * a local buffer first because an argument may point into the very message that is replaced. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base_internal.h"
#include "base/utf8_internal.h"

enum { MESSAGE_SIZE = sizeof(((tfm_error *)0)->message) };

/* Replaces control characters (C0, DEL, C1) and broken UTF-8 by '?', cuts an unfinished character
 * off the end. */
static void clean(char *s) {
    size_t n = strlen(s), i = 0;
    n -= tfm_utf8_tail(s, n);
    s[n] = '\0';
    while (i < n) {
        uint32_t cp;
        bool ok;
        size_t len = tfm_utf8_decode((unsigned char *)s + i, n - i, &cp, &ok);
        if (!ok || cp < 0x20 || (cp >= 0x7f && cp < 0xa0)) memset(s + i, '?', len);
        i += len;
    }
}

static void set_message(tfm_error *err, const char *text) {
    size_t n = strnlen(text, MESSAGE_SIZE - 1);
    memcpy(err->message, text, n);
    err->message[n] = '\0';
    clean(err->message);
}

tfm_status tfm_fail(tfm_error *err, tfm_status status, const char *fmt, ...) {
    if (!err) return status;
    char text[MESSAGE_SIZE];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0) text[0] = '\0';
    va_end(ap);
    err->status = status;
    set_message(err, text);
    return status;
}

tfm_status tfm_fail_errno(tfm_error *err, tfm_status status, const char *fmt, ...) {
    int saved = errno;
    if (!err) return status;
    char text[MESSAGE_SIZE], why[128];
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0) text[0] = '\0';
    va_end(ap);
    const char *reason = strerror_r(saved, why, sizeof why); /* the GNU one: returns the text */
    /* The reason is what matters most: a long name before it is cut instead. */
    size_t n = strlen(text), most = sizeof text - 3 - strnlen(reason, sizeof why);
    if (n > most) n = most - tfm_utf8_tail(text, most);
    snprintf(text + n, sizeof text - n, ": %s", reason);
    err->status = status;
    set_message(err, text);
    errno = saved;
    return status;
}

tfm_status tfm_error_prefix(tfm_error *err, tfm_status status, const char *fmt, ...) {
    if (!err) return status;
    char text[2 * MESSAGE_SIZE + 2]; /* what, ": ", the old message */
    va_list ap;
    va_start(ap, fmt);
    if (vsnprintf(text, MESSAGE_SIZE, fmt, ap) < 0) text[0] = '\0';
    va_end(ap);
    size_t n = strnlen(text, MESSAGE_SIZE);
    snprintf(text + n, MESSAGE_SIZE + 2, ": %s", err->message);
    set_message(err, text);
    return err->status;
}

int tfm_status_exit(tfm_status status) {
    switch (status) {
    case TFM_OK:
    case TFM_DONE: return 0;
    case TFM_USAGE: return 2;
    case TFM_FORMAT:
    case TFM_TRUNCATED:
    case TFM_UNSUPPORTED:
    case TFM_LIMIT:
    case TFM_MISMATCH:
    case TFM_UPSTREAM:
    case TFM_NOTFOUND: return 3;
    case TFM_RECORD: return 4;
    case TFM_NOMEM:
    case TFM_IO:
    case TFM_DEVICE: return 5;
    }
    return 5;
}
