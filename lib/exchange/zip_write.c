/* zip_write.c - an npz: a ZIP archive of stored members, written in one pass.
 *
 * Members are in memory when they are written, so their CRC and size stand before them. Offsets
 * past 4 GiB and more than 65,534 members take the ZIP64 forms (APPNOTE.TXT 4.3, 4.5.3). All times
 * are 1980-01-01, so the same stream gives the same bytes. */
#include <string.h>

#include "exchange/exchange_internal.h"

enum { VERSION = 20, VERSION_64 = 45, DATE_1980 = 0x21, UTF8_NAMES = 0x800 };

static tfm_status put_u16(tfm_buf *b, unsigned v, tfm_error *err) {
    unsigned char p[2];
    tfm_store_u16(p, (uint16_t)v);
    return tfm_buf_add(b, p, 2, err);
}

static tfm_status put_u32(tfm_buf *b, uint32_t v, tfm_error *err) {
    unsigned char p[4];
    tfm_store_u32(p, v);
    return tfm_buf_add(b, p, 4, err);
}

static tfm_status put_u64(tfm_buf *b, uint64_t v, tfm_error *err) {
    unsigned char p[8];
    tfm_store_u64(p, v);
    return tfm_buf_add(b, p, 8, err);
}

/* What local header and directory entry have in common: from the version needed to the extra's
 * length. */
static tfm_status put_common(tfm_buf *b, unsigned version, uint32_t crc, uint32_t size,
                             size_t n_name, unsigned extra, tfm_error *err) {
    TFM_TRY(put_u16(b, version, err));
    TFM_TRY(put_u16(b, UTF8_NAMES, err));
    TFM_TRY(put_u16(b, 0, err)); /* stored */
    TFM_TRY(put_u16(b, 0, err)); /* midnight */
    TFM_TRY(put_u16(b, DATE_1980, err));
    TFM_TRY(put_u32(b, crc, err));
    TFM_TRY(put_u32(b, size, err));
    TFM_TRY(put_u32(b, size, err));
    TFM_TRY(put_u16(b, (unsigned)n_name, err));
    return put_u16(b, extra, err);
}

static tfm_status put_entry(tfm_zip_writer *z, const char *name, uint32_t crc, uint32_t size,
                            tfm_error *err) {
    tfm_buf *d = &z->directory;
    bool is_far = z->offset >= UINT32_MAX;
    unsigned version = is_far ? VERSION_64 : VERSION;
    TFM_TRY(tfm_buf_add(d, "PK\1\2", 4, err));
    TFM_TRY(put_u16(d, version, err));
    TFM_TRY(put_common(d, version, crc, size, strlen(name), is_far ? 12 : 0, err));
    TFM_TRY(tfm_buf_add(d, "\0\0\0\0\0\0\0\0\0\0", 10, err)); /* comment, disk, attributes */
    TFM_TRY(put_u32(d, is_far ? UINT32_MAX : (uint32_t)z->offset, err));
    TFM_TRY(tfm_buf_str(d, name, err));
    if (!is_far) return TFM_OK;
    TFM_TRY(put_u16(d, 1, err));
    TFM_TRY(put_u16(d, 8, err));
    return put_u64(d, z->offset, err);
}

tfm_status tfm_zip_add(tfm_zip_writer *z, const char *name, const void *head, size_t n_head,
                       const void *body, size_t n_body, tfm_error *err) {
    tfm_buf local = {0};
    uint64_t size = (uint64_t)n_head + n_body;
    uint32_t crc = tfm_crc32(tfm_crc32(0, head, n_head), body, n_body);
    tfm_status st = TFM_OK;
    if (size >= UINT32_MAX || strlen(name) > UINT16_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: %s is too large for an npz", z->name, name);
    st = tfm_buf_add(&local, "PK\3\4", 4, err);
    if (st == TFM_OK) st = put_common(&local, VERSION, crc, (uint32_t)size, strlen(name), 0, err);
    if (st == TFM_OK) st = tfm_buf_str(&local, name, err);
    if (st == TFM_OK) st = put_entry(z, name, crc, (uint32_t)size, err);
    if (st == TFM_OK) st = tfm_buf_add(&local, head, n_head, err);
    if (st == TFM_OK) st = tfm_fd_write_full(z->fd, z->name, local.data, local.len, err);
    if (st == TFM_OK) st = tfm_fd_write_full(z->fd, z->name, body, n_body, err);
    z->offset += local.len + n_body;
    z->n++;
    tfm_buf_free(&local);
    return st;
}

/* The ZIP64 end of the directory and its locator. */
static tfm_status put_end_64(tfm_zip_writer *z, uint64_t at, uint64_t size, tfm_error *err) {
    tfm_buf *d = &z->directory;
    TFM_TRY(tfm_buf_add(d, "PK\6\6", 4, err));
    TFM_TRY(put_u64(d, 44, err));
    TFM_TRY(put_u16(d, VERSION_64, err));
    TFM_TRY(put_u16(d, VERSION_64, err));
    TFM_TRY(put_u64(d, 0, err)); /* the numbers of two disks */
    TFM_TRY(put_u64(d, z->n, err));
    TFM_TRY(put_u64(d, z->n, err));
    TFM_TRY(put_u64(d, size, err));
    TFM_TRY(put_u64(d, at, err));
    TFM_TRY(tfm_buf_add(d, "PK\6\7\0\0\0\0", 8, err));
    TFM_TRY(put_u64(d, at + size, err));
    return put_u32(d, 1, err);
}

tfm_status tfm_zip_finish(tfm_zip_writer *z, tfm_error *err) {
    tfm_buf *d = &z->directory;
    uint64_t at = z->offset, size = d->len;
    bool is_64 = z->n >= UINT16_MAX || at >= UINT32_MAX || size >= UINT32_MAX;
    unsigned n = is_64 ? UINT16_MAX : (unsigned)z->n;
    if (is_64) TFM_TRY(put_end_64(z, at, size, err));
    TFM_TRY(tfm_buf_add(d, "PK\5\6\0\0\0\0", 8, err));
    TFM_TRY(put_u16(d, n, err));
    TFM_TRY(put_u16(d, n, err));
    TFM_TRY(put_u32(d, is_64 ? UINT32_MAX : (uint32_t)size, err));
    TFM_TRY(put_u32(d, is_64 ? UINT32_MAX : (uint32_t)at, err));
    TFM_TRY(put_u16(d, 0, err));
    return tfm_fd_write_full(z->fd, z->name, d->data, d->len, err);
}
