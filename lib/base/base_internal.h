/* base_internal.h - what every other layer stands on: memory, buffers, files, numbers, hashes.
 *
 *     tfm_buf b = {0};
 *     TFM_TRY(tfm_buf_printf(&b, err, "kind %s\n", kind));
 *     ...
 *     tfm_buf_free(&b);
 *
 * Owns no state. Nothing here knows of streams, tensors or models. Threads are in
 * threads_internal.h, UTF-8 in utf8_internal.h, random numbers in rng_internal.h. */
#ifndef TFM_BASE_INTERNAL_H
#define TFM_BASE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tfm/status.h"

/* Streams, models, caches and vocabularies are little-endian and used in place, as arrays of
 * numbers of the machine; the panels of quantised weights are taken apart in words of 32 bits.
 * Nothing swaps bytes anywhere, and this is the one place that says so. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tfm maps its files and computes in them: only little-endian machines can"
#endif

/* ---- memory: every allocation goes through here, sizes are checked before use ---- */

/* *out = count * size bytes, zeroed; TFM_NOMEM if the product overflows or memory is out.
 * count or size 0 gives a valid pointer to nothing. Freed by tfm_free. */
tfm_status tfm_alloc(void **out, size_t count, size_t size, tfm_error *err) TFM_MUST_CHECK;
/* As tfm_alloc but NOT zeroed, 64-byte aligned, in huge pages where it is large and the system
 * allows them: for what is written whole, as packed weights are. Freed by tfm_free. */
tfm_status tfm_alloc_large(void **out, size_t count, size_t size, tfm_error *err) TFM_MUST_CHECK;
/* As tfm_alloc, aligned to `align` (a power of two >= 8), zeroed, freed by tfm_free. */
tfm_status tfm_alloc_aligned(void **out, size_t align, size_t count, size_t size,
                             tfm_error *err) TFM_MUST_CHECK;
/* Grows *ptr (may be NULL) to count * size bytes; contents kept, new bytes not zeroed; *ptr is
 * unchanged on failure. */
tfm_status tfm_realloc(void **ptr, size_t count, size_t size, tfm_error *err) TFM_MUST_CHECK;
/* Makes room for `need` elements in the array *ptr of *cap elements, growing by half or more. */
tfm_status tfm_grow(void **ptr, size_t *cap, size_t need, size_t size,
                    tfm_error *err) TFM_MUST_CHECK;
void tfm_free(void *ptr);
/* A copy of n bytes of s with a NUL after; tfm_strdup takes the whole string. */
tfm_status tfm_strndup(char **out, const char *s, size_t n, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_strdup(char **out, const char *s, tfm_error *err) TFM_MUST_CHECK;

/* false if the result does not fit; *out is then untouched. */
bool tfm_mul_size(size_t a, size_t b, size_t *out);
bool tfm_add_size(size_t a, size_t b, size_t *out);
bool tfm_mul_u64(uint64_t a, uint64_t b, uint64_t *out);
bool tfm_add_u64(uint64_t a, uint64_t b, uint64_t *out);

/* ---- arena: many small things with one lifetime ---- */

typedef struct tfm_arena tfm_arena;
tfm_status tfm_arena_new(tfm_arena **out, tfm_error *err) TFM_MUST_CHECK;
/* n zeroed bytes, 16-aligned, alive until the arena is freed. */
tfm_status tfm_arena_alloc(tfm_arena *a, void **out, size_t n, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_arena_strndup(tfm_arena *a, const char **out, const char *s, size_t n,
                             tfm_error *err) TFM_MUST_CHECK;
void tfm_arena_free(tfm_arena *a);

/* ---- growable byte buffer ---- */

/* data[len] is always a NUL once anything was added. {0} is an empty buffer. */
typedef struct tfm_buf {
    char *data;
    size_t len, cap;
} tfm_buf;
tfm_status tfm_buf_add(tfm_buf *b, const void *bytes, size_t n, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_buf_str(tfm_buf *b, const char *s, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_buf_byte(tfm_buf *b, unsigned char c, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_buf_printf(tfm_buf *b, tfm_error *err, const char *fmt, ...)
    TFM_PRINTF(3, 4) TFM_MUST_CHECK;
/* Room for n more bytes beyond len, without changing len. */
tfm_status tfm_buf_reserve(tfm_buf *b, size_t n, tfm_error *err) TFM_MUST_CHECK;
void tfm_buf_clear(tfm_buf *b); /* len = 0, memory kept */
void tfm_buf_free(tfm_buf *b);  /* back to {0} */

/* ---- little-endian loads and stores at any alignment ---- */

uint16_t tfm_load_u16(const void *p);
uint32_t tfm_load_u32(const void *p);
uint64_t tfm_load_u64(const void *p);
void tfm_store_u16(void *p, uint16_t v);
void tfm_store_u32(void *p, uint32_t v);
void tfm_store_u64(void *p, uint64_t v);

/* ---- numbers from text: the whole string must be the number, within [lo, hi] ---- */

/* Decimal only, optional sign; false on anything else (spaces, hex, overflow, out of range). */
bool tfm_parse_i64(const char *s, int64_t lo, int64_t hi, int64_t *out);
bool tfm_parse_u64(const char *s, uint64_t lo, uint64_t hi, uint64_t *out);
/* Decimal or exponent notation, '.' always (no locale); finite only. */
bool tfm_parse_double(const char *s, double lo, double hi, double *out);

/* ---- hashes ---- */

/* CRC-32 (zlib's polynomial); start with crc = 0. Takes any n. */
uint32_t tfm_crc32(uint32_t crc, const void *p, size_t n);
typedef struct tfm_sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    unsigned char block[64];
} tfm_sha256;
void tfm_sha256_init(tfm_sha256 *s);
void tfm_sha256_add(tfm_sha256 *s, const void *p, size_t n);
/* 64 lower-case hex digits and a NUL. */
void tfm_sha256_hex(tfm_sha256 *s, char out[65]);

/* ---- files ---- */

/* A read-only view of a whole file: mapped (MAP_PRIVATE) when regular, `size` checked at open.
 * A file that shrinks after opening is the caller's risk (SIGBUS), as with every mapper. */
typedef struct tfm_map {
    const unsigned char *data;
    size_t size;
    bool is_mapped;
} tfm_map;
/* Fails with TFM_IO and a message that names `path`. Directories and non-regular files are
 * refused with the reason. No page is read. An empty file gives size 0. */
tfm_status tfm_map_open(tfm_map *m, const char *path, tfm_error *err) TFM_MUST_CHECK;
void tfm_map_close(tfm_map *m);
/* Says that [p, p + bytes), of a map or not, will be read over and over: what is not in memory yet
 * comes in huge pages where the system can. Advice that may be refused; nothing is read. */
void tfm_advise_huge(const void *p, size_t bytes);
/* Reads a whole small file into `b`; TFM_LIMIT past max_bytes. */
tfm_status tfm_file_read(tfm_buf *b, const char *path, size_t max_bytes,
                         tfm_error *err) TFM_MUST_CHECK;
/* read(2) until n bytes or end of file; retries EINTR and EAGAIN (with poll). *got < n only at the
 * end of file. `name` is for the message. */
tfm_status tfm_fd_read_full(int fd, const char *name, void *p, size_t n, size_t *got,
                            tfm_error *err) TFM_MUST_CHECK;
/* One read(2) that gives something: retries EINTR and waits on EAGAIN. *got = 0 at the end of
 * file. */
tfm_status tfm_fd_read_some(int fd, const char *name, void *p, size_t n, size_t *got,
                            tfm_error *err) TFM_MUST_CHECK;
/* Would a read give something, the end of file or an error at once? */
bool tfm_fd_is_readable(int fd);
/* write(2) all of it; EPIPE is TFM_IO with errno EPIPE left in errno. */
tfm_status tfm_fd_write_full(int fd, const char *name, const void *p, size_t n,
                             tfm_error *err) TFM_MUST_CHECK;

#endif
