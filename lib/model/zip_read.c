/* zip_read.c - the members of a zip archive, stored or deflated.
 *
 * The directory at the end is what counts; local headers only tell where data begins. Nothing is
 * believed: members must not overlap each other or the directory (archives whose members share one
 * deflated body are the bombs that grow without bound), sizes must come out as announced, CRCs must
 * match. A deflated member goes to an unnamed temporary file, so its size costs disk, not
 * memory. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "model/zip_internal.h"

enum { END_SIZE = 22, ENTRY_SIZE = 46, LOCAL_SIZE = 30, MAX_MEMBERS = 1 << 20 };
/* Deflate can grow data 1032 times; arrays that do more than this beyond FREE_SIZE are refused. */
enum { MAX_RATIO = 200 };
#define FREE_SIZE ((uint64_t)64 << 20)

bool tfm_zip_matches(const unsigned char *p, uint64_t n) {
    return n >= LOCAL_SIZE && memcmp(p, "PK\3\4", 4) == 0;
}

/* The end record: the last "PK\5\6" whose comment ends with the file. */
static const unsigned char *find_end(const tfm_zip *z) {
    if (z->n < END_SIZE) return NULL;
    for (uint64_t back = 0; back <= UINT16_MAX && back + END_SIZE <= z->n; back++) {
        const unsigned char *p = z->p + (z->n - END_SIZE - back);
        if (memcmp(p, "PK\5\6", 4) == 0 && tfm_load_u16(p + 20) == back) return p;
    }
    return NULL;
}

typedef struct directory {
    uint64_t at, size, n;
} directory;

static tfm_status read_end(const tfm_zip *z, directory *d, tfm_error *err) {
    const unsigned char *p = find_end(z);
    if (!p) return tfm_fail(err, TFM_TRUNCATED, "no directory at its end: the archive was cut");
    if (tfm_load_u16(p + 4) != 0 || tfm_load_u16(p + 6) != 0)
        return tfm_fail(err, TFM_UNSUPPORTED, "an archive in several parts");
    *d = (directory){tfm_load_u32(p + 16), tfm_load_u32(p + 12), tfm_load_u16(p + 10)};
    uint64_t end = (uint64_t)(p - z->p);
    if (end >= 20 && memcmp(p - 20, "PK\6\7", 4) == 0) {
        uint64_t at = tfm_load_u64(p - 20 + 8);
        if (end < 20 + 56 || at > end - 20 - 56 || memcmp(z->p + at, "PK\6\6", 4) != 0)
            return tfm_fail(err, TFM_FORMAT, "its ZIP64 directory is not where it should be");
        *d = (directory){tfm_load_u64(z->p + at + 48), tfm_load_u64(z->p + at + 40),
                         tfm_load_u64(z->p + at + 32)};
    }
    if (d->at > end || d->size > end - d->at || d->n > d->size / ENTRY_SIZE)
        return tfm_fail(err, TFM_FORMAT, "its directory does not fit in the file");
    if (d->n > MAX_MEMBERS)
        return tfm_fail(err, TFM_LIMIT, "%" PRIu64 " members, at most %d", d->n, MAX_MEMBERS);
    return TFM_OK;
}

/* Replaces the fields that are all ones by those of the ZIP64 extra. */
static bool take_extra(const unsigned char *p, size_t n, uint64_t *size, uint64_t *packed,
                       uint64_t *at) {
    uint64_t *const field[] = {size, packed, at};
    for (size_t k; n >= 4; p += 4 + k, n -= 4 + k) {
        k = tfm_load_u16(p + 2);
        if (k > n - 4) return false;
        if (tfm_load_u16(p) != 1) continue;
        size_t used = 0;
        for (size_t i = 0; i < 3; i++) {
            if (*field[i] != UINT32_MAX) continue;
            if (used + 8 > k) return false;
            *field[i] = tfm_load_u64(p + 4 + used);
            used += 8;
        }
        return true;
    }
    return true;
}

/* Where the member's bytes begin, behind its local header. */
static tfm_status find_data(const tfm_zip *z, tfm_zip_member *m, uint64_t at, uint64_t limit,
                            tfm_error *err) {
    if (at > limit || limit - at < LOCAL_SIZE || memcmp(z->p + at, "PK\3\4", 4) != 0)
        return tfm_fail(err, TFM_FORMAT, "%s: no member where the directory says", m->name);
    uint64_t skip =
        (uint64_t)LOCAL_SIZE + tfm_load_u16(z->p + at + 26) + tfm_load_u16(z->p + at + 28);
    if (skip > limit - at || m->packed > limit - at - skip)
        return tfm_fail(err, TFM_TRUNCATED, "%s: ends beyond the file", m->name);
    m->from = at + skip;
    return TFM_OK;
}

static tfm_status take_entry(tfm_zip *z, const unsigned char **at, const unsigned char *end,
                             uint64_t limit, tfm_error *err) {
    const unsigned char *p = *at;
    tfm_zip_member *m = &z->member[z->n_members];
    if (end - p < ENTRY_SIZE || memcmp(p, "PK\1\2", 4) != 0)
        return tfm_fail(err, TFM_FORMAT, "its directory is damaged");
    size_t n_name = tfm_load_u16(p + 28), n_extra = tfm_load_u16(p + 30);
    size_t all = ENTRY_SIZE + n_name + n_extra + tfm_load_u16(p + 32);
    if ((size_t)(end - p) < all) return tfm_fail(err, TFM_FORMAT, "its directory is damaged");
    const char *name = (const char *)p + ENTRY_SIZE;
    if (n_name == 0 || memchr(name, '\0', n_name))
        return tfm_fail(err, TFM_FORMAT, "a member has no proper name");
    TFM_TRY(tfm_strndup(&m->name, name, n_name, err));
    z->n_members++;
    unsigned flags = tfm_load_u16(p + 8), method = tfm_load_u16(p + 10);
    uint64_t offset = tfm_load_u32(p + 42);
    m->crc = tfm_load_u32(p + 16);
    m->packed = tfm_load_u32(p + 20);
    m->size = tfm_load_u32(p + 24);
    m->is_deflated = method == 8;
    if ((flags & 1) != 0) return tfm_fail(err, TFM_UNSUPPORTED, "%s is encrypted", m->name);
    if (method != 0 && method != 8)
        return tfm_fail(err, TFM_UNSUPPORTED, "%s is packed by method %u, not stored or deflated",
                        m->name, method);
    if (!take_extra(p + ENTRY_SIZE + n_name, n_extra, &m->size, &m->packed, &offset))
        return tfm_fail(err, TFM_FORMAT, "%s: its ZIP64 field is damaged", m->name);
    if (!m->is_deflated && m->size != m->packed)
        return tfm_fail(err, TFM_FORMAT, "%s: is stored but has two sizes", m->name);
    if (m->size > FREE_SIZE && m->size / MAX_RATIO > m->packed)
        return tfm_fail(err, TFM_LIMIT,
                        "%s: would grow more than %d times: unpack the archive before", m->name,
                        MAX_RATIO);
    *at = p + all;
    return find_data(z, m, offset, limit, err);
}

static int by_place(const void *x, const void *y) {
    const tfm_zip_member *a = *(const tfm_zip_member *const *)x,
                         *b = *(const tfm_zip_member *const *)y;
    return (a->from > b->from) - (a->from < b->from);
}

static tfm_status check_overlap(const tfm_zip *z, tfm_error *err) {
    void *p;
    tfm_status st = TFM_OK;
    TFM_TRY(tfm_alloc(&p, z->n_members, sizeof(tfm_zip_member *), err));
    const tfm_zip_member **m = p;
    for (size_t i = 0; i < z->n_members; i++) m[i] = &z->member[i];
    qsort(m, z->n_members, sizeof *m, by_place);
    for (size_t i = 1; i < z->n_members && st == TFM_OK; i++)
        if (m[i]->from - m[i - 1]->from < m[i - 1]->packed + LOCAL_SIZE)
            st = tfm_fail(err, TFM_FORMAT, "%s and %s overlap", m[i - 1]->name, m[i]->name);
    tfm_free(m);
    return st;
}

tfm_status tfm_zip_open(tfm_zip *z, const unsigned char *p, uint64_t n, tfm_error *err) {
    directory d = {0};
    void *table;
    *z = (tfm_zip){.p = p, .n = n};
    TFM_TRY(read_end(z, &d, err));
    TFM_TRY(tfm_alloc(&table, (size_t)d.n, sizeof *z->member, err));
    z->member = table;
    const unsigned char *at = p + d.at, *end = at + d.size;
    for (uint64_t i = 0; i < d.n; i++) TFM_TRY(take_entry(z, &at, end, d.at, err));
    return check_overlap(z, err);
}

/* ---- data ---- */

/* Inflates to fd; *crc is that of what came out. */
static tfm_status inflate_to(const tfm_zip *z, const tfm_zip_member *m, int fd, uint32_t *crc,
                             tfm_error *err) {
    static const size_t PIECE = 1 << 18;
    z_stream s = {0};
    void *out;
    uint64_t done = 0, left = m->packed;
    int got = Z_OK;
    tfm_status st = TFM_OK;
    *crc = 0;
    TFM_TRY(tfm_alloc(&out, PIECE, 1, err));
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK) {
        tfm_free(out);
        return tfm_fail(err, TFM_NOMEM, "out of memory to inflate %s", m->name);
    }
    s.next_in = (unsigned char *)(uintptr_t)(z->p + m->from);
    while (st == TFM_OK && got != Z_STREAM_END) {
        if (s.avail_in == 0) {
            s.avail_in = left > UINT_MAX ? UINT_MAX : (unsigned)left;
            left -= s.avail_in;
        }
        s.next_out = out;
        s.avail_out = (unsigned)PIECE;
        got = inflate(&s, Z_NO_FLUSH);
        size_t n = PIECE - s.avail_out;
        done += n;
        /* Z_OK means that input or output went on; without either it is Z_BUF_ERROR. */
        if ((got != Z_OK && got != Z_STREAM_END) || done > m->size) {
            st = tfm_fail(err, got == Z_MEM_ERROR ? TFM_NOMEM : TFM_FORMAT,
                          "%s: its deflated data is damaged", m->name);
            break;
        }
        *crc = tfm_crc32(*crc, out, n);
        st = tfm_fd_write_full(fd, "a temporary file", out, n, err);
    }
    if (st == TFM_OK && (done != m->size || s.avail_in != 0 || left != 0))
        st = tfm_fail(err, TFM_FORMAT, "%s: its deflated data has another size", m->name);
    inflateEnd(&s);
    tfm_free(out);
    return st;
}

static tfm_status inflate_member(const tfm_zip *z, tfm_zip_member *m, tfm_error *err) {
    uint32_t crc;
    FILE *spool = tmpfile();
    if (!spool) return tfm_fail_errno(err, TFM_IO, "a temporary file to inflate %s", m->name);
    tfm_status st = inflate_to(z, m, fileno(spool), &crc, err);
    if (st == TFM_OK && crc != m->crc)
        st = tfm_fail(err, TFM_FORMAT, "%s: damaged: its CRC does not match", m->name);
    if (st == TFM_OK && m->size > 0) {
        void *map = mmap(NULL, (size_t)m->size, PROT_READ, MAP_PRIVATE, fileno(spool), 0);
        if (map == MAP_FAILED)
            st = tfm_fail_errno(err, TFM_IO, "mmap of %s", m->name);
        else
            m->map = map;
    }
    m->data = m->map ? m->map : (const unsigned char *)"";
    if (fclose(spool) != 0 && st == TFM_OK)
        st = tfm_fail_errno(err, TFM_IO, "a temporary file to inflate %s", m->name);
    return st;
}

tfm_status tfm_zip_data(tfm_zip *z, size_t i, tfm_error *err) {
    tfm_zip_member *m = &z->member[i];
    if (m->data) return TFM_OK;
    if (m->is_deflated) return inflate_member(z, m, err);
    if (tfm_crc32(0, z->p + m->from, (size_t)m->packed) != m->crc)
        return tfm_fail(err, TFM_FORMAT, "%s: damaged: its CRC does not match", m->name);
    m->data = z->p + m->from;
    return TFM_OK;
}

void tfm_zip_close(tfm_zip *z) {
    for (size_t i = 0; i < z->n_members; i++) {
        if (z->member[i].map) munmap(z->member[i].map, (size_t)z->member[i].size);
        tfm_free(z->member[i].name);
    }
    tfm_free(z->member);
    *z = (tfm_zip){0};
}
