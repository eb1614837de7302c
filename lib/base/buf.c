/* buf.c - the growable byte buffer, and little-endian loads and stores.
 *
 * A buffer keeps one byte beyond its length for a NUL, so that its data can be used as a string
 * whenever no NUL was added to it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base_internal.h"

tfm_status tfm_buf_reserve(tfm_buf *b, size_t n, tfm_error *err) {
    size_t need;
    void *p = b->data;
    if (!tfm_add_size(b->len, n, &need) || !tfm_add_size(need, 1, &need))
        return tfm_fail(err, TFM_NOMEM, "out of memory for %zu more bytes", n);
    if (need <= b->cap) return TFM_OK;
    if (need < 64) need = 64;
    TFM_TRY(tfm_grow(&p, &b->cap, need, 1, err));
    b->data = p;
    b->data[b->len] = '\0';
    return TFM_OK;
}

tfm_status tfm_buf_add(tfm_buf *b, const void *bytes, size_t n, tfm_error *err) {
    TFM_TRY(tfm_buf_reserve(b, n, err));
    if (n) memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
    return TFM_OK;
}

tfm_status tfm_buf_str(tfm_buf *b, const char *s, tfm_error *err) {
    return tfm_buf_add(b, s, strlen(s), err);
}

tfm_status tfm_buf_byte(tfm_buf *b, unsigned char c, tfm_error *err) {
    return tfm_buf_add(b, &c, 1, err);
}

tfm_status tfm_buf_printf(tfm_buf *b, tfm_error *err, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) return tfm_fail(err, TFM_NOMEM, "cannot format a text");
    TFM_TRY(tfm_buf_reserve(b, (size_t)n, err));
    va_start(ap, fmt);
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return TFM_OK;
}

void tfm_buf_clear(tfm_buf *b) {
    b->len = 0;
    if (b->data) b->data[0] = '\0';
}

void tfm_buf_free(tfm_buf *b) {
    tfm_free(b->data);
    *b = (tfm_buf){0};
}

uint16_t tfm_load_u16(const void *p) {
    const unsigned char *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

uint32_t tfm_load_u32(const void *p) {
    const unsigned char *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

uint64_t tfm_load_u64(const void *p) {
    const unsigned char *b = p;
    return (uint64_t)tfm_load_u32(b) | (uint64_t)tfm_load_u32(b + 4) << 32;
}

void tfm_store_u16(void *p, uint16_t v) {
    unsigned char *b = p;
    b[0] = (unsigned char)(v & 0xff);
    b[1] = (unsigned char)(v >> 8);
}

void tfm_store_u32(void *p, uint32_t v) {
    unsigned char *b = p;
    for (int i = 0; i < 4; i++) b[i] = (unsigned char)(v >> (8 * i) & 0xff);
}

void tfm_store_u64(void *p, uint64_t v) {
    unsigned char *b = p;
    for (int i = 0; i < 8; i++) b[i] = (unsigned char)(v >> (8 * i) & 0xff);
}
